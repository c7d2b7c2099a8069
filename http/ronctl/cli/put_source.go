package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// declared is the largest body sent with its length; larger ones are streamed.
const declared = 1 << 20

// input is one thing to put: a file, or "-" for standard input.
type input struct {
	path string // to open
	name string // as told in manifests: under the one directory given, else as given
	size int64  // when looked at; -1: not known
	skip string // why it is not put
	err  error  // why it cannot be
}

// gather looks at all that is named on the command line. Below directories it
// takes regular files in order of name, and leaves everything else out with a
// reason: following links would store the same bytes under surprising names.
func gather(args []string, recursive bool) []input {
	var all []input
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case arg == "-":
			all = append(all, input{path: arg, name: arg, size: -1})
		case err != nil:
			all = append(all, input{path: arg, name: arg, err: err})
		case info.IsDir() && !recursive:
			all = append(all, input{path: arg, name: arg, err: errors.New("is a directory: put it with -r")})
		case info.IsDir():
			all = append(all, walk(arg, len(args) == 1)...)
		case info.Mode().IsRegular():
			all = append(all, input{path: arg, name: arg, size: info.Size()})
		default: // a named pipe or a device that was asked for by name
			all = append(all, input{path: arg, name: arg, size: -1})
		}
	}
	return all
}

func walk(dir string, only bool) []input {
	var all []input
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		in := input{path: path, name: path}
		if rel, relErr := filepath.Rel(dir, path); only && relErr == nil {
			in.name = rel
		}
		switch {
		case err != nil:
			in.err = err
		case d.IsDir():
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			in.skip = "symbolic link"
		case !d.Type().IsRegular():
			in.skip = "not a regular file"
		default:
			info, err := d.Info()
			if err != nil {
				in.err = err
			} else {
				in.size = info.Size()
			}
		}
		all = append(all, in)
		return nil // every fault is an input that cannot be put
	})
	return all
}

// open returns the bytes of an input and what to declare about them.
func (a *app) open(in input) (io.ReadCloser, int64, error) {
	if in.path == "-" {
		return head(a.sys.Stdin)
	}
	f, err := os.Open(in.path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		if in.size >= 0 {
			_ = f.Close()
			return nil, 0, errors.New("is not a regular file any more")
		}
		return f, -1, nil
	}
	return f, info.Size(), nil
}

// head holds the beginning of a stream: a short one can then be sent with its
// length, and again if need be.
func head(r io.Reader) (io.ReadCloser, int64, error) {
	first, err := io.ReadAll(io.LimitReader(r, declared+1))
	if err != nil {
		return nil, 0, fmt.Errorf("standard input: %w", err)
	}
	if len(first) <= declared {
		return seekable{bytes.NewReader(first)}, int64(len(first)), nil
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(first), r)), -1, nil
}

type seekable struct{ *bytes.Reader }

// Close implements io.Closer.
func (seekable) Close() error { return nil }

// counted counts what is read for the bar, and takes it back when a retry
// starts over.
type counted struct {
	io.Reader
	bar  *bar
	read int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	c.bar.bytes.Add(int64(n))
	return n, err
}

// rewinding is counted over what can be read again.
type rewinding struct {
	counted
	seeker io.Seeker
}

// Seek implements io.Seeker.
func (r *rewinding) Seek(offset int64, whence int) (int64, error) {
	at, err := r.seeker.Seek(offset, whence)
	if err == nil {
		r.bar.bytes.Add(at - r.read)
		r.read = at
	}
	return at, err
}

// count puts the bar's counter before a source, which stays seekable if it was.
func count(src io.Reader, b *bar) io.Reader {
	if seeker, ok := src.(io.Seeker); ok {
		if _, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			return &rewinding{counted{Reader: src, bar: b}, seeker}
		}
	}
	return &counted{Reader: src, bar: b}
}
