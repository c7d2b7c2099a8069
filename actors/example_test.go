package actors_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"micronode/actors"
	"micronode/config"
	"micronode/kernel"
	"micronode/store"
)

// greeter is a host's own actor: it answers with what it finds in the store.
type greeter struct{ objects func() *actors.Gate }

func (g *greeter) Start(context.Context, *kernel.Life) error { return nil }
func (g *greeter) Stop()                                     {}

func (g *greeter) Receive(ctx context.Context, msg any) error {
	call, ok := msg.(*kernel.Call[store.Address, string])
	if !ok {
		return nil
	}
	blob, err := g.objects().Open(ctx, call.Req)
	if err != nil {
		call.Fail(err)
		return nil
	}
	defer func() { _ = blob.Close() }()
	var name bytes.Buffer
	if _, err := blob.WriteRange(ctx, &name, 0, blob.Info().Size); err != nil {
		call.Fail(err)
		return nil
	}
	call.Reply("hello " + name.String())
	return nil
}

// A host program starts a node with a child of its own beside the node's,
// asks it, and stops everything.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := config.Default()
	c.Auth.Mode = "dev"
	c.HTTPAddr = "127.0.0.1:0"
	var node *actors.Node
	node, err := actors.Start(config.Loaded{Config: c}, actors.Options{
		Children: []kernel.Child{{
			Name:     "greeter",
			Required: true, // the node is not ready without it
			New: func() kernel.Actor {
				return &greeter{objects: func() *actors.Gate { return node.Objects() }}
			},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("stopped:", node.Stop(ctx, false)) }()
	if err := node.AwaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}

	info, _, err := node.Objects().Put(ctx, strings.NewReader("world"), store.PutOptions{Size: 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	words, err := kernel.Ask[store.Address, string](ctx, node.Tree().Ref("greeter"), info.Address)
	fmt.Println(words, err)

	// The door is open beside it.
	tcp := &http.Transport{}
	defer tcp.CloseIdleConnections()
	res, err := (&http.Client{Transport: tcp}).Get("http://" + node.Listeners()[0].Address + "/o/" + info.Address.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = res.Body.Close()
	fmt.Println(res.Status)
	// Output:
	// hello world <nil>
	// 200 OK
	// stopped: <nil>
}
