package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fanjet/webhook"
)

func newSecretCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "secret",
		Short:   "Make secrets that sign webhooks, and keys for NATS",
		Example: "  fanjet secret new\n  fanjet secret nkey",
	}
	cmd.AddCommand(newSecretNewCommand(g), newSecretNkeyCommand(g))
	return cmd
}

// newSecret is what `secret new` prints.
type newSecret struct {
	Secret string `json:"secret"`
	Public string `json:"public,omitempty"` // of a key pair: what its receivers get
}

func newSecretNewCommand(g *globals) *cobra.Command {
	var keyPair bool
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Print a new random secret",
		Long: `Print a new random secret, to be put where endpoints.NAME.secrets refers to
(env:NAME or file:PATH). The receiver verifies with the same secret.

With --key-pair it is an Ed25519 key pair: the receiver gets the public key and
can verify, but not sign.`,
		Example: `  fanjet secret new > billing.secret
  fanjet secret new --key-pair`,
	}
	cmd.Flags().BoolVar(&keyPair, "key-pair", false, "a private key for us and a public key for the receiver, instead of a shared secret")
	out := addOutputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		s := newSecret{Secret: webhook.NewSecret()}
		if keyPair {
			s.Secret, s.Public = webhook.NewKeyPair()
		}
		switch {
		case out.json():
			return writeJSON(g.out, s)
		case keyPair:
			fmt.Fprintf(g.out, "%s\n%s\n", s.Secret, s.Public)
			fmt.Fprintln(g.err, "The first line is ours and stays secret; the receiver verifies with the second.")
		default:
			fmt.Fprintln(g.out, s.Secret)
		}
		return nil
	}
	return cmd
}
