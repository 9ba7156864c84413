package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func deviceCommand(g *globals) *cobra.Command {
	var as string
	var decline bool
	cmd := &cobra.Command{
		Use: "device CODE --as USER", Short: "Finish a sign-in that waits for a device code", Args: cobra.ExactArgs(1),
		Long: "Finishes a sign-in by device code, such as that of `az login --use-device-code`, as a user of the\ndirectory and without a password. The page that the client names does the same with the user's\npassword.",
		Example: `  amlocal device ABCDEF234 --as alice
  amlocal device ABCDEF234 --decline`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (as == "") != decline {
				return errors.New("say who signs in with --as USER, or refuse with --decline")
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			return c.post(cmd.Context(), "device/finish", map[string]any{"code": args[0], "as": as, "decline": decline}, nil)
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "the user who signs in: a name or an object id")
	cmd.Flags().BoolVar(&decline, "decline", false, "refuse the sign-in")
	return cmd
}

func issuersCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "issuers", Short: "The outside issuers whose tokens federated credentials accept"}
	cmd.AddCommand(&cobra.Command{
		Use: "add ISSUER KEYS-FILE", Short: "Make an issuer's public keys known, as the JSON key set it publishes", Args: cobra.ExactArgs(2),
		Long:    "Makes the public keys of an outside issuer known. The emulator fetches nothing: download the key\nset that the issuer publishes (jwks_uri of its OpenID document) and name the file.",
		Example: "  amlocal issuers add https://token.actions.githubusercontent.com jwks.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(args[1])
			if err != nil {
				return err
			}
			if !json.Valid(raw) {
				return fmt.Errorf("%s is not JSON", args[1])
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			return c.post(cmd.Context(), "issuers", map[string]any{"issuer": args[0], "keys": json.RawMessage(raw)}, nil)
		},
	})
	return cmd
}
