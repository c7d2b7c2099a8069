package actors

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"micronode/config"
	httpapi "micronode/http"
	"micronode/http/caps"
	"micronode/http/policy"
	"micronode/kernel"
)

const authDev = "dev"

// ErrFile says that a file which the configuration names cannot be used.
var ErrFile = errors.New("actors: a file cannot be used")

// maxPEM bounds a certificate or key file.
const maxPEM = 1 << 20

// files are what the configuration names, read and checked.
type files struct {
	policy *policy.Engine
	source string // of the policy
	tls    httpapi.TLSFiles
}

// readFiles reads and checks them all. Errors: ErrFile.
func readFiles(c config.Config) (*files, error) {
	f := &files{source: "built in"}
	text, err := []byte(policy.Default()), error(nil)
	if c.Policy.File != "" {
		f.source = c.Policy.File
		if text, err = readSmall(c.Policy.File, policy.MaxFile); err != nil {
			return nil, fmt.Errorf("%w: policy.file: %w", ErrFile, err)
		}
	}
	if f.policy, err = policy.Parse(f.source, text); err != nil {
		return nil, fmt.Errorf("%w: policy.file: %w", ErrFile, err)
	}
	if c.TLS.Cert == "" {
		return f, nil
	}
	f.tls = httpapi.TLSFiles{PQ: c.TLS.PQMode, TLS12: c.TLS.MinVersion == "1.2"}
	for _, part := range []struct {
		key, path string
		into      *[]byte
	}{{"tls.cert", c.TLS.Cert, &f.tls.Cert}, {"tls.key", c.TLS.Key, &f.tls.Key}, {"tls.client_ca", c.TLS.ClientCA, &f.tls.ClientCA}} {
		if part.path == "" {
			continue
		}
		if *part.into, err = readSmall(part.path, maxPEM); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFile, part.key, err)
		}
	}
	if err := f.tls.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return f, nil
}

// readSmall reads a file of at most so many bytes.
func readSmall(path string, most int64) ([]byte, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case st.Size() > most:
		return nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return os.ReadFile(path)
}

// diff names the files whose content changed; of the content nothing is told.
func (f *files) diff(next *files) (changes []config.Change) {
	add := func(key string, same bool) {
		if !same {
			changes = append(changes, config.Change{Key: key, Old: "[content]", New: "[other content]", Live: true})
		}
	}
	add("policy.file", f.policy.Text() == next.policy.Text())
	add("tls.cert", bytes.Equal(f.tls.Cert, next.tls.Cert))
	add("tls.key", bytes.Equal(f.tls.Key, next.tls.Key))
	add("tls.client_ca", bytes.Equal(f.tls.ClientCA, next.tls.ClientCA))
	return changes
}

// authorities makes what says who may: keys, policy, certificates.
func (n *Node) authorities() error {
	read, err := readFiles(n.cfg)
	if err != nil {
		return err
	}
	n.files.Store(read)
	begun := time.Now()
	mono := func() time.Duration { return time.Since(begun) }
	if n.opt.Mono != nil {
		mono = n.opt.Mono
	}
	n.verdicts = policy.NewGate(mono)
	if n.disk != nil {
		n.ring, err = n.keptRing()
		return err
	}
	if path := n.cfg.Keys.RootFile; path != "" {
		n.ring, err = caps.Open(path, n.opt.Now)
	} else {
		n.ring, err = caps.NewRing(n.opt.Now)
	}
	if err != nil {
		return fmt.Errorf("%w: keys.root_file: %w", ErrFile, err)
	}
	return nil
}

// Ring is the node's keys, for a host that mints capabilities in-process.
func (n *Node) Ring() *caps.Ring { return n.ring }

func (n *Node) dataPlanes() []string {
	if n.mail == nil {
		return []string{planeObjects}
	}
	return []string{planeObjects, "mailbox"}
}

func (n *Node) policyState() httpapi.PolicyState {
	f := n.files.Load()
	return httpapi.PolicyState{
		Vouched: n.verdicts.Engine() != nil, Source: f.source, IDs: f.policy.IDs(), Text: f.policy.Text(), Mapping: policy.Mapping(),
	}
}

func (n *Node) postQuantum() httpapi.PQ {
	mode := n.config().Config.TLS.PQMode
	if n.cfg.TLS.Cert == "" {
		return httpapi.PQ{Mode: httpapi.PQOff, Groups: []string{}}
	}
	return httpapi.PQ{Mode: mode, Groups: httpapi.Groups(mode)}
}

// denialsPerSecond bounds how many refusals by policy are told one by one.
const denialsPerSecond = 10

// denials counts what is told, so that whoever is refused does not fill the log.
type denials struct {
	mu      sync.Mutex
	second  int64
	told    int
	dropped int64
}

// take reports whether one more may be told, and how many were not before it.
func (d *denials) take(now time.Time) (ok bool, dropped int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := now.Unix(); s != d.second {
		d.second, d.told = s, 0
	}
	if d.told >= denialsPerSecond {
		d.dropped++
		return false, 0
	}
	d.told++
	dropped, d.dropped = d.dropped, 0
	return true, dropped
}

// denied shows who was refused by which policy.
func (n *Node) denied(d httpapi.Denial) {
	ok, dropped := n.denials.take(n.opt.Now())
	if !ok {
		return
	}
	n.bus.Publish(kernel.Event{Topic: topic("audit"), Kind: "PolicyDenied", Data: deniedData{
		Actor: d.Principal + ":" + d.ID, Action: d.Action, Resource: d.Resource, Policy: d.Policy, Untold: dropped,
	}})
}

type deniedData struct {
	Actor    string `json:"actor"`
	Action   string `json:"action"`
	Resource string `json:"resource"`         // kind
	Policy   string `json:"policy,omitempty"` // that forbade; empty: none permits
	Untold   int64  `json:"untold,omitempty"` // denials before this one that were not told
}
