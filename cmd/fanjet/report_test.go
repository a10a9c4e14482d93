package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"fanjet/internal/broker"
)

// A right that NATS refuses is said once, however many questions it ended.
func TestRefusalIsSaidOnce(t *testing.T) {
	t.Parallel()
	refused := &broker.RefusedError{Subject: "fanjet.ctl.endpoints"}
	asking := func(stream string) error { return fmt.Errorf("asking for %s: %w", stream, refused) }
	for name, tt := range map[string]struct {
		err  error
		more string // what is said besides
	}{
		"one question":      {asking("A"), "asking for A"},
		"several questions": {errors.Join(asking("A"), asking("B"), asking("A")), ""},
		"another error":     {errors.New("no answer"), "no answer"},
		"canceled":          {context.Canceled, ""},
		"told already":      {errSilent, ""},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(refused)
		var said bytes.Buffer
		g := &globals{streams: streams{err: &said}}
		if code := g.report(ctx, tt.err); code != exitFailure {
			t.Errorf("%s: exit code %d", name, code)
		}
		if strings.Count(said.String(), refused.Error()) != 1 || !strings.Contains(said.String(), tt.more) || tt.more == "" && strings.Count(said.String(), "\n") != 1 {
			t.Errorf("%s: said %q", name, said.String())
		}
	}
}
