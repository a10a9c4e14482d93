package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"fanjet/config"
	"fanjet/webhook"
)

func newInitCommand(g *globals) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration file",
		Long: `Write a first configuration file, to the path in --config. It subscribes the
development receiver (fanjet listen) on this machine to every event, with a new
secret.`,
		Example: `  fanjet init
  fanjet init --config /etc/fanjet/fanjet.yaml`,
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite a file that exists")
	cmd.RunE = func(*cobra.Command, []string) error {
		secret := webhook.NewSecret()
		if err := writeStarter(g.config, config.StarterFile(secret), force); err != nil {
			return err
		}
		flag := ""
		if g.config != defaultConfig {
			flag = " --config " + g.config
		}
		fmt.Fprintf(g.out, `Wrote %[1]s. See it work, in three terminals:

  fanjet listen --secret %[2]s
  fanjet serve%[3]s
  fanjet publish%[3]s events.hello --data '{"hello": "world"}'
`, g.config, secret, flag)
		return nil
	}
	return cmd
}

// writeStarter writes a file that only its owner can read, for it holds a
// secret.
func writeStarter(path string, text []byte, force bool) error {
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, mode, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: edit it, name another file with --config, or overwrite it with --force", path)
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}
