package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

func adminTokenCommand(g *globals) *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "admin-token", Short: "Print the token that opens this emulator to commands elsewhere", Args: cobra.NoArgs,
		Long: "Prints the admin token of the emulator on a state folder. Commands that cannot read the folder,\nbecause the emulator runs in a container, need it. Whoever has it is the owner: do not log it.",
		Example: "  export " + amlocal.AdminTokenVar + "=\"$(docker-compose exec -T emulator amlocal admin-token)\"\n" +
			"  export " + amlocal.URLVar + "=http://127.0.0.1:4390",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.here("admin-token"); err != nil {
				return err
			}
			c, err := connect(g.state)
			for until := time.Now().Add(wait); errors.Is(err, amlocal.ErrNotRunning) && time.Now().Before(until); {
				time.Sleep(50 * time.Millisecond)
				c, err = connect(g.state)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), c.access.AdminToken)
			return err
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "how long to wait for an emulator that is coming up")
	return cmd
}
