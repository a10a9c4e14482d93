package main

import (
	"fmt"

	"github.com/nats-io/nkeys"
	"github.com/spf13/cobra"
)

// newNkey is what `secret nkey` prints.
type newNkey struct {
	Seed   string `json:"seed"`
	Public string `json:"public"`
}

func newSecretNkeyCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nkey",
		Short: "Print a new nkey for a user of NATS",
		Long: `Print a new pair of keys for a user of NATS: the seed, which stays secret, and
the public key. The server's configuration gets the public key: that of a NATS
server, or nats.embedded.users of a gateway. The user keeps the seed in a file,
which nats.credentials or nats --nkey names.`,
		Example: `  fanjet secret nkey
  fanjet secret nkey -o json`,
	}
	out := addOutputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return err
		}
		seed, err := pair.Seed()
		if err != nil {
			return err
		}
		public, err := pair.PublicKey()
		if err != nil {
			return err
		}
		if out.json() {
			return writeJSON(g.out, newNkey{Seed: string(seed), Public: public})
		}
		fmt.Fprintf(g.out, "%s\n%s\n", seed, public)
		fmt.Fprintln(g.err, "The first line is the user's and stays secret; the server's configuration gets the second.")
		return nil
	}
	return cmd
}
