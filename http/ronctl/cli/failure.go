package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
	"micronode/http/caps"
	"micronode/http/policy"
	"micronode/store"
	"micronode/store/mbox"
)

var (
	errBadFormat = errors.New("want table or json")
	// errQuiet ends a command whose output has said it all.
	errQuiet = errors.New("said already")
)

// failure is what a person is told when a command fails: what, why, what next.
type failure struct {
	exit            int
	what, why, next string
	cause           error
}

func (f *failure) Error() string { return f.what + ": " + f.why }

func (f *failure) Unwrap() error { return f.cause }

// because adds why, on one line.
func (f *failure) because(why string) *failure {
	f.why = strings.Join(strings.Fields(why), " ")
	return f
}

// usagef is a mistake on the command line; the text is what to do next.
func usagef(next string, args ...any) *failure {
	return &failure{exit: ExitUsage, what: "cannot make sense of the command line", next: fmt.Sprintf(next, args...)}
}

// quiet ends with an exit code and no further words.
func quiet(exit int) *failure { return &failure{exit: exit, cause: errQuiet} }

// report prints an error and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	f := a.explain(cmd, err)
	switch {
	case errors.Is(f.cause, errQuiet):
	case errors.Is(err, syscall.EPIPE) && !errors.Is(err, httpapi.ErrConnLost):
		return ExitOK // the reader has what it wanted
	case a.json(), f.exit == ExitUsage && asksJSON(a.sys.Args):
		a.reportJSON(cmd, f)
	default:
		a.err.line(a.err.paint(styleBad, cmd.CommandPath()+": "+clean(f.what)))
		for _, l := range [][2]string{{"why: ", f.why}, {"next:", f.next}, {"corr_id:", corrOf(f)}} {
			if l[1] != "" {
				a.err.line("  " + a.err.paint(styleDim, l[0]) + " " + clean(l[1]))
			}
		}
	}
	return f.exit
}

// asksJSON looks for -o json where the flags were not understood.
func asksJSON(args []string) bool {
	all := " " + strings.Join(args, " ") + " "
	for _, form := range []string{" -o json ", " -ojson ", " -o=json ", " --output json ", " --output=json "} {
		if strings.Contains(all, form) {
			return true
		}
	}
	return false
}

func (a *app) reportJSON(cmd *cobra.Command, f *failure) {
	type told struct {
		Command string `json:"command"`
		What    string `json:"what"`
		Why     string `json:"why,omitempty"`
		Next    string `json:"next,omitempty"`
		Exit    int    `json:"exit"`
		Status  int    `json:"status,omitempty"`
		Code    string `json:"code,omitempty"`
		Reason  string `json:"reason,omitempty"`
		CorrID  string `json:"corr_id,omitempty"`
	}
	t := told{Command: cmd.CommandPath(), What: f.what, Why: f.why, Next: f.next, Exit: f.exit}
	var p *httpapi.Problem
	if errors.As(f.cause, &p) {
		t.Status, t.Code, t.Reason, t.CorrID = p.Status, p.Code, p.Reason, p.CorrID
	}
	text, _ := json.Marshal(map[string]told{"error": t}) // strings and numbers: cannot fail
	a.err.line(string(text))
}

func corrOf(f *failure) string {
	var p *httpapi.Problem
	if errors.As(f.cause, &p) {
		return p.CorrID
	}
	return ""
}

// explain finds words and exit code for any error. What a command did not
// foresee and cobra found before it is a mistake on the command line.
func (a *app) explain(cmd *cobra.Command, err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var ran *runError
	if !errors.As(err, &ran) {
		return usagef("see `%s --help`", cmd.CommandPath()).because(err.Error())
	}
	return a.explainRun(ran.error)
}

// runError marks an error as one of a command that was understood.
type runError struct{ error }

func (e *runError) Unwrap() error { return e.error }

