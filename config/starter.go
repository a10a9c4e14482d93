package config

import (
	"bytes"
	_ "embed" // for the starter file
)

//go:embed starter.yaml
var starter []byte

// StarterFile is a first configuration, with comments: the events on events.>
// go to the development receiver on port 9000 of this machine, signed with
// secret, which must be one that [fanjet/webhook.NewSecret] makes.
func StarterFile(secret string) []byte {
	return bytes.ReplaceAll(starter, []byte("@SECRET@"), []byte(secret))
}
