package kernel

import (
	"slices"
	"testing"
)

// What the library schedules runs in order, one after the other, is never
// waited for by who schedules it, and is never lost: not even when it comes after
// the end.
func TestLane(t *testing.T) {
	l := newLane()
	var ran []int // written by the lane's one goroutine
	gate, done := make(chan struct{}), make(chan struct{})
	l.Schedule(func() {
		<-gate
		ran = append(ran, 1)
		l.Schedule(func() { // as the next message does, when this turn is about to return
			ran = append(ran, 2)
			l.Schedule(func() {
				ran = append(ran, 3)
				l.retire()
				close(done)
			})
		})
	})
	if l.Throughput() < 1 {
		t.Error("no message gets a turn")
	}
	close(gate)
	<-done
	l.wait()
	if !slices.Equal(ran, []int{1, 2, 3}) {
		t.Errorf("ran %v", ran)
	}
	late := make(chan struct{})
	l.Schedule(func() { close(late) })
	<-late
}

func TestLaneThatNeverRan(t *testing.T) {
	l := newLane()
	l.retire()
	l.wait()
}
