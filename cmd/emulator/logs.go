package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func logsCommand(g *globals) *cobra.Command {
	var follow bool
	var container string
	var lines int
	cmd := &cobra.Command{
		Use: "logs ENDPOINT/DEPLOYMENT", Short: "Show a deployment's log", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			endpoint, deployment, ok := strings.Cut(args[0], "/")
			if !ok || endpoint == "" || deployment == "" {
				return fmt.Errorf("%q: name the deployment as ENDPOINT/DEPLOYMENT", args[0])
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			query := url.Values{"container": {container}, "tail": {strconv.Itoa(lines)}, "follow": {strconv.FormatBool(follow)}}
			body, err := c.open(ctx, http.MethodGet, "logs/"+url.PathEscape(endpoint)+"/"+url.PathEscape(deployment), query)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(cmd.OutOrStdout(), body)
			if ctx.Err() != nil {
				return nil // interrupted by the user
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as lines are written")
	cmd.Flags().StringVar(&container, "container", "inference-server", "inference-server or storage-initializer")
	cmd.Flags().IntVarP(&lines, "lines", "l", 1000, "how many lines to begin with")
	return cmd
}
