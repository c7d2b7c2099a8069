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
	var b bytes.Buffer
	if err := config.Print(&b, s.n.loaded, config.PrintOptions{JSON: true, Origin: len(s.n.loaded.Origins) > 0}); err != nil {
		return fmt.Errorf("render the configuration: %w", err)
	}
	shown := json.RawMessage(bytes.TrimSpace(b.Bytes()))
	s.n.shown.Store(&shown)
	return nil
}

// Receive has nothing to do.
func (s *settings) Receive(context.Context, any) error { return nil }

// Stop leaves the rendered configuration for readers.
func (s *settings) Stop() {}
