package cli

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"charm.land/bubbles/v2/progress"
	"charm.land/lipgloss/v2"
)

const (
	barEvery    = 100 * time.Millisecond
	barMaxWidth = 40
	barMinWidth = 10
)

// bar shows how far a long command is, on the last line of a terminal. On
// anything else it shows nothing. Its counters may be used from any goroutine.
type bar struct {
	screen     *screen
	now        func() time.Time
	begun      time.Time
	allItems   int64
	allBytes   int64
	items      atomic.Int64
	bytes      atomic.Int64
	waiting    atomic.Pointer[string] // why nothing moves; nil when it does
	stop, done chan struct{}
	once       sync.Once
}

// startBar begins to paint. The caller ends it.
func (a *app) startBar(items int, bytes int64) *bar {
	b := &bar{
		screen: a.err, now: a.sys.Now, begun: a.sys.Now(), allItems: int64(items), allBytes: bytes,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if !a.err.terminal || a.json() {
		close(b.done)
		return b
	}
	go b.run()
	return b
}

func (b *bar) run() {
	defer close(b.done)
	tick := time.NewTicker(barEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.screen.paintBar(b.render())
		case <-b.stop:
			b.screen.paintBar("")
			return
		}
	}
}

// end takes the bar away and waits for its goroutine.
func (b *bar) end() {
	b.once.Do(func() { close(b.stop) })
	<-b.done
}

// render is the line, no wider than the screen.
func (b *bar) render() string {
	items, bytes := b.items.Load(), b.bytes.Load()
	elapsed := b.now().Sub(b.begun).Seconds()
	text := fmt.Sprintf(" %d/%d  %s/%s", items, b.allItems, bytesOf(bytes), bytesOf(b.allBytes))
	if elapsed > 0 {
		text += fmt.Sprintf("  %s/s", bytesOf(int64(float64(bytes)/elapsed)))
	}
	if why := b.waiting.Load(); why != nil {
		text += "  waiting: " + *why
	}
	columns := b.screen.width - 1
	width := min(barMaxWidth, columns-lipgloss.Width(text))
	if width < barMinWidth {
		return lipgloss.NewStyle().MaxWidth(columns).Render(text[1:])
	}
	options := []progress.Option{progress.WithWidth(width), progress.WithoutPercentage()}
	if b.screen.colour {
		options = append(options, progress.WithFillCharacters('█', '░'), progress.WithColors(lipgloss.Green))
	} else {
		options = append(options, progress.WithFillCharacters('#', '.'), progress.WithColors(lipgloss.NoColor{}))
	}
	model := progress.New(options...)
	if !b.screen.colour {
		model.EmptyColor = lipgloss.NoColor{}
	}
	return model.ViewAs(b.fraction(items, bytes)) + text
}

func (b *bar) fraction(items, bytes int64) float64 {
	switch {
	case b.allBytes > 0:
		return min(1, float64(bytes)/float64(b.allBytes))
	case b.allItems > 0:
		return float64(items) / float64(b.allItems)
	}
	return 1
}
