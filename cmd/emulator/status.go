package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

func statusCommand(g *globals) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "status", Short: "Show what runs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return fmt.Errorf("-o %q: the formats are text and json", format)
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			var s amlocal.Status
			if err := c.get(context.Background(), "status", nil, &s); err != nil {
				return err
			}
			if format == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(s)
			}
			return printStatus(cmd.OutOrStdout(), s)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func printStatus(out io.Writer, s amlocal.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "process\t%d\nport\t%d\nup\t%s\nrunner\t%s (%s)\nstate\t%s\n", s.PID, s.Port, s.Uptime, s.Runner, s.Isolation, s.StateDir)
	if len(s.Deployments) == 0 {
		_, _ = fmt.Fprintln(w, "deployments\tnone")
	}
	for _, d := range s.Deployments {
		ready := 0
		for _, i := range d.Instances {
			if i.Ready {
				ready++
			}
		}
		_, _ = fmt.Fprintf(w, "%s\t%s, %d of %d instance(s) ready\n", d.Name, d.State, ready, len(d.Instances))
	}
	return w.Flush()
}
