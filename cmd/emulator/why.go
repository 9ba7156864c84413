package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/audit"
)

func whyCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "why [last|REQUEST-ID]", Short: "Explain a refusal: who, what, where, and which role would have allowed it",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.connect()
			if err != nil {
				return err
			}
			entry, err := findEntry(c, args)
			if err != nil {
				return err
			}
			amlocal.Explain(cmd.OutOrStdout(), entry)
			return nil
		},
	}
}

func findEntry(c *client, args []string) (entry audit.Entry, err error) {
	if len(args) == 1 && args[0] != "last" {
		err = c.get(context.Background(), "requests/"+url.PathEscape(args[0]), nil, &entry)
		return entry, err
	}
	var list struct{ Value []audit.Entry }
	if err := c.get(context.Background(), "decisions", url.Values{"last": {"1"}}, &list); err != nil {
		return entry, fmt.Errorf("ask for the last refusal: %w", err)
	}
	if len(list.Value) == 0 {
		return entry, errors.New("nothing was refused for want of a role since the emulator started")
	}
	return list.Value[0], nil
}
