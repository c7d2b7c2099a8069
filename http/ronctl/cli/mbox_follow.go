package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mbox"
)

const (
	followWait  = 20 * time.Second // one poll
	followLease = 30 * time.Second // without --visibility
	maxLastWord = 512              // bytes of a failed command's last line
)

// consumer runs a command for each message of a topic.
type consumer struct {
	*app
	client  *httpapi.Client
	topic   string
	command []string
	flags   mboxRecvFlags

	mu                 sync.Mutex // guards the counts
	done, failed, lost int
}

// followTopic works until ctx ends, and then waits for what runs.
func (a *app) followTopic(ctx context.Context, topic string, command []string, f mboxRecvFlags) error {
	client, err := a.connect(ctx, httpapi.Retry{})
	if err != nil {
		return err
	}
	defer client.Close()
	if f.visibility == 0 {
		f.visibility = followLease
	}
	w := &consumer{app: a, client: client, topic: topic, command: command, flags: f}
	var running sync.WaitGroup
	ends := make([]error, f.parallel)
	for i := range ends {
		running.Go(func() { ends[i] = w.loop(ctx) })
	}
	running.Wait()
	return errors.Join(errors.Join(ends...), w.summary())
}

// loop handles one message after the other.
func (w *consumer) loop(ctx context.Context) error {
	one := int64(1)
	wait := w.flags.wait
	if wait == 0 {
		wait = followWait
	}
	told := false
	for ctx.Err() == nil {
		got, err := w.client.Recv(ctx, httpapi.RecvRequest{Topic: w.topic, MaxMessages: &one, WaitMS: millis(wait), VisibilityMS: millis(w.flags.visibility)})
		switch {
		case ctx.Err() != nil:
		case err == nil:
			told = false
			for _, e := range got {
				w.handle(ctx, e)
			}
		case isTemporary(err):
			if !told {
				w.err.line(w.err.paint(styleWarn, "ronctl mbox: ") + clean(errorText(err)) + "; trying again")
				told = true
			}
			pause(ctx, time.Second)
		default:
			return err
		}
	}
	return nil
}

// isTemporary tells failures that pass when the node is back.
func isTemporary(err error) bool {
	var p *httpapi.Problem
	return errors.Is(err, httpapi.ErrUnreachable) || errors.Is(err, httpapi.ErrConnLost) || errors.As(err, &p) && p.Retryable ||
		errors.Is(err, store.ErrNotReady)
}

// handle runs the command and settles the message by its exit code.
func (w *consumer) handle(ctx context.Context, e httpapi.Envelope) {
	stop := w.keepLease(e)
	err := w.run(e)
	stop()
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.timeout)
	defer cancel()
	s := httpapi.SettleRequest{Receipt: e.Receipt}
	verdict := w.client.Ack
	if err != nil {
		s.Reason = err.Error()
		verdict = w.client.Nack
	}
	told := verdict(settling, s)
	for errors.Is(told, store.ErrNotReady) && pause(settling, 200*time.Millisecond) {
		told = verdict(settling, s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case told != nil:
		w.lost++
		w.err.line(w.err.paint(styleBad, "ronctl mbox: ") + e.MsgID + " comes again: " + clean(errorText(told)))
	case err != nil:
		w.failed++
		w.err.line(w.err.paint(styleBad, "ronctl mbox: ") + e.MsgID + fmt.Sprintf(" attempt %d: ", e.Attempt) + clean(err.Error()))
	default:
		w.done++
	}
}

// run gives the payload to the command. It runs in a group of its own, so that
// the terminal's interrupt reaches ronctl alone.
func (w *consumer) run(e httpapi.Envelope) error {
	runtime.LockOSThread() // the death of the thread that starts a command would reach the command
	defer runtime.UnlockOSThread()
	cmd := exec.Command(w.command[0], w.command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Stdin, cmd.Stdout = bytes.NewReader(e.PayloadB64), w.sys.Stdout
	var said tailBuffer
	cmd.Stderr = &said
	cmd.Env = append(slices.Clone(w.sys.Environ), "RON_MSG_ID="+e.MsgID, "RON_TOPIC="+e.Topic, fmt.Sprintf("RON_ATTEMPT=%d", e.Attempt),
		"RON_CORR_ID="+e.CorrID, "RON_IDEM_KEY="+e.IdemKey)
	for name, value := range e.Attrs {
		if !strings.ContainsRune(value, 0) {
			cmd.Env = append(cmd.Env, "RON_ATTR_"+envName(name)+"="+value)
		}
	}
	err := cmd.Run()
	_, _ = w.sys.Stderr.Write(said.all())
	if err == nil {
		return nil
	}
	if word := said.lastLine(); word != "" {
		return fmt.Errorf("%w: %s", err, word)
	}
	return err
}

// envName makes a variable's name of an attr's.
func envName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, s)
}

// tailBuffer keeps the last part of what is written.
type tailBuffer struct{ b []byte }

const keptTail = 64 << 10

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - keptTail; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) all() []byte { return t.b }

func (t *tailBuffer) lastLine() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	word := strings.ToValidUTF8(lines[len(lines)-1], "�")
	if len(word) > maxLastWord {
		word = strings.ToValidUTF8(word[:maxLastWord], "")
	}
	return word
}

// keepLease extends the lease at each third of it until stop is called.
func (w *consumer) keepLease(e httpapi.Envelope) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var keeper sync.WaitGroup
	keeper.Go(func() {
		for pause(ctx, w.flags.visibility/3) {
			_, err := w.client.Extend(ctx, httpapi.SettleRequest{Receipt: e.Receipt, VisibilityMS: millis(w.flags.visibility)})
			if errors.Is(err, mbox.ErrLeaseLost) || errors.Is(err, mbox.ErrUnknown) {
				return // the verdict will tell
			}
		}
	})
	return func() {
		cancel()
		keeper.Wait()
	}
}

func (w *consumer) summary() error {
	if w.json() {
		return w.out.encode(map[string]int{"done": w.done, "failed": w.failed, "lost": w.lost})
	}
	w.err.line(fmt.Sprintf("%s done, %d failed and given back, %d leases lost", plural(w.done, "message"), w.failed, w.lost))
	return nil
}
