package config

import (
	"strings"

	"fanjet/internal/secret"
	"fanjet/subscriber/endpoint"
)

// webhookSecret is what the requests to an endpoint are signed with.
func webhookSecret() secretKind {
	return secretKind{
		example: "BILLING_SECRET",
		literal: isWebhookSecret,
		want:    "env:NAME, file:PATH, or a secret that begins with whsec_ or whsk_",
		check:   endpoint.CheckSecret,
	}
}

func isWebhookSecret(text string) bool {
	return strings.HasPrefix(text, "whsec_") || strings.HasPrefix(text, "whsk_")
}

// secrets reads the list of an endpoint's secrets.
func (l *loader) secrets(n *node) []secret.Value {
	switch count := len(n.items); {
	case n.kind == kindList && count == 0:
		l.errorf(n, "is empty: an endpoint needs at least one secret; `fanjet secret new` makes one")
	case count > endpoint.MaxSecrets:
		l.errorf(n, "has %d secrets; at most %d are allowed", count, endpoint.MaxSecrets)
		return nil
	}
	var values []secret.Value
	l.texts(n, func(item *node, text string) {
		if value, ok := l.reference(item, text, webhookSecret()); ok {
			values = append(values, value)
		}
	})
	return values
}
