package main

import (
	"github.com/spf13/cobra"
)

func cloudCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "cloud", Short: "Print the custom cloud for `az cloud register --cloud-config`", Args: cobra.NoArgs,
		Long: "Prints the description of a custom cloud whose control plane and sign-in are at the emulator's\nown address, without a proxy. The data planes (blobs, vaults, scoring) and Microsoft Graph keep\ntheir public names, which only the proxy of `amlocal env` leads to the emulator: prefer that.",
		Example: `  az cloud register -n amlocal --cloud-config "$(amlocal cloud)"
  az cloud set -n amlocal
  az config set core.instance_discovery=false     # msal forgets the port otherwise`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.connect()
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), c.access.CloudConfig())
		},
	}
}
