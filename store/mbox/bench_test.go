package mbox_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"micronode/store/mbox"
)

// BenchmarkCycle is one send, recv and ack with this many topics in use, each
// with messages waiting.
func BenchmarkCycle(b *testing.B) {
	for _, many := range []int{1, 10, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", many), func(b *testing.B) {
			q := mbox.New(mbox.Options{Capacity: 1 << 30})
			names := make([]string, many)
			now := mbox.Now{Wall: time.Unix(1e9, 0)}
			payload := make([]byte, 1024)
			for i := range names {
				names[i] = "t" + strconv.Itoa(i)
				for range 10 {
					if _, err := q.Send(now, mbox.Message{Topic: names[i], Payload: payload}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now.Mono += time.Microsecond
				topic := names[i%many]
				if _, err := q.Send(now, mbox.Message{Topic: topic, Payload: payload}); err != nil {
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
		})
	}
}
