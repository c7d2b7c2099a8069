package mem_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"micronode/store"
	"micronode/store/mem"
)

var benchSizes = []struct {
	name string
	size int
}{{"1KiB", 1 << 10}, {"4KiB", 4 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}, {"16MiB", 16 << 20}}

func benchPut(b *testing.B, s *mem.Store, content []byte, declared int64) store.Address {
	info, _, err := s.Put(context.Background(), bytes.NewReader(content), store.PutOptions{Size: declared})
	if err != nil {
		b.Fatal(err)
	}
	return info.Address
}

func benchGet(b *testing.B, s *mem.Store, a store.Address) {
	blob, err := s.Open(context.Background(), a)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := blob.WriteRange(context.Background(), io.Discard, 0, blob.Info().Size); err != nil {
		b.Fatal(err)
	}
	_ = blob.Close()
}

// BenchmarkPut stores new bytes every time, and deletes what it stored 64 MiB ago.
func BenchmarkPut(b *testing.B) {
	for _, form := range []string{"declared", "stream"} {
		for _, c := range benchSizes {
			b.Run(form+"/"+c.name, func(b *testing.B) {
				s := mem.New(mem.Options{})
				content := make([]byte, c.size)
				declared := int64(c.size)
				if form == "stream" {
					declared = -1
				}
				old := make([]store.Address, 64<<20/c.size)
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					binary.LittleEndian.PutUint64(content, uint64(i))
					if i >= len(old) {
						_ = s.Delete(context.Background(), old[i%len(old)])
					}
					old[i%len(old)] = benchPut(b, s, content, declared)
				}
			})
		}
	}
}

// BenchmarkGet opens, reads all verified, and closes.
func BenchmarkGet(b *testing.B) {
	for _, c := range benchSizes {
		b.Run(c.name, func(b *testing.B) {
			s := mem.New(mem.Options{})
			a := benchPut(b, s, make([]byte, c.size), -1)
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			for b.Loop() {
				benchGet(b, s, a)
			}
		})
	}
}

// BenchmarkGetParallel reads 4 KiB objects on all cores, alone and while one writer puts and deletes without a pause.
func BenchmarkGetParallel(b *testing.B) {
	for _, writers := range []int{0, 1} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mem.New(mem.Options{})
			all := fill(b, s, 1000, 4<<10)
			var stop atomic.Bool
			var done sync.WaitGroup
			for range writers {
				done.Go(func() {
					content := make([]byte, 4<<10)
					for i := uint64(1 << 40); !stop.Load(); i++ {
						binary.LittleEndian.PutUint64(content, i)
						_ = s.Delete(context.Background(), benchPut(b, s, content, 4<<10))
					}
				})
			}
			b.SetBytes(4 << 10)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					benchGet(b, s, all[i%len(all)])
				}
			})
			b.StopTimer()
			stop.Store(true)
			done.Wait()
		})
	}
}

func fill(b *testing.B, s *mem.Store, count, size int) []store.Address {
	all := make([]store.Address, count)
	content := make([]byte, size)
	for i := range all {
		binary.LittleEndian.PutUint64(content, uint64(i))
		all[i] = benchPut(b, s, content, int64(size))
	}
	return all
}

// BenchmarkOpen shows what the number of stored objects costs: opening one, and putting and deleting one more.
func BenchmarkOpen(b *testing.B) {
	for _, count := range []int{10_000, 100_000, 1_000_000} {
		s := mem.New(mem.Options{})
		all := fill(b, s, count, 8)
		b.Run(fmt.Sprintf("open/objects=%d", count), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				blob, err := s.Open(context.Background(), all[i*7919%count])
				if err != nil {
					b.Fatal(err)
				}
				_ = blob.Close()
			}
		})
		content := make([]byte, 4<<10)
		b.Run(fmt.Sprintf("put4KiB/objects=%d", count), func(b *testing.B) {
			b.ReportAllocs()
			for i := uint64(1 << 40); b.Loop(); i++ {
				binary.LittleEndian.PutUint64(content, i)
				_ = s.Delete(context.Background(), benchPut(b, s, content, 4<<10))
			}
		})
	}
}
