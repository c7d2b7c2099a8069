package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
	"micronode/http/caps"
)

func (a *app) caps() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cap", Short: "Make, narrow, read and revoke capabilities", Args: takes(0, 0, ""),
		Long: `A capability is a token that says what its holder may do. Whoever holds one can narrow
it without asking anybody; nobody can widen it. mint and revoke talk to the operator
socket; attenuate and inspect need no node and no key.`,
		Example: "  ronctl cap mint --op put,get --path /o/ --ttl 15m\n  ronctl cap attenuate --op get < token\n  ronctl cap revoke 01J…",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("see `%s --help`", cmd.CommandPath()).because("say mint, attenuate, inspect or revoke")
		},
	}
	cmd.AddCommand(a.capMint(), a.capAttenuate(), a.capInspect(), a.capRevoke())
	return cmd
}

func (a *app) capMint() *cobra.Command {
	var o httpapi.MintOrder
	cmd := a.command(cobra.Command{
		Use: "mint --op OPS [flags]", Short: "Make a capability", Args: takes(0, 0, ""),
		Long: `Make a capability on the operator socket. The token alone goes to stdout, so that
RON_CAP=$(ronctl cap mint --op get) works; what it is goes to stderr.`,
		Example: "  export RON_CAP=$(ronctl cap mint --op put,get --ttl 30m)\n  ronctl --addr 127.0.0.1:8080 put file",
	}, func(ctx context.Context, _ []string) error {
		ctx, cancel := a.within(ctx)
		defer cancel()
		return a.with(ctx, func(c *httpapi.Client) error {
			m, err := c.Mint(ctx, o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(m)
			}
			a.out.line(m.Token)
			a.err.line(fmt.Sprintf("cap id %s, key %s, until %s: %s", m.CapID, m.KID, m.Expires.Local().Format(time.TimeOnly), clean(strings.Join(m.Caveats, " "))))
			return nil
		})
	})
	httpapi.MintFlags(cmd.Flags(), &o)
	_ = cmd.MarkFlagRequired("op")
	cmd.Flags().StringVar(&o.Reason, "reason", "", "goes into the audit")
	return cmd
}

// with connects and calls f.
func (a *app) with(ctx context.Context, f func(c *httpapi.Client) error) error {
	client, err := a.connect(ctx, httpapi.Retry{})
	if err != nil {
		return err
	}
	defer client.Close()
	return f(client)
}

// token reads a token from RON_CAP, or one line of stdin; never from the
// arguments, which every user of the machine can see.
func (a *app) token() (string, error) {
	if t := strings.TrimSpace(a.sys.Getenv("RON_CAP")); t != "" {
		return t, nil
	}
	raw, err := io.ReadAll(io.LimitReader(a.sys.Stdin, caps.MaxToken+2))
	if err != nil {
		return "", err
	}
	if t := strings.TrimSpace(string(raw)); t != "" {
		return t, nil
	}
	return "", errors.New("no token: put it into RON_CAP, or send it to stdin")
}

func (a *app) capAttenuate() *cobra.Command {
	var caveats []string
	var ttl time.Duration
	add := map[string]*string{}
	cmd := a.command(cobra.Command{
		Use: "attenuate [flags]", Short: "Narrow a capability, offline", Args: takes(0, 0, ""),
		Long: `Read a token from RON_CAP or stdin and print one that allows less. This needs no node
and no key, and cannot be undone.`,
		Example: "  ronctl cap attenuate --op get --for 5m < token",
	}, func(context.Context, []string) error {
		text, err := a.token()
		if err != nil {
			return err
		}
		all := caveats
		for _, name := range caveatFlags {
			if v := *add[name]; v != "" {
				all = append(all, name+"="+v)
			}
		}
		if ttl > 0 {
			all = append(all, fmt.Sprintf("exp=%d", time.Now().Add(ttl).Unix()))
		}
		if len(all) == 0 {
			return usagef("see `ronctl cap attenuate --help`").because("say by what to narrow it")
		}
		narrow, err := caps.Attenuate(text, all...)
		if err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "caps: "))
		}
		if a.json() {
			return a.out.encode(struct {
				Token string `json:"token"`
			}{narrow})
		}
		a.out.line(narrow)
		return nil
	})
	cmd.Flags().StringArrayVar(&caveats, "caveat", nil, "a caveat as it is written, like max-bytes=1024")
	cmd.Flags().DurationVar(&ttl, "for", 0, "how long it lives from now")
	for _, name := range caveatFlags {
		add[name] = cmd.Flags().String(name, "", "caveat "+name+"=…")
	}
	return cmd
}

