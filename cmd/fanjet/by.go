package main

import (
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"fanjet/internal/audit"
)

// addBy adds the flag that says who acts; by default the user of this machine.
// What comes of it can be used when the command runs.
func addBy(cmd *cobra.Command) *audit.Actor {
	by := &audit.Actor{Via: audit.ViaCLI}
	cmd.Flags().StringVar(&by.Name, "by", "", "`NAME` to record as who did it; your user name unless set")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		by.User = userName()
		by.Host, _ = os.Hostname() // only for people
		if by.Name == "" {
			by.Name = by.User
		}
		if by.Name == "" {
			return usagef("--by: this machine does not know who you are; say it")
		}
		return nil
	}
	return by
}

// userName is the name of the user on this machine, or its number; empty if it has
// neither.
func userName() string {
	if who, err := user.Current(); err == nil && who.Username != "" {
		return who.Username
	}
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	if id := os.Getuid(); id >= 0 { // a user without a name, as in the image
		return fmt.Sprintf("uid %d", id)
	}
	return ""
}

// unrecorded says that an act could not be recorded, if there is a reason why.
func (g *globals) unrecorded(reason string) error {
	if reason == "" {
		return nil
	}
	fmt.Fprintf(g.err, "fanjet: %s\n", printable(reason))
	return errSilent
}
