package actors_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/store"
)

// sizes of objects that are put and got.
var sizes = [...]int{1 << 10, 4 << 10, 64 << 10, 1 << 20, 16 << 20}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

// unlimited lifts what would refuse a benchmark.
func unlimited(c *config.Config, _ *actors.Options) {
	c.Limits.RPS, c.Limits.Inflight, c.Limits.MaxBodyBytes = 1_000_000_000, 65536, 64<<20
	c.Limits.RequestTimeout = time.Minute
}

// each runs a benchmark for every size on a node of its own.
func each(b *testing.B, run func(b *testing.B, r *rig, size int)) {
	for _, size := range sizes {
		b.Run(sizeName(size), func(b *testing.B) {
			r := start(b, unlimited)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			run(b, r, size)
		})
	}
}

// unique makes bodies that differ from one call to the next, each goroutine
// with its own.
type unique struct {
	body []byte
	next *atomic.Uint64
}

func (u unique) take() []byte {
	binary.LittleEndian.PutUint64(u.body, u.next.Add(1))
	return u.body
}

// BenchmarkPut stores new bytes in-process and deletes them again.
func BenchmarkPut(b *testing.B) {
	each(b, func(b *testing.B, r *rig, size int) {
		objects, ctx := r.node.Objects(), context.Background()
		u := unique{make([]byte, size), new(atomic.Uint64)}
		for b.Loop() {
			info, _, err := objects.Put(ctx, bytes.NewReader(u.take()), store.PutOptions{Size: int64(size)})
			if err == nil {
				err = objects.Delete(ctx, info.Address)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkGet reads and verifies in-process.
func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, r *rig, size int) {
		objects, ctx := r.node.Objects(), context.Background()
		info, _, err := objects.Put(ctx, bytes.NewReader(make([]byte, size)), store.PutOptions{Size: int64(size)})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			blob, err := objects.Open(ctx, info.Address)
			if err == nil {
				_, err = blob.WriteRange(ctx, io.Discard, 0, int64(size))
				_ = blob.Close()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// do sends a request and reads the answer over.
func do(b *testing.B, c *http.Client, method, url string, body []byte, want int) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	res, err := c.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != want {
		b.Errorf("%s: %d, %v", method, res.StatusCode, err)
	}
}

// plainClient keeps its connections and checks nothing.
func plainClient(b *testing.B) *http.Client {
	tcp := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	b.Cleanup(tcp.CloseIdleConnections)
	return &http.Client{Transport: tcp}
}

// BenchmarkDoorPut stores new bytes over loopback TCP, from several clients,
// and deletes them in-process.
func BenchmarkDoorPut(b *testing.B) {
	each(b, func(b *testing.B, r *rig, size int) {
		c, next := plainClient(b), new(atomic.Uint64)
		b.RunParallel(func(pb *testing.PB) {
			u := unique{make([]byte, size), next}
			for pb.Next() {
				body := u.take()
				do(b, c, http.MethodPost, r.base+"/put", body, http.StatusCreated)
				if err := r.node.Objects().Delete(context.Background(), store.Sum(body)); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkDoorGet reads over loopback TCP, from several clients.
func BenchmarkDoorGet(b *testing.B) {
	each(b, func(b *testing.B, r *rig, size int) {
		c, body := plainClient(b), make([]byte, size)
		if _, _, err := r.node.Objects().Put(context.Background(), bytes.NewReader(body), store.PutOptions{Size: int64(size)}); err != nil {
			b.Fatal(err)
		}
		url := r.base + "/o/" + store.Sum(body).String()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				do(b, c, http.MethodGet, url, nil, http.StatusOK)
			}
		})
	})
}

// BenchmarkReadyz asks for readiness over loopback TCP.
func BenchmarkReadyz(b *testing.B) {
	r := start(b, unlimited)
	c := plainClient(b)
	b.ReportAllocs()
	for b.Loop() {
		do(b, c, http.MethodGet, r.base+"/readyz", nil, http.StatusOK)
	}
}

// BenchmarkMailbox is one send, recv and ack of a 1 KiB message over HTTP, on
// connections of their own; batched: of 64 messages at a time, per message.
func BenchmarkMailbox(b *testing.B) {
	for _, conns := range []int{1, 8, 64} {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprintf("conns=%d/batch=%d", conns, batch), func(b *testing.B) { cycles(b, conns, batch) })
		}
	}
}

func cycles(b *testing.B, conns, batch int) {
	r := start(b, unlimited, func(c *config.Config, _ *actors.Options) { c.Mailbox.ShardCapacity = 1 << 20 })
	items := make([]httpapi.SendRequest, batch)
	for i := range items {
		items[i] = httpapi.SendRequest{Topic: "bench", PayloadB64: make([]byte, 1024)}
	}
	many := int64(batch)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var working sync.WaitGroup
	for range conns {
		working.Go(func() {
			c, err := httpapi.NewClient(httpapi.ClientOptions{Addr: r.base})
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			for left.Add(-many) > -many && !b.Failed() {
				if err := cycle(b.Context(), c, items); err != nil {
					b.Error(err)
				}
			}
		})
	}
	working.Wait()
}

func cycle(ctx context.Context, c *httpapi.Client, items []httpapi.SendRequest) error {
	many := int64(len(items))
	want := httpapi.RecvRequest{Topic: items[0].Topic, MaxMessages: &many}
	if len(items) == 1 {
		if _, err := c.Send(ctx, items[0]); err != nil {
			return err
		}
		got, err := c.Recv(ctx, want)
		if err != nil || len(got) != 1 {
			return fmt.Errorf("%d messages, %w", len(got), err)
		}
		return c.Ack(ctx, httpapi.SettleRequest{Receipt: got[0].Receipt})
	}
	if _, err := c.SendBatch(ctx, items); err != nil {
		return err
	}
	got, err := c.Recv(ctx, want)
	if err != nil || len(got) == 0 {
		return fmt.Errorf("%d messages, %w", len(got), err)
	}
	acks := make([]httpapi.SettleRequest, len(got))
	for i, e := range got {
		acks[i].Receipt = e.Receipt
	}
	_, err = c.AckBatch(ctx, acks)
	return err
}