var caveatFlags = []string{"op", "path", "topic", "max-bytes", "rps", "weight", "cidr", "tenant"}

func (a *app) capInspect() *cobra.Command {
	return a.command(cobra.Command{
		Use: "inspect", Short: "Show what a capability says, offline", Args: takes(0, 0, ""),
		Long: `Read a token from RON_CAP or stdin and show its ids and caveats. Its signature is not
checked: only the node can do that.`,
		Example: "  ronctl cap inspect < token",
	}, func(context.Context, []string) error {
		text, err := a.token()
		if err != nil {
			return err
		}
		v, err := caps.Inspect(text)
		if err != nil && !errors.Is(err, caps.ErrCaveat) {
			return errors.New(strings.TrimPrefix(err.Error(), "caps: "))
		}
		if a.json() {
			return a.out.encode(v)
		}
		a.out.line("cap id   " + clean(v.CapID))
		a.out.line("key      " + clean(v.KID))
		for _, c := range v.Caveats {
			line := "caveat   " + clean(c)
			var at int64
			if n, _ := fmt.Sscanf(c, "exp=%d", &at); n == 1 {
				line += "  (" + time.Unix(at, 0).Format(time.RFC3339) + ")"
			}
			a.out.line(line)
		}
		a.out.line("its signature was not checked")
		if err != nil {
			return errors.New("a node would refuse it: " + strings.TrimPrefix(err.Error(), "caps: "))
		}
		return nil
	})
}

func (a *app) capRevoke() *cobra.Command {
	var o httpapi.RevokeOrder
	cmd := a.command(cobra.Command{
		Use: "revoke CAP_ID | --kid KID", Short: "Refuse a capability from now on", Args: takes(0, 1, "one CAP_ID"),
		Long: `Refuse a capability and all that were made from it, or with --kid every capability of
a key, which is zeroed; if it was the active one, another is made.`,
		Example: "  ronctl cap revoke 01J…\n  ronctl cap revoke --kid 9f86d081884c7d65 --reason leaked",
	}, func(ctx context.Context, args []string) error {
		if len(args) == 1 {
			o.CapID = args[0]
		}
		ctx, cancel := a.within(ctx)
		defer cancel()
		return a.with(ctx, func(c *httpapi.Client) error {
			d, err := c.Revoke(ctx, o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(d)
			}
			a.out.line("revoked: " + clean(d.Detail))
			return nil
		})
	})
	cmd.Flags().StringVar(&o.KID, "kid", "", "a key, with everything that it signed")
	cmd.Flags().StringVar(&o.Reason, "reason", "", "goes into the audit")
	return cmd
}

func (a *app) keys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "List and rotate the keys of capabilities", Args: takes(0, 0, ""),
		Example: "  ronctl keys list\n  ronctl keys rotate --reason quarterly",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("see `%s --help`", cmd.CommandPath()).because("say list or rotate")
		},
	}
	cmd.AddCommand(a.command(cobra.Command{Use: "list", Short: "List the keys, the active one first", Args: takes(0, 0, ""), Example: "  ronctl keys list"},
		func(ctx context.Context, _ []string) error {
			ctx, cancel := a.within(ctx)
			defer cancel()
			return a.with(ctx, func(c *httpapi.Client) error {
				k, err := c.Keys(ctx)
				if err != nil {
					return err
				}
				if a.json() {
					return a.out.encode(k)
				}
				for _, key := range k.Keys {
					line := fmt.Sprintf("%-16s  %-9s  %-6s  since %s", clean(key.KID), clean(key.State), clean(key.Origin), key.Created.Local().Format(time.DateTime))
					if key.Until != nil {
						line += ", verifies until " + key.Until.Local().Format(time.TimeOnly)
					}
					a.out.line(line)
				}
				a.out.line(fmt.Sprintf("%s revoked; memory of the keys %s", plural(k.Revoked, "capability id"), map[bool]string{true: "locked", false: "NOT locked (raise RLIMIT_MEMLOCK)"}[k.Locked]))
				return nil
			})
		}))
	var o httpapi.Order
	rotate := a.command(cobra.Command{
		Use: "rotate [--reason TEXT]", Short: "Make another key the active one", Args: takes(0, 0, ""),
		Long:    "Make another key the active one. Tokens of the old one stay good until they end; to end them now, revoke its kid.",
		Example: "  ronctl keys rotate --reason quarterly",
	}, func(ctx context.Context, _ []string) error {
		ctx, cancel := a.within(ctx)
		defer cancel()
		return a.with(ctx, func(c *httpapi.Client) error {
			k, err := c.RotateKeys(ctx, o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(k)
			}
			a.out.line("rotated: " + clean(k.KID) + " is active")
			return nil
		})
	})
	rotate.Flags().StringVar(&o.Reason, "reason", "", "goes into the audit")
	cmd.AddCommand(rotate)
	return cmd
}

