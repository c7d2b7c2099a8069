package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	httpapi "micronode/http"
)

// maxNamed is how many failed files an error names.
const maxNamed = 10

// putReport prints results as they come and sums them up.
type putReport struct {
	app      *app
	bar      *bar
	begun    time.Time
	manifest io.Writer
	stream   *stream // with -o json

	stored, existing, skipped int
	bytes                     int64
	failed                    []putResult
	skips                     []putResult
	fault                     error // of our own output: ends the run
	gone                      error // the node is: the rest is not tried
}

// take accounts for one result and tells whether to go on.
func (r *putReport) take(p putResult) bool {
	switch {
	case p.skip != "":
		r.skipped++
		r.skips = append(r.skips, p)
	case errors.Is(p.err, context.Canceled):
		return false // told to stop: not a fault of the file
	case p.err != nil:
		r.failed = append(r.failed, p)
		if !r.app.json() {
			r.app.err.line(r.app.err.paint(styleBad, "ronctl put: ") + clean(pathError(p.path, p.err)))
		}
		if isGone(p.err) {
			r.gone = p.err
			return false
		}
	default:
		r.stored++
		r.bytes += p.size
		if !p.created {
			r.existing++
		}
		r.fault = r.print(p)
	}
	return r.fault == nil
}

// isGone tells an error that every other file would meet as well.
func isGone(err error) bool {
	return errors.Is(err, httpapi.ErrUnreachable) || errors.Is(err, httpapi.ErrConnLost)
}

// pathError names a file once.
func pathError(path string, err error) string {
	var named *os.PathError
	if errors.As(err, &named) {
		return err.Error()
	}
	return path + ": " + errorText(err)
}

// errorText is an error in one line: a problem's own words.
func errorText(err error) string {
	var p *httpapi.Problem
	if errors.As(err, &p) {
		return fmt.Sprintf("%s (%s, corr_id %s)", p.Title, p.Reason, p.CorrID)
	}
	return err.Error()
}

func (r *putReport) print(p putResult) error {
	if r.manifest != nil {
		if _, err := io.WriteString(r.manifest, manifestLine(p.addr, p.name)+"\n"); err != nil {
			return err
		}
	}
	if r.stream != nil {
		return r.stream.add(map[string]any{"address": p.addr, "size": p.size, "path": p.path, "created": p.created})
	}
	r.app.out.line(fmt.Sprintf("%v\t%d\t%s", p.addr, p.size, field(p.path)))
	return r.app.out.failed()
}

// finish prints the summary and returns what the exit code has to tell.
func (r *putReport) finish(ctx context.Context, untold int) error {
	if r.fault != nil { // also when our reader left: not everything was stored
		return &failure{
			exit: ExitFailed, what: "stopped", why: "cannot write the output: " + r.fault.Error(),
			next: "run it again: what is stored already is not stored twice",
		}
	}
	elapsed := r.app.sys.Now().Sub(r.begun)
	if r.stream != nil {
		if err := r.finishJSON(elapsed, untold); err != nil {
			return err
		}
	} else {
		r.app.err.line(r.summary(elapsed))
	}
	if len(r.failed) == 0 && untold == 0 {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return &failure{
			exit: ExitFailed, what: "interrupted", cause: cause,
			why:  fmt.Sprintf("%d stored, %d not", r.stored, untold+len(r.failed)),
			next: "run it again: what is stored already is not stored twice",
		}
	}
	names := make([]string, 0, maxNamed)
	for _, p := range r.failed[:min(len(r.failed), maxNamed)] {
		names = append(names, field(p.path))
	}
	if more := len(r.failed) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	f := &failure{
		exit: ExitFailed, cause: errors.Join(errs(r.failed)...), why: strings.Join(names, ", "),
		what: fmt.Sprintf("%s not stored", plural(len(r.failed), "file")),
		next: "mend what is said above and run it again: what is stored already is not stored twice",
	}
	if r.gone != nil {
		f.why += fmt.Sprintf("; the node is gone (%s), %d more were not tried", reason(r.gone), untold-1)
		f.next = "see `ronctl status`, then run it again: what is stored already is not stored twice"
	}
	return f
}

func errs(failed []putResult) []error {
	all := make([]error, 0, len(failed))
	for _, p := range failed {
		all = append(all, p.err)
	}
	return all
}

func (r *putReport) summary(elapsed time.Duration) string {
	text := fmt.Sprintf("stored %s, %s", plural(r.stored, "file"), bytesOf(r.bytes))
	if r.existing > 0 {
		text += fmt.Sprintf(" (%d there already)", r.existing)
	}
	if r.skipped > 0 {
		text += fmt.Sprintf(", skipped %d (links and special files)", r.skipped)
	}
	if len(r.failed) > 0 {
		text += fmt.Sprintf(", failed %d", len(r.failed))
	}
	return text + " in " + span(elapsed)
}

func (r *putReport) finishJSON(elapsed time.Duration, untold int) error {
	type named struct {
		Path string `json:"path"`
		Why  string `json:"why"`
	}
	failed, skipped := []named{}, []named{}
	for _, p := range r.failed {
		failed = append(failed, named{p.path, errorText(p.err)})
	}
	for _, p := range r.skips {
		skipped = append(skipped, named{p.path, p.skip})
	}
	return r.stream.end(map[string]any{
		"failed": failed, "skipped": skipped,
		"totals": map[string]any{
			"stored": r.stored, "existing": r.existing, "bytes": r.bytes, "failed": len(r.failed),
			"skipped": r.skipped, "not_tried": max(0, untold-len(r.failed)), "elapsed_ms": elapsed.Milliseconds(),
		},
	})
}
