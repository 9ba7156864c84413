package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			v := version
			if v == "" {
				v = amlocal.Version()
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "amlocal %s (%s %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
