package mbox_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"testing"
	"time"

	"micronode/store"
	"micronode/store/mbox"
)

var benchPayload = make([]byte, 1024)

func fill(b *testing.B, q *mbox.Queue, now mbox.Now, topic string, n int) {
	for range n {
		if _, err := q.Send(now, mbox.Message{Topic: topic, Payload: benchPayload}); err != nil {
			b.Fatal(err)
		}
	}
}

func cycle(b *testing.B, q *mbox.Queue, now mbox.Now, topic string) {
	if _, err := q.Send(now, mbox.Message{Topic: topic, Payload: benchPayload}); err != nil {
		b.Fatal(err)
	}
	d, err := q.Recv(now, mbox.Want{Topic: topic, Max: 1})
	if err != nil || len(d) != 1 {
		b.Fatal(len(d), err)
	}
	if _, err := q.Settle(now, mbox.Settlement{Receipt: d[0].Receipt}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCycle is one send, recv and ack with this many topics in use, among
// 100,000 messages that wait in all of them together.
func BenchmarkCycle(b *testing.B) {
	for _, many := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", many), func(b *testing.B) {
			q := mbox.New(mbox.Options{Capacity: 1 << 30})
			names := make([]string, many)
			now := mbox.Now{Wall: time.Unix(1e9, 0)}
			for i := range names {
				names[i] = "t" + strconv.Itoa(i)
				fill(b, q, now, names[i], 100_000/many)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now.Mono += time.Microsecond
				cycle(b, q, now, names[i%many])
			}
		})
	}
}

// BenchmarkBacklog is the same with this many messages ahead in the line, and
// as many leases running.
func BenchmarkBacklog(b *testing.B) {
	for _, many := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", many), func(b *testing.B) {
			q := mbox.New(mbox.Options{Capacity: 1 << 30, Visibility: mbox.MaxVisibility})
			now := mbox.Now{Wall: time.Unix(1e9, 0)}
			fill(b, q, now, "a", 2*many)
			for range many {
				now.Mono++
				if _, err := q.Recv(now, mbox.Want{Topic: "a", Max: 1}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				now.Mono += time.Microsecond
				cycle(b, q, now, "a")
			}
		})
	}
}

// BenchmarkBatch is the cost of a message that travels with 31 others.
func BenchmarkBatch(b *testing.B) {
	q := mbox.New(mbox.Options{})
	now := mbox.Now{Wall: time.Unix(1e9, 0)}
	b.ReportAllocs()
	for b.Loop() {
		now.Mono += time.Microsecond
		fill(b, q, now, "a", 32)
		d, err := q.Recv(now, mbox.Want{Topic: "a", Max: 32})
		if err != nil || len(d) != 32 {
			b.Fatal(len(d), err)
		}
		for _, d := range d {
			if _, err := q.Settle(now, mbox.Settlement{Receipt: d.Receipt}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/message")
}

// BenchmarkDedup sends with keys: all new, and all known.
func BenchmarkDedup(b *testing.B) {
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%v", known), func(b *testing.B) {
			q := mbox.New(mbox.Options{Capacity: 1 << 30})
			now := mbox.Now{Wall: time.Unix(1e9, 0)}
			m := mbox.Message{Topic: "a", Payload: benchPayload, Hash: store.Sum(benchPayload)}
			var raw [8]byte
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				if known {
					i &= 1023
				}
				now.Mono += time.Millisecond // 300,000 keys in the window
				binary.LittleEndian.PutUint64(raw[:], i)
				m.Key = string(raw[:])
				sent, err := q.Send(now, m)
				if err != nil {
					b.Fatal(err)
				}
				if !sent.Duplicate {
					q.Purge(now, "a", 1)
				}
			}
		})
	}
}
