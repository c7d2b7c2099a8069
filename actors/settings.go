package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"micronode/config"
	"micronode/kernel"
)

// settings is the config actor: it vouches for the configuration in force. It
// starts only with one that can be printed, so /api/v1/config always answers.
type settings struct{ n *Node }

// Start renders the configuration for the operator, secrets redacted.
func (s *settings) Start(context.Context, *kernel.Life) error {
	s.n.reloading.Lock()
	defer s.n.reloading.Unlock()
	shown, err := render(s.n.config().Loaded)
	if err == nil {
		s.n.shown.Store(&shown)
	}
	return err
}

// render is a configuration as the operator sees it.
func render(l config.Loaded) (json.RawMessage, error) {
	var b bytes.Buffer
	if err := config.Print(&b, l, config.PrintOptions{JSON: true, Origin: len(l.Origins) > 0}); err != nil {
		return nil, fmt.Errorf("render the configuration: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// Receive has nothing to do.
func (s *settings) Receive(context.Context, any) error { return nil }

// Stop leaves the rendered configuration for readers.
func (s *settings) Stop() {}
