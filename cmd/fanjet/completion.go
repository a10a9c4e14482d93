package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// completeWords lets the Tab key offer words for the value of a flag.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	// It fails only when there is no such flag, or when it has words already.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func newCompletionCommand(g *globals) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes fanjet's commands in a shell",
		Long: `Print a script for a shell. Once the shell has read it, the Tab key completes
fanjet's commands and flags.`,
		Example: `  source <(fanjet completion bash)
  fanjet completion zsh > "${fpath[1]}/_fanjet"
  fanjet completion fish | source`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return fmt.Errorf("takes one shell: %s", strings.Join(shells, ", "))
			}
			return nil
		},
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(g.out, true)
			case "zsh":
				return root.GenZshCompletion(g.out)
			case "fish":
				return root.GenFishCompletion(g.out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(g.out)
			}
		},
	}
}
