package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

func clockCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "clock", Short: "Show the emulator's clock, hold it still, or move it",
		Long: "Token and signature expiry, operation times and delayed roles go by the emulator's own clock.\n" +
			"Certificates and the freshness of requests signed with an account key go by the machine's.\n" +
			"How the clock is set outlives the emulator, unless it keeps no state.",
	}
	for _, c := range []struct {
		use, short string
		args       int
	}{
		{"show", "Show it", 0},
		{"freeze", "Hold it still", 0},
		{"run", "Let it go on from where it is", 0},
		{"advance DURATION", "Move it: 90s, 5m, 36h, 7d; back with -- -1h", 1},
		{"set TIME", "Set it: 2026-03-01T12:00:00Z or 2026-03-01", 1},
		{"reset", "Make it agree with the machine's again", 0},
	} {
		cmd.AddCommand(clockVerb(g, c.use, c.short, c.args))
	}
	return cmd
}

func clockVerb(g *globals, use, short string, args int) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := textOrJSON(format); err != nil {
				return err
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			var s amlocal.ClockStatus
			if cmd.Name() == "show" {
				err = c.get(cmd.Context(), "clock", nil, &s)
			} else {
				err = c.post(cmd.Context(), "clock", map[string]string{"do": cmd.Name(), "value": append(given, "")[0]}, &s)
			}
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), s)
			}
			return printClock(cmd.OutOrStdout(), s)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func printClock(out io.Writer, s amlocal.ClockStatus) error {
	how := "running"
	if s.Frozen {
		how = "frozen"
	}
	_, err := fmt.Fprintf(out, "%s, %s, %s ahead of the machine's\n", s.Now.Format(time.RFC3339), how, s.Ahead)
	return err
}
