package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version=…); empty in other builds.
var version string

// build says what the program was made from.
type build struct {
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"`
	Modified   bool   `json:"modified,omitempty"` // the commit is not all of it
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	NATSServer string `json:"nats_server"` // version of the embedded server
}

// currentBuild describes this program. Without the linker's help the version is
// that of the module, or "dev".
func currentBuild() build {
	b := build{
		Version:    version,
		Go:         runtime.Version(),
		Platform:   runtime.GOOS + "/" + runtime.GOARCH,
		NATSServer: server.VERSION,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				b.Commit = setting.Value
			case "vcs.modified":
				b.Modified = setting.Value == "true"
			}
		}
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

func newVersionCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this program and of its NATS server",
		Example: "  fanjet version\n  fanjet version -o json",
	}
	out := addOutputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := currentBuild()
		if out.json() {
			return writeJSON(g.out, b)
		}
		fmt.Fprintf(g.out, "fanjet %s (%s, %s, embedded NATS server %s)\n", b.Version, b.Go, b.Platform, b.NATSServer)
		return nil
	}
	return cmd
}
