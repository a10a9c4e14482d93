package broker

import (
	"slices"
	"testing"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]string{
		"":                                   nil,
		"nats-1":                             {"nats-1:4222"},
		"nats://a:1, tls://u:p@[fd00::1]:2":  {"a:1", "[fd00::1]:2"},
		"127.0.0.1:4333,nats://[::1]":        {"127.0.0.1:4333", "[::1]:4222"},
		"ws://a:80,wss://b,nats://c,nats://": {"c:4222"},
	} {
		if got := Addresses(list); !slices.Equal(got, want) {
			t.Errorf("Addresses(%q) = %q, want %q", list, got, want)
		}
	}
}
