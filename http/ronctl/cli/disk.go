package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/pebble"
)

// scrubPoll is the step of waiting for a scrub.
const scrubPoll = 500 * time.Millisecond

func (a *app) scrub() *cobra.Command {
	var why string
	var wait, look bool
	cmd := a.command(cobra.Command{
		Use: "scrub [--wait] [--status] [--reason TEXT]", Short: "Read everything and look for damage", Args: takes(0, 0, ""),
		Long: `Read every object from the disk, at store.scrub_rate, and hold it against its address.
What is damaged is quarantined (502, never served) and, with peers, healed at once. The
node does so by itself every store.scrub_interval. --status only shows how far it is and
what is damaged. Exits with 1 when something is.`,
		Example: "  ronctl scrub --wait\n  ronctl scrub --status",
	}, func(ctx context.Context, _ []string) error {
		return a.with(ctx, func(c *httpapi.Client) error {
			if !look {
				if _, err := c.Scrub(ctx, httpapi.Order{Reason: why}); err != nil && !(wait && errors.Is(err, httpapi.ErrConflict)) {
					return err
				}
			}
			s, err := a.awaitScrub(ctx, c, wait && !look)
			if err != nil {
				return err
			}
			return a.showStorage(&s, wait || look)
		})
	})
	cmd.Flags().StringVar(&why, "reason", "", "goes into the audit")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for its end")
	cmd.Flags().BoolVar(&look, "status", false, "begin nothing, show how it is")
	return cmd
}

// awaitScrub asks how the disk is, until a walk that began after the call has ended when it is to wait.
func (a *app) awaitScrub(ctx context.Context, c *httpapi.Client, wait bool) (s httpapi.StorageState, err error) {
	if s, err = c.Storage(ctx); err != nil || !wait {
		return s, err
	}
	bar := a.startBar(int(s.Objects), s.Bytes)
	defer bar.end()
	var objects, bytes int64
	for seen := s.Scrub.Running; ; {
		d := s.Scrub
		if d.Running {
			seen = true
			bar.items.Add(d.Objects - objects)
			bar.bytes.Add(d.Bytes - bytes)
			objects, bytes = d.Objects, d.Bytes
		} else if seen || d.Started != nil && d.Finished != nil && a.sys.Now().Sub(*d.Finished) < scrubPoll {
			return s, nil
		}
		if !pause(ctx, scrubPoll) {
			return s, context.Cause(ctx)
		}
		if s, err = c.Storage(ctx); err != nil {
			return s, err
		}
	}
}

// showStorage prints how the disk is; damage is a failure when somebody asked for it.
func (a *app) showStorage(s *httpapi.StorageState, judge bool) error {
	if a.json() {
		if err := a.out.encode(s); err != nil {
			return err
		}
	} else {
		for _, l := range storageLines(s, a.sys.Now()) {
			a.out.line(l)
		}
	}
	if judge && len(s.Damaged) > 0 {
		return fmt.Errorf("%d objects are damaged; put them again, or `ronctl repair` where there are peers", len(s.Damaged))
	}
	return nil
}

func storageLines(s *httpapi.StorageState, now time.Time) []string {
	lines := []string{fmt.Sprintf("kept    %d objects, %s of %s in %s", s.Objects, humanize.IBytes(uint64(s.Bytes)), humanize.IBytes(uint64(s.MaxBytes)), clean(s.Dir))}
	if s.Free >= 0 {
		lines = append(lines, fmt.Sprintf("disk    %s free, %s is kept free", humanize.IBytes(uint64(s.Free)), humanize.IBytes(uint64(s.Reserve))))
	}
	if s.Failed != "" {
		lines = append(lines, "FAILED  "+clean(s.Failed))
	}
	d := s.Scrub
	state := fmt.Sprintf("%d objects, %s, %d damaged, %d healed", d.Objects, humanize.IBytes(uint64(d.Bytes)), d.Damaged, d.Healed)
	switch {
	case d.Running:
		state = "running: " + state
	case d.Started == nil:
		state = "none yet"
	default:
		state = "ended " + humanize.RelTime(*d.Finished, now, "ago", "from now") + ": " + state
	}
	if d.Next != nil {
		state += "; next " + humanize.RelTime(*d.Next, now, "ago", "from now")
	}
	lines = append(lines, "scrub   "+state)
	for _, p := range s.Peers {
		lines = append(lines, "peer    "+clean(p))
	}
	for _, f := range s.Damaged {
		lines = append(lines, fmt.Sprintf("DAMAGED %v  %s  %s", f.Address, f.Found.Local().Format(time.DateTime), clean(f.Detail)))
	}
	return lines
}

func (a *app) repair() *cobra.Command {
	var why string
	cmd := a.command(cobra.Command{
		Use: "repair [ADDR] [--reason TEXT]", Short: "Heal damaged objects from peers", Args: takes(0, 1, "at most one ADDR"),
		Long: `Fetch what is damaged from the nodes that "peers" names, hold it against its address and
put it in the place of the damaged copy: one object, or all in quarantine ("ronctl scrub
--status" lists them). Exits with 1 when something could not be healed.`,
		Example: "  ronctl repair\n  ronctl repair b3:d749…",
	}, func(ctx context.Context, args []string) error {
		o := httpapi.RepairOrder{Reason: why}
		if len(args) > 0 {
			addr, err := store.ParseAddress(args[0])
			if err != nil {
				return usagef("%v", err)
			}
			o.Address = addr.String()
		}
		return a.with(ctx, func(c *httpapi.Client) error {
			r, err := c.Repair(ctx, o)
			if err != nil {
				return err
			}
			if a.json() {
				err = a.out.encode(r)
			} else {
				a.out.line(fmt.Sprintf("%d of %d healed", r.Healed, r.Tried))
				for _, f := range r.Failed {
					a.out.line(fmt.Sprintf("NOT     %v  %s", f.Address, clean(f.Detail)))
				}
			}
			if err == nil && r.Healed < r.Tried {
				err = fmt.Errorf("%d objects could not be healed; put them again, or restore a backup elsewhere and name that node in peers", r.Tried-r.Healed)
			}
			return err
		})
	})
	cmd.Flags().StringVar(&why, "reason", "", "goes into the audit")
	return cmd
}

