package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

func (a *app) verify() *cobra.Command {
	var jobs int
	var retryFor time.Duration
	cmd := a.command(cobra.Command{
		Use: "verify MANIFEST [DIR]", Short: "Read everything in a manifest back and compare it with files", Args: takes(1, 2, "a MANIFEST and maybe a DIR"),
		Long: `Read every address of a manifest back from the node and compare it with the file of
that name below DIR (default: the directory where you are), bit for bit. "ronctl put
--manifest" writes manifests.`,
		Example: "  ronctl put -r ./photos --manifest photos.tsv\n  ronctl verify photos.tsv ./photos",
	}, func(ctx context.Context, args []string) error {
		if jobs < 1 || jobs > maxJobs {
			return usagef("for example -j 8").because(fmt.Sprintf("--jobs takes 1 to %d", maxJobs))
		}
		dir := "."
		if len(args) == 2 {
			dir = args[1]
		}
		return a.runVerify(ctx, check{args[0], dir, jobs, retryFor})
	})
	cmd.Flags().IntVarP(&jobs, "jobs", "j", defaultJobs, "how many objects at a time")
	cmd.Flags().DurationVar(&retryFor, "retry-for", defaultRetryFor, "how long to repeat what is refused for now, per object; 0: never")
	return cmd
}

// check is what `ronctl verify` is asked for.
type check struct {
	manifest, dir string
	jobs          int
	retryFor      time.Duration
}

// checked is what became of one line of a manifest.
type checked struct {
	entry
	n   int64
	err error
}

func (a *app) runVerify(ctx context.Context, asked check) error {
	f, err := os.Open(asked.manifest)
	if err != nil {
		return err
	}
	entries, err := readManifest(f)
	_ = f.Close() // only read from
	if err != nil {
		return fmt.Errorf("%s: %w", asked.manifest, err)
	}
	bar := a.startBar(len(entries), 0)
	defer bar.end()
	client, err := a.connect(ctx, a.patience(asked.retryFor, bar))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed []checked
	good, total := 0, int64(0)
	told := inOrder(ctx, asked.jobs, entries, func(ctx context.Context, e entry) checked {
		defer bar.items.Add(1)
		n, err := compare(ctx, client, e, asked.dir)
		bar.bytes.Add(n)
		bar.waiting.Store(nil)
		return checked{e, n, err}
	}, func(c checked) bool {
		if c.err == nil {
			good++
			total += c.n
			return true
		}
		failed = append(failed, c)
		if !a.json() {
			a.err.line(a.err.paint(styleBad, "ronctl verify: ") + clean(pathError(field(c.path), c.err)))
		}
		return !isGone(c.err)
	})
	bar.end()
	return a.verdict(ctx, good, total, failed, len(entries)-told)
}

// verdict prints what was found and returns what the exit code has to tell.
func (a *app) verdict(ctx context.Context, good int, total int64, failed []checked, untold int) error {
	if a.json() {
		type named struct {
			Address string `json:"address"`
			Path    string `json:"path"`
			Why     string `json:"why"`
		}
		bad := []named{}
		for _, c := range failed {
			bad = append(bad, named{c.addr.String(), c.path, errorText(c.err)})
		}
		if err := a.out.encode(map[string]any{"verified": good, "bytes": total, "failed": bad, "ok": len(bad) == 0 && untold == 0}); err != nil {
			return err
		}
	} else {
		a.out.line(fmt.Sprintf("verified %s, %s, bit for bit", plural(good, "object"), bytesOf(total)))
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if len(failed) == 0 {
		return nil
	}
	return &failure{
		exit: ExitFailed, what: plural(len(failed), "object") + " not as in the manifest",
		why: pathError(field(failed[0].path), failed[0].err), next: "see the lines above", cause: failed[0].err,
	}
}

// compare reads an object and the file of its line side by side.
func compare(ctx context.Context, client *httpapi.Client, e entry, dir string) (int64, error) {
	path := e.path
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read from
	same := &comparer{file: f}
	n, err := client.Get(ctx, e.addr, same, nil)
	if err != nil {
		return n, err
	}
	if extra, _ := f.Read(make([]byte, 1)); extra > 0 {
		return n, fmt.Errorf("the file goes on after byte %d, where the object ends", n)
	}
	return n, nil
}

// comparer is a writer that takes only what its file holds.
type comparer struct {
	file io.Reader
	at   int64
	mine []byte
}

// Write implements io.Writer.
func (c *comparer) Write(p []byte) (int, error) {
	if cap(c.mine) < len(p) {
		c.mine = make([]byte, len(p))
	}
	mine := c.mine[:len(p)]
	n, err := io.ReadFull(c.file, mine)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	if !bytes.Equal(mine[:n], p[:n]) {
		i := 0
		for mine[i] == p[i] {
			i++
		}
		return 0, fmt.Errorf("file and object differ at byte %d", c.at+int64(i))
	}
	if n < len(p) {
		return 0, fmt.Errorf("the file ends at byte %d, where the object goes on", c.at+int64(n))
	}
	c.at += int64(n)
	return n, nil
}
