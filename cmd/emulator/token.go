package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

func tokenCommand(g *globals) *cobra.Command {
	var as, resource, format string
	cmd := &cobra.Command{
		Use: "token --as PRINCIPAL --resource URL", Short: "Print an access token of any principal", Args: cobra.NoArgs,
		Long: "Prints an access token of any principal for a resource, as that principal would get it by signing in.\nPRINCIPAL is a name, an object id, a client id, or the ARM id of what a managed identity belongs to.",
		Example: `  curl -H "Authorization: Bearer $(amlocal token --as alice --resource https://storage.azure.com)" \
       -H "x-ms-version: 2024-11-04" https://myaccount.blob.core.windows.net/box/hello.txt`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := textOrJSON(format); err != nil {
				return err
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			var token amlocal.TokenAnswer
			if err := c.post(cmd.Context(), "token", map[string]string{"as": as, "resource": resource}, &token); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), token)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token.AccessToken)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&as, "as", "", "whose token: a name, object id, client id or ARM id")
	flags.StringVar(&resource, "resource", "", "audience, such as https://storage.azure.com")
	flags.StringVarP(&format, "output", "o", "text", "text (the token alone) or json")
	for _, name := range []string{"as", "resource"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was registered above
		}
	}
	return cmd
}
