package actors

import (
	"io"
	"sync"
)

// logBacklog bounds the lines that wait for the reader of the log, in bytes.
const logBacklog = 1 << 20

// backlog stands between the node and a writer that may block. It takes whole
// lines and never waits; its own goroutine writes them.
type backlog struct {
	w    io.Writer
	note func(lost int64) []byte // a line that says so
	wake chan struct{}           // holds one token
	done chan struct{}           // closed when the goroutine has ended

	mu     sync.Mutex // guards all that follows
	lines  []byte
	lost   int64
	closed bool
}

func openBacklog(w io.Writer, note func(int64) []byte) *backlog {
	b := &backlog{w: w, note: note, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go b.run()
	return b
}

// Write takes a line, or counts it as lost.
func (b *backlog) Write(line []byte) (int, error) {
	b.mu.Lock()
	switch {
	case b.closed: // nobody would write it, nor that it is lost
	case len(b.lines)+len(line) > logBacklog:
		b.lost++
	default:
		b.lines = append(b.lines, line...)
	}
	b.mu.Unlock()
	b.kick()
	return len(line), nil
}

func (b *backlog) kick() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run writes until the backlog is closed and empty. A writer that fails takes
// nothing, as if nobody read.
func (b *backlog) run() {
	defer close(b.done)
	var spare []byte
	for {
		b.mu.Lock()
		lines, lost, closed := b.lines, b.lost, b.closed
		b.lines, b.lost = spare[:0], 0
		b.mu.Unlock()
		if lost > 0 {
			lines = append(lines, b.note(lost)...) // what was lost came after what waited
		}
		if len(lines) > 0 {
			_, _ = b.w.Write(lines)
		} else if closed {
			return
		} else {
			<-b.wake
		}
		spare = lines
	}
}

// end writes what is left. Lines that come later are lost.
func (b *backlog) end() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.kick()
	<-b.done
}
