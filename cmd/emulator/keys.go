package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

type keyList struct {
	Value []amlocal.SigningKey `json:"value"`
}

func keysCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Show and rotate the keys that sign tokens"}
	var format string
	list := &cobra.Command{
		Use: "list", Short: "List the published signing keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := textOrJSON(format); err != nil {
				return err
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			var keys keyList
			if err := c.get(cmd.Context(), "keys", nil, &keys); err != nil {
				return err
			}
			return printKeys(cmd.OutOrStdout(), format, keys.Value)
		},
	}
	list.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	var revoke bool
	rotate := &cobra.Command{
		Use: "rotate", Short: "Make the next key sign tokens", Args: cobra.NoArgs,
		Long: "Makes the next key, which verifiers know already, sign tokens, and publishes another next one.\nThe old key is published until the last token that it signed has expired: a verifier that follows\nthe published keys notices nothing. With --revoke it goes at once, and its tokens with it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := textOrJSON(format); err != nil {
				return err
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			var keys keyList
			if err := c.post(cmd.Context(), "keys/rotate", map[string]bool{"revoke": revoke}, &keys); err != nil {
				return err
			}
			return printKeys(cmd.OutOrStdout(), format, keys.Value)
		},
	}
	rotate.Flags().BoolVar(&revoke, "revoke", false, "refuse the old keys' tokens from now on")
	rotate.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	cmd.AddCommand(list, rotate)
	return cmd
}

func printKeys(out io.Writer, format string, keys []amlocal.SigningKey) error {
	if format == "json" {
		return printJSON(out, keys)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, k := range keys {
		until := ""
		if !k.Until.IsZero() {
			until = "until " + k.Until.UTC().Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", k.ID, k.Use, until)
	}
	return w.Flush()
}
