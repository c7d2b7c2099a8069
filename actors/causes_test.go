package actors_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"micronode/actors"
	"micronode/config"
	"micronode/kernel"
	"micronode/store"
	"micronode/store/mem"
)

// quiet is how long a cause holds after its last sign.
const quiet = 5 * time.Second

// inBubble runs a test on a node without a door in virtual time.
func inBubble(t *testing.T, change setup, test func(t *testing.T, node *actors.Node, objects *mem.Store)) {
	synctest.Test(t, func(t *testing.T) {
		c := config.Default()
		c.Auth.Mode = "dev"
		objects := mem.New(mem.Options{MaxBytes: 1 << 20, Now: time.Now})
		o := actors.Options{NoDoor: true, Objects: objects}
		change(&c, &o)
		node, err := actors.Start(config.Loaded{Config: c}, o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := node.Stop(context.Background(), false); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		test(t, node, objects)
	})
}

func asItIs(*config.Config, *actors.Options) {}

// pass lets virtual time pass; everything that is due has then been done.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func missing(t *testing.T, node *actors.Node, when string, want ...string) {
	t.Helper()
	if is := node.Readiness(); !slices.Equal(is.Missing, want) || is.Degraded != (len(want) > 0) || !is.Ready {
		t.Errorf("%s: %+v, want %v missing", when, is, want)
	}
}

func damaged(t *testing.T, node *actors.Node, objects *mem.Store) {
	t.Helper()
	body := []byte("damaged")
	if err := objects.FlipBit(store.Sum(body), 3); err != nil {
		t.Fatal(err)
	}
	read(t, node, body, store.ErrCorrupt)
	if err := objects.FlipBit(store.Sum(body), 3); err != nil { // whole again
		t.Fatal(err)
	}
}

func read(t *testing.T, node *actors.Node, body []byte, want error) {
	t.Helper()
	b, err := node.Objects().Open(t.Context(), store.Sum(body))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteRange(t.Context(), io.Discard, 0, int64(len(body))); !errors.Is(err, want) {
		t.Errorf("read: %v, want %v", err, want)
	}
	_ = b.Close()
}

func keep(t *testing.T, node *actors.Node, body []byte) {
	t.Helper()
	if _, _, err := node.Objects().Put(t.Context(), bytes.NewReader(body), store.PutOptions{Size: int64(len(body))}); err != nil {
		t.Fatal(err)
	}
}

// Damage raises its cause within a second and clears it after five quiet ones.
func TestIntegrityCause(t *testing.T) {
	inBubble(t, asItIs, func(t *testing.T, node *actors.Node, objects *mem.Store) {
		keep(t, node, []byte("damaged"))
		pass(10 * time.Second)
		missing(t, node, "at rest")
		for range 3 { // each sign begins the quiet anew
			damaged(t, node, objects)
			pass(time.Second)
			missing(t, node, "after damage", "integrity")
			pass(quiet - 2*time.Second)
			missing(t, node, "not quiet for long", "integrity")
		}
		read(t, node, []byte("damaged"), nil)
		pass(quiet)
		missing(t, node, "quiet")
	})
}

// A crash of the health actor neither clears a cause early, nor keeps it for
// ever, nor misses what happened while it was down.
func TestCausesOutliveTheHealthActor(t *testing.T) {
	inBubble(t, staysDown, func(t *testing.T, node *actors.Node, objects *mem.Store) {
		keep(t, node, []byte("damaged"))
		damaged(t, node, objects)
		pass(time.Second)
		if _, err := node.Tree().Kill(t.Context(), "health", "drill"); err != nil {
			t.Fatal(err)
		}
		pass(2 * quiet)
		missing(t, node, "nobody looks", "health", "integrity")
		if _, err := node.Tree().Restart(t.Context(), "health", "drill"); err != nil {
			t.Fatal(err)
		}
		pass(quiet - time.Second)
		missing(t, node, "restarted", "integrity")
		pass(2 * time.Second)
		missing(t, node, "quiet")

		if _, err := node.Tree().Kill(t.Context(), "health", "drill"); err != nil {
			t.Fatal(err)
		}
		damaged(t, node, objects)
		if _, err := node.Tree().Restart(t.Context(), "health", "drill"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		missing(t, node, "damage while it was down", "integrity")
	})
}

// The store warns from nine tenths of its bound on, and no longer when it is
// emptied; writes stay open.
func TestHeadroomCause(t *testing.T) {
	inBubble(t, asItIs, func(t *testing.T, node *actors.Node, _ *mem.Store) {
		const bound = 1 << 20
		most := bytesOf(1, bound*9/10-mem.ObjectOverhead-1)
		keep(t, node, most)
		pass(time.Second)
		missing(t, node, "just below nine tenths")
		keep(t, node, []byte("more"))
		pass(time.Second)
		missing(t, node, "above nine tenths", "store_headroom")
		if p := node.Readiness().Planes["objects"]; p != kernel.Open {
			t.Errorf("writes are %v", p)
		}
		pass(time.Minute)
		missing(t, node, "a minute above", "store_headroom")
		if err := node.Objects().Delete(t.Context(), store.Sum(most)); err != nil {
			t.Fatal(err)
		}
		pass(quiet - time.Second)
		missing(t, node, "just emptied", "store_headroom")
		pass(time.Second)
		missing(t, node, "emptied")
	})
}

// Events lost by a slow subscriber warn for as long as the loss goes on.
func TestBusLagCause(t *testing.T) {
	few := func(c *config.Config, _ *actors.Options) { c.Bus.Ring = 4 }
	inBubble(t, few, func(t *testing.T, node *actors.Node, _ *mem.Store) {
		slow := node.Bus().Subscribe(kernel.Query{Kind: "Drill"})
		lose := func() {
			for range 10 {
				node.Bus().Publish(kernel.Event{Topic: "micronode.drill", Kind: "Drill"})
				synctest.Wait() // everybody else keeps up
			}
		}
		lose()
		pass(time.Second)
		missing(t, node, "events were lost", "bus_lag")
		slow.Close()
		lose()
		pass(quiet)
		missing(t, node, "nobody is slow")
	})
}

// What has expired is given back by the storage actor, without a read.
func TestExpiredIsSwept(t *testing.T) {
	inBubble(t, asItIs, func(t *testing.T, node *actors.Node, _ *mem.Store) {
		if _, _, err := node.Objects().Put(t.Context(), bytes.NewReader([]byte("brief")), store.PutOptions{Size: 5, TTL: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		pass(9 * time.Second)
		if u := node.Objects().Usage(); u.Objects != 1 {
			t.Errorf("before its time: %+v", u)
		}
		pass(2 * time.Second)
		if u := node.Objects().Usage(); u.Objects != 0 || u.Bytes != 0 {
			t.Errorf("after its time: %+v", u)
		}
	})
}