func (a *app) explainRun(err error) *failure {
	f := &failure{exit: ExitFailed, what: err.Error(), next: "see `ronctl help`", cause: err}
	var p *httpapi.Problem
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		f.what, f.why, f.next = "cannot "+file.Op+" "+field(file.Path), file.Err.Error(), "check the path and its permissions"
	case errors.As(err, &p):
		f.what, f.why, f.next = prefix(err, p)+p.Title, p.Detail, nextStep(err)
		if p.Status == 503 {
			f.exit = ExitNotReady
		}
	case errors.As(err, new(*tls.CertificateVerificationError)):
		f.what, f.why, f.next = "the node's certificate is not trusted", err.Error(), "name the authority that signed it with --ca FILE"
	case errors.Is(err, httpapi.ErrUnreachable):
		f.exit, f.what, f.why = ExitNotReady, "node not reachable", reason(err)
		f.next = "start it with `make run`, or name it with --socket PATH or --addr HOST:PORT"
	case errors.Is(err, httpapi.ErrConnLost):
		f.exit, f.what, f.why = ExitNotReady, "lost the node", reason(err)
		f.next = "see `ronctl status`; whether the last request was carried out is not known"
	case errors.Is(err, context.DeadlineExceeded):
		f.exit, f.what, f.why = ExitNotReady, "no answer", fmt.Sprintf("nothing came within %v", a.timeout)
		f.next = "give it longer with --timeout, or see `ronctl status`"
	case errors.Is(err, context.Canceled):
		f.what, f.why, f.next = "interrupted", "the command was told to stop", "run it again when it suits"
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrMismatch):
		f.what, f.why, f.next = "integrity", err.Error(), "do not use these bytes; put the object again to heal it"
	}
	return f
}

// prefix is what a command wrote before a problem's own words: the file, the address.
func prefix(err error, p *httpapi.Problem) string {
	before, found := strings.CutSuffix(err.Error(), p.Error())
	if !found {
		return ""
	}
	return before
}

// reason is an error's text without the sentinel's own words at its head.
func reason(err error) string {
	text := err.Error()
	for _, head := range []error{httpapi.ErrUnreachable, httpapi.ErrConnLost} {
		text = strings.TrimPrefix(text, head.Error()+": ")
	}
	return text
}

// nextStep says what to do about a refusal.
func nextStep(err error) string {
	for _, s := range []struct {
		kind error
		next string
	}{
		{store.ErrNotFound, "`ronctl ls` lists what the node holds"},
		{store.ErrFull, "make room with `ronctl rm`, or raise store.max_bytes"},
		{store.ErrTooLarge, "the bound is limits.max_object_bytes: see `curl …/api/v1/config`"},
		{store.ErrCorrupt, "put the object again to heal it"},
		{httpapi.ErrUnknownService, "`ronctl status` lists the actors"},
		{httpapi.ErrNoRoute, "orders need the operator socket (--socket PATH), and chaos a node started with --chaos"},
		{httpapi.ErrUnauthenticated, "put a capability into RON_CAP: export RON_CAP=$(ronctl cap mint --op put,get) on the node's machine"},
		{caps.ErrExpired, "make another: export RON_CAP=$(ronctl cap mint --op put,get) on the node's machine"},
		{caps.ErrScope, "`ronctl cap inspect` shows what the capability is for"},
		{caps.ErrForged, "ask for another capability: its key is not this node's, or it was changed"},
		{caps.ErrRevoked, "ask the operator for another capability"},
		{caps.ErrMalformed, "RON_CAP is no capability: pass it on as `ronctl cap mint` printed it"},
		{httpapi.ErrPolicyDenied, "`ronctl policy explain` shows what the policy permits"},
		{policy.ErrOutage, "`ronctl status` on the operator socket; `ronctl restart policy` if it does not mend itself"},
		{httpapi.ErrForbidden, "orders are taken on the operator socket only: --socket PATH"},
		{httpapi.ErrConflict, "`ronctl status` shows the state that the order does not fit"},
		{mbox.ErrBadReceipt, "copy the receipt whole, as `ronctl mbox recv` shows it"},
		{mbox.ErrLeaseLost, "receive again: the message comes back with a new receipt"},
		{mbox.ErrSettled, "nothing: the message is done"},
		{mbox.ErrUnknown, "`ronctl mbox topics` and `ronctl mbox dlq list TOPIC` show what there is"},
		{mbox.ErrKeyReused, "use another --key for another message"},
		{mbox.ErrKeyNeeded, "add --key"},
		{mbox.ErrFull, "see `ronctl mbox topics`; consume, or reprocess or purge dead letters (`ronctl mbox dlq`)"},
		{mbox.ErrBytes, "see `ronctl mbox topics`; consume, or purge dead letters, or raise mailbox.max_bytes"},
		{mbox.ErrInflight, "settle some of the messages under lease, or raise mailbox.max_inflight"},
		{store.ErrReadOnly, "wait, or see `ronctl status` for the actor that is down"},
		{store.ErrNotReady, "wait, or see `ronctl status` for what is missing"},
	} {
		if errors.Is(err, s.kind) {
			return s.next
		}
	}
	return "the node's log has more under the corr_id"
}
