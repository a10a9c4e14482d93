package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kind is what a node is in YAML.
type kind int

const (
	kindInvalid kind = iota // already reported; decoding passes over it
	kindNull
	kindScalar
	kindList
	kindMap
)

// String names the kind in messages.
func (k kind) String() string {
	switch k {
	case kindNull:
		return "nothing"
	case kindScalar:
		return "a single value"
	case kindList:
		return "a list"
	case kindMap:
		return "a map"
	default:
		return "invalid"
	}
}

// node is a value of a YAML file, with its place.
type node struct {
	kind         kind
	source       *source
	line, column int // from 1

	text   string // of a scalar, as it is written
	quoted bool   // a scalar that is text whatever it looks like

	items []*node // of a list
	pairs []pair  // of a map

	parent *node
	name   string // key in the parent map; of a list's item "[n]"
}

// pair is an entry of a map.
type pair struct{ key, value *node }

// path names the node in messages, such as endpoints.billing.retry.schedule[2].
func (n *node) path() string {
	var parts []string
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.name)
	}
	var b strings.Builder
	for _, part := range slices.Backward(parts) {
		if b.Len() > 0 && !strings.HasPrefix(part, "[") {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

// place is where the node is, for messages about another place.
func (n *node) place() string {
	return fmt.Sprintf("%s:%d:%d", n.source.name, n.line, n.column)
}

// get returns the value of a key that is set, nil if there is none.
func (n *node) get(key string) *node {
	for _, p := range n.pairs {
		if p.key.text == key && p.value.kind != kindNull {
			return p.value
		}
	}
	return nil
}

// maxQuoted bounds what a message repeats of a file, in bytes.
const maxQuoted = 60

// quote repeats text of a file in a message.
func quote(text string) string {
	if len(text) > maxQuoted {
		text = strings.ToValidUTF8(text[:maxQuoted], "") + "…"
	}
	return strconv.Quote(text)
}

// pathName is a key as a part of a path.
func pathName(key string) string {
	for _, r := range key {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' {
			return quote(key)
		}
	}
	if key == "" || len(key) > maxQuoted {
		return quote(key)
	}
	return key
}
