package caps

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Figures of a key file.
const (
	minRoot = 16
	maxFile = 4096
)

// ErrKeyFile says that a key file cannot be used, and why.
var ErrKeyFile = errors.New("caps: the key file cannot be used")

// Open makes a ring with the root keys of a file: one a line, 64 hex digits; the
// last one is active, those before it verify. A file of 32 raw bytes is one key.
// It must be readable by its owner alone. Errors: ErrKeyFile.
func Open(path string, now func() time.Time) (*Ring, error) {
	r, err := emptyRing(now)
	if err != nil {
		return nil, err
	}
	if err := r.load(path); err != nil {
		r.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
	}
	return r, nil
}

// load reads the file into a vault of its own, so that no copy stays on the heap.
func (r *Ring) load(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := private(fd); err != nil {
		return err
	}
	room, err := newVault()
	if err != nil {
		return err
	}
	defer room.close()
	n := 0
	for n <= maxFile {
		m, err := unix.Read(fd, room.page[n:maxFile+1])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if m == 0 {
			break
		}
		n += m
	}
	if n > maxFile {
		return fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	return r.takeAll(room.page[:n])
}

// private wants a regular file that is its owner's alone.
func private(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch uid := uint32(os.Geteuid()); {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is no regular file")
	case st.Mode&0o077 != 0:
		return fmt.Errorf("others may read it (mode %04o): chmod 600 it", st.Mode&0o7777)
	case st.Uid != uid && st.Uid != 0:
		return fmt.Errorf("it belongs to uid %d: give it to the node's user", st.Uid)
	}
	return nil
}

// takeAll takes every key of a file's text, in place.
func (r *Ring) takeAll(text []byte) error {
	if len(text) == keyLen && !isHex(text) {
		_, err := r.add(text, "file")
		return err
	}
	taken := 0
	for len(text) > 0 {
		end := 0
		for end < len(text) && text[end] != '\n' {
			end++
		}
		line := text[:end]
		text = text[min(end+1, len(text)):]
		for len(line) > 0 && (line[len(line)-1] == '\r' || line[len(line)-1] == ' ') {
			line = line[:len(line)-1]
		}
		switch {
		case len(line) == 0 || line[0] == '#':
			continue
		case len(line)%2 != 0 || len(line) < 2*minRoot || !isHex(line) || taken == MaxKeys:
			return fmt.Errorf("it holds root keys of 64 hex digits, one a line and at most %d (make one: openssl rand -hex 32), or 32 raw bytes", MaxKeys)
		}
		n, err := hex.Decode(line, line) // in place: reads ahead of what it writes
		if err != nil {
			return errors.New("it holds something else than hex digits")
		}
		if _, err := r.add(line[:n], "file"); err != nil {
			return err
		}
		taken++
	}
	if taken == 0 {
		return errors.New("it holds no key (make one: openssl rand -hex 32)")
	}
	return nil
}

func isHex(text []byte) bool {
	for _, c := range text {
		if ('0' > c || c > '9') && ('a' > c || c > 'f') && ('A' > c || c > 'F') {
			return false
		}
	}
	return true
}
