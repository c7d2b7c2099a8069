package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

// Completion asks the live node, briefly and for little.
const (
	completeTimeout   = time.Second
	completeAddresses = 50
)

type completions = []cobra.Completion

// completeActors offers the actors' names with their states.
func (a *app) completeActors(cmd *cobra.Command, args []string, _ string) (completions, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers completions
	a.completeWith(cmd, func(ctx context.Context, client *httpapi.Client) {
		s, err := client.Status(ctx)
		if err != nil {
			return // nothing to offer
		}
		for _, service := range s.Services {
			offers = append(offers, cobra.CompletionWithDesc(service.Name, service.State))
		}
	})
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeAddress offers the first addresses that begin as typed.
func (a *app) completeAddress(cmd *cobra.Command, args []string, typed string) (completions, cobra.ShellCompDirective) {
	var offers completions
	a.completeWith(cmd, func(ctx context.Context, client *httpapi.Client) {
		for o, err := range client.List(ctx) {
			if err != nil || len(offers) == completeAddresses {
				return
			}
			if strings.HasPrefix(o.Address, typed) {
				offers = append(offers, cobra.CompletionWithDesc(o.Address, bytesOf(o.Size)))
			}
		}
	})
	return offers, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeWith(cmd *cobra.Command, ask func(context.Context, *httpapi.Client)) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	client, err := a.connect(ctx, httpapi.Retry{})
	if err != nil {
		return // nothing to offer
	}
	defer client.Close()
	ask(ctx, client)
}
