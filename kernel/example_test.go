package kernel_test

import (
	"context"
	"fmt"
	"time"

	"micronode/kernel"
)

// counter is an actor with a total that outlives it: the host owns the total
// and lends it to each incarnation.
type counter struct{ total *int }

type add = kernel.Call[int, int]

func (c *counter) Start(context.Context, *kernel.Life) error { return nil }
func (c *counter) Stop()                                     {}

func (c *counter) Receive(_ context.Context, msg any) error {
	switch m := msg.(type) {
	case *add:
		if m.Req < 0 {
			panic("counts only up")
		}
		*c.total += m.Req
		m.Reply(*c.total)
	}
	return nil
}

// A host program supervises a child of its own: a crash answers the caller,
// and the next incarnation goes on with the same data.
func Example() {
	total := 0
	tree, err := kernel.New(kernel.Options{Children: []kernel.Child{{
		Name:     "counter",
		New:      func() kernel.Actor { return &counter{&total} },
		Required: true,
	}}})
	if err == nil {
		err = tree.Start()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer func() { _ = tree.Stop(ctx) }()

	ready := func() {
		up := tree.Bus().Subscribe(kernel.Query{Kind: kernel.KindReadyChanged, Since: time.Unix(0, 0)})
		defer up.Close()
		for r := tree.Ledger().Readiness(); !r.Ready || r.Degraded; r = tree.Ledger().Readiness() {
			if _, _, err := up.Next(ctx); err != nil {
				return
			}
		}
	}
	ready()
	n, err := kernel.Ask[int, int](ctx, tree.Ref("counter"), 2)
	fmt.Println(n, err)
	_, err = kernel.Ask[int, int](ctx, tree.Ref("counter"), -1)
	fmt.Println(err)
	ready()
	n, err = kernel.Ask[int, int](ctx, tree.Ref("counter"), 3)
	fmt.Println(n, err)
	// Output:
	// 2 <nil>
	// kernel: actor crashed on this message
	// 5 <nil>
}