func (a *app) backup() *cobra.Command {
	var why string
	cmd := a.command(cobra.Command{
		Use: "backup DIR [--reason TEXT]", Short: "Copy everything while the node serves, and read the copy back", Args: takes(1, 1, "one DIR"),
		Long: `Have the node copy all that it keeps, as of one moment, into a new directory on its
machine, and read the copy back whole before it is called a backup. Where DIR is on the
disk of store.dir files are linked, not copied: it is then a snapshot, and a backup only
once it is copied to another disk. With the node stopped, a plain copy of store.dir does
as well.`,
		Example: "  ronctl backup /mnt/other/micronode-$(date +%F)\n  ronctl backup verify /mnt/other/micronode-2026-11-24",
	}, func(ctx context.Context, args []string) error {
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		return a.with(ctx, func(c *httpapi.Client) error {
			if !a.json() {
				a.err.line("copying, and reading the copy back: " + clean(dir))
			}
			d, err := c.Backup(ctx, httpapi.BackupOrder{Dir: dir, Reason: why})
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(d)
			}
			a.out.line(fmt.Sprintf("%s: %d objects, %s, %d messages, verified", clean(d.Dir), d.Objects, humanize.IBytes(uint64(d.Bytes)), d.Messages))
			if d.Damaged > 0 {
				a.err.line(fmt.Sprintf("%d damaged records are not in it: ronctl scrub --status", d.Damaged))
			}
			return nil
		})
	})
	cmd.Flags().StringVar(&why, "reason", "", "goes into the audit")
	cmd.AddCommand(a.backupVerify())
	return cmd
}

func (a *app) backupVerify() *cobra.Command {
	return a.command(cobra.Command{
		Use: "verify DIR", Short: "Read a backup whole and hold it against its manifest", Args: takes(1, 1, "one DIR"),
		Long:    "Read a backup whole, here, without a node, and hold it against its manifest. Nothing is written.",
		Example: "  ronctl backup verify /mnt/other/micronode-2026-11-24",
	}, func(ctx context.Context, args []string) error {
		about, err := pebble.About(args[0])
		if err != nil {
			return err
		}
		bar := a.startBar(int(about.Objects), about.Bytes)
		m, err := pebble.Verify(ctx, args[0], func(n int64) { bar.items.Add(1); bar.bytes.Add(n) })
		bar.end()
		if err != nil {
			return err
		}
		return a.showManifest("whole", args[0], m)
	})
}

func (a *app) showManifest(verb, dir string, m store.Manifest) error {
	if a.json() {
		return a.out.encode(struct {
			Dir string `json:"dir"`
			store.Manifest
		}{dir, m})
	}
	a.out.line(fmt.Sprintf("%s: %s, made %s: %d objects, %s, %d messages, %d idempotency keys", clean(dir), verb,
		m.Created.Local().Format(time.DateTime), m.Objects, humanize.IBytes(uint64(m.Bytes)), m.Messages, m.Keys))
	return nil
}

func (a *app) restore() *cobra.Command {
	var to string
	var plan bool
	cmd := a.command(cobra.Command{
		Use: "restore BACKUP --to DIR [--plan]", Short: "Make a directory that a node can be started on", Args: takes(1, 1, "one BACKUP"),
		Long: `Verify a backup and copy it to DIR, which must be empty or not be there: nothing is ever
overwritten. No node is needed, and none may run on DIR. --plan verifies, says what would
be done and does nothing.`,
		Example: "  ronctl restore /mnt/other/micronode-2026-11-24 --to /var/lib/micronode --plan\n  ronctl restore /mnt/other/micronode-2026-11-24 --to /var/lib/micronode",
	}, func(ctx context.Context, args []string) error {
		to, err := filepath.Abs(to)
		if err != nil {
			return err
		}
		about, err := pebble.About(args[0])
		if err != nil {
			return err
		}
		bar := a.startBar(int(about.Objects), about.Bytes)
		read := func(n int64) { bar.items.Add(1); bar.bytes.Add(n) }
		var m store.Manifest
		verb := "restored to " + to + "; start a node with --amnesia=false --store-dir " + to
		if plan {
			verb = "whole; it would be copied to " + to
			if err = pebble.Vacant(to); err == nil {
				m, err = pebble.Verify(ctx, args[0], read)
			}
		} else {
			m, err = pebble.Restore(ctx, args[0], to, read)
		}
		bar.end()
		if err != nil {
			return err
		}
		return a.showManifest(verb, args[0], m)
	})
	cmd.Flags().StringVar(&to, "to", "", "directory for store.dir")
	cmd.Flags().BoolVar(&plan, "plan", false, "verify and say what would be done")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}
