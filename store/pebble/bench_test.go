package pebble_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"micronode/store"
	"micronode/store/mbox"
	"micronode/store/pebble"
)

func benchStore(b *testing.B) *pebble.Store {
	s, err := pebble.Open(pebble.Options{Dir: b.TempDir(), MaxBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// BenchmarkPut: durable puts of new objects, from 1, 16 and 64 writers; syncs/op is how many fsyncs each cost.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, writers), func(b *testing.B) {
				s := benchStore(b)
				before, _ := s.Counts()
				var next atomic.Int64
				b.SetBytes(int64(size))
				b.ResetTimer()
				var work sync.WaitGroup
				for range writers {
					work.Go(func() {
						body := make([]byte, size)
						for {
							i := next.Add(1)
							if i > int64(b.N) {
								return
							}
							binary.LittleEndian.PutUint64(body, uint64(i))
							if _, _, err := s.Put(timeless, bytes.NewReader(body), store.PutOptions{Size: int64(size)}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				work.Wait()
				b.StopTimer()
				after, _ := s.Counts()
				b.ReportMetric(float64(after-before)/float64(b.N), "syncs/op")
			})
		}
	}
}

// BenchmarkGet: verified reads, of a set that fits the engine's cache and of one that does not.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, set := range []struct {
			name  string
			bytes int
		}{{"warm", 4 << 20}, {"cold", 256 << 20}} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, set.name), func(b *testing.B) {
				s := benchStore(b)
				var all []store.Address
				body := make([]byte, size)
				for i := range set.bytes / size {
					binary.LittleEndian.PutUint64(body, uint64(i))
					info, _, err := s.Put(timeless, bytes.NewReader(body), store.PutOptions{Size: int64(size)})
					if err != nil {
						b.Fatal(err)
					}
					all = append(all, info.Address)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					o, err := s.Open(timeless, all[i*7919%len(all)])
					if err != nil {
						b.Fatal(err)
					}
					if _, err := o.WriteRange(timeless, io.Discard, 0, int64(size)); err != nil {
						b.Fatal(err)
					}
					_ = o.Close()
				}
			})
		}
	}
}

// BenchmarkCycle: send, receive and acknowledge one message of 1 KiB, durably, from 64 queues at once.
func BenchmarkCycle(b *testing.B) {
	s := benchStore(b)
	before, _ := s.Counts()
	var next atomic.Int64
	var work sync.WaitGroup
	b.ResetTimer()
	for w := range 64 {
		work.Go(func() {
			q := mbox.New(mbox.Options{Journal: true, Seed: [32]byte{byte(w), 1}})
			body := make([]byte, 1024)
			hash := store.Sum(body)
			kept := make(chan error, 1)
			done := func(err error) { kept <- err }
			for next.Add(1) <= int64(b.N) {
				now := mbox.Now{Mono: 1}
				if _, err := q.Send(now, mbox.Message{Topic: "t", Payload: body, Hash: hash}); err != nil {
					b.Error(err)
					return
				}
				s.Append(q.Changes(now), false, done)
				<-kept
				got, err := q.Recv(now, mbox.Want{Topic: "t", Max: 1})
				if err != nil || len(got) != 1 {
					b.Error(len(got), err)
					return
				}
				s.Append(q.Changes(now), true, func(error) {})
				if _, err := q.Settle(now, mbox.Settlement{Receipt: got[0].Receipt}); err != nil {
					b.Error(err)
					return
				}
				s.Append(q.Changes(now), false, done)
				<-kept
			}
		})
	}
	work.Wait()
	b.StopTimer()
	after, _ := s.Counts()
	b.ReportMetric(float64(after-before)/float64(b.N), "syncs/op")
}

// BenchmarkOpen: open a directory that was killed, by number of objects.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			s, err := pebble.Open(pebble.Options{Dir: dir, MaxBytes: 1 << 40})
			if err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			var work sync.WaitGroup
			for range 64 {
				work.Go(func() {
					body := make([]byte, 256)
					for {
						i := next.Add(1)
						if i > int64(n) {
							return
						}
						binary.LittleEndian.PutUint64(body, uint64(i))
						if _, _, err := s.Put(timeless, bytes.NewReader(body), store.PutOptions{Size: 256}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			work.Wait()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				s, err := pebble.Open(pebble.Options{Dir: dir, MaxBytes: 1 << 40})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if u := s.Usage(); u.Objects != int64(n) {
					b.Fatalf("%+v", u)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkChurn puts and deletes objects of 64 KiB, a window of 64 MiB of them alive, and reports what that cost the disk:
// bytes written and bytes occupied, each to the bytes put or alive.
func BenchmarkChurn(b *testing.B) {
	dir := b.TempDir()
	s, err := pebble.Open(pebble.Options{Dir: dir, MaxBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	const size, alive = 64 << 10, 1024
	_, before := s.Counts()
	var window []store.Address
	body := make([]byte, size)
	b.SetBytes(size)
	for i := range b.N {
		binary.LittleEndian.PutUint64(body, uint64(i)+1)
		info, _, err := s.Put(timeless, bytes.NewReader(body), store.PutOptions{Size: size})
		if err != nil {
			b.Fatal(err)
		}
		if window = append(window, info.Address); len(window) > alive {
			if err := s.Delete(timeless, window[0]); err != nil {
				b.Fatal(err)
			}
			window = window[1:]
		}
	}
	b.StopTimer()
	_, after := s.Counts()
	b.ReportMetric(float64(after-before)/float64(b.N*size), "written/put")
	b.ReportMetric(float64(s.Occupied(b))/float64(len(window)*size), "occupied/alive")
}