func (a *app) policy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Show the policy and ask what it says", Args: takes(0, 0, ""),
		Example: "  ronctl policy explain\n  ronctl policy explain --principal Capability --action get --resource Object",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("see `%s --help`", cmd.CommandPath()).because("say explain")
		},
	}
	var o httpapi.ExplainOrder
	explain := a.command(cobra.Command{
		Use: "explain [flags]", Short: "Show how requests are put to the policy, and what it says of one", Args: takes(0, 0, ""),
		Long:    "Without --action: the policy in force and how requests are put to it. With it: what it says of that request.",
		Example: "  ronctl policy explain --principal Capability --action send --resource Topic --name jobs",
	}, func(ctx context.Context, _ []string) error {
		ctx, cancel := a.within(ctx)
		defer cancel()
		return a.with(ctx, func(c *httpapi.Client) error {
			if o.Action == "" {
				return a.showPolicy(ctx, c)
			}
			d, err := c.Explain(ctx, o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(d)
			}
			verdict := map[bool]string{true: "allowed", false: "denied"}[d.Allow]
			if d.Policy == "" {
				verdict += ": no policy permits it"
			} else {
				verdict += " by " + clean(d.Policy)
			}
			a.out.line(verdict)
			for _, e := range d.Errors {
				a.out.line("error in " + clean(e))
			}
			return nil
		})
	})
	f := explain.Flags()
	f.StringVar(&o.Principal, "principal", "Capability", "Capability, Certificate, Operator or Anonymous")
	f.StringVar(&o.ID, "id", "", "cap id, subject or uid")
	f.StringVar(&o.KID, "kid", "", "key of the capability")
	f.StringVar(&o.Tenant, "tenant", "", "tenant of the capability")
	f.StringVar(&o.Action, "action", "", "put, get, send, …")
	f.StringVar(&o.Resource, "resource", "Object", "Object, Topic, Route or Metrics")
	f.StringVar(&o.Name, "name", "*", "address, topic or pattern")
	f.StringVar(&o.Client, "client", "", "IP address")
	f.StringVar(&o.Door, "door", "http", "http, oap or operator")
	f.BoolVar(&o.Loopback, "loopback", false, "it comes to a loopback address")
	f.BoolVar(&o.TLS, "tls", false, "it comes by TLS")
	f.BoolVar(&o.Dev, "dev", false, "the node is in dev mode")
	cmd.AddCommand(explain)
	return cmd
}

func (a *app) showPolicy(ctx context.Context, c *httpapi.Client) error {
	p, err := c.Policy(ctx)
	if err != nil {
		return err
	}
	if a.json() {
		return a.out.encode(p)
	}
	if !p.Vouched {
		a.out.line("OUTAGE: nobody vouches for the policy, everything is denied. ronctl restart policy")
	}
	a.out.line("source     " + clean(p.Source) + ": " + clean(strings.Join(p.IDs, ", ")))
	for line := range strings.Lines(p.Mapping + "\n" + p.Text) {
		a.out.line(clean(strings.TrimRight(line, "\n")))
	}
	return nil
}
