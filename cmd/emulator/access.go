package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

func accessCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "access", Short: "Compare what identities did with what they may"}
	cmd.AddCommand(accessReportCommand(g))
	return cmd
}

func accessReportCommand(g *globals) *cobra.Command {
	var identity, format string
	var custom bool
	cmd := &cobra.Command{
		Use: "report", Short: "The least roles that suffice for what each identity did, and what it never used", Args: cobra.NoArgs,
		Long: "Prints, for each identity, what it was observed to do, the smallest set of built-in roles that\nallows it at the narrowest scopes, and the assignments it holds and never used. Observations are\nkept in the state folder. The seeded owner is left out; name it with --identity.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "json" && format != "text" && format != "az" {
				return fmt.Errorf("-o %q: the formats are text, json and az", format)
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			var query url.Values
			if identity != "" {
				query = url.Values{"identity": {identity}}
			}
			var list struct {
				Value []amlocal.IdentityAccess `json:"value"`
			}
			if err := c.get(cmd.Context(), "access", query, &list); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), list.Value)
			}
			var b strings.Builder
			amlocal.WriteAccess(&b, format, custom, list.Value)
			_, err = io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&identity, "identity", "", "one identity: a name, object id, client id or ARM id")
	flags.StringVarP(&format, "output", "o", "text", "text, json, or az: the commands that make it so")
	flags.BoolVar(&custom, "custom", false, "with -o az: one custom role in place of built-in ones")
	return cmd
}
