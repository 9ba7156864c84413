package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

func principalsCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "principals", Short: "Show and change who there is: users, groups, service principals, identities"}
	cmd.AddCommand(principalsListCommand(g), principalsAddCommand(g), principalsRemoveCommand(g), principalsSecretCommand(g))
	return cmd
}

func principalsListCommand(g *globals) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "list", Short: "List the directory", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := textOrJSON(format); err != nil {
				return err
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			var list struct {
				Value []amlocal.PrincipalInfo `json:"value"`
			}
			if err := c.get(cmd.Context(), "principals", nil, &list); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), list.Value)
			}
			return printPrincipals(cmd.OutOrStdout(), list.Value)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func printPrincipals(out io.Writer, list []amlocal.PrincipalInfo) error {
	names := make(map[string]string, len(list))
	for _, p := range list {
		names[strings.ToLower(p.ObjectID)] = p.Name
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "KIND\tNAME\tOBJECT ID\tCLIENT ID\tMEMBERS")
	for _, p := range list {
		members := make([]string, len(p.Members))
		for i, m := range p.Members {
			if members[i] = names[m]; members[i] == "" {
				members[i] = m
			}
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Kind, p.Name, p.ObjectID, p.ClientID, strings.Join(members, ", "))
	}
	return w.Flush()
}

func principalsAddCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "add", Short: "Add a user, a group, a service principal, or a member to a group",
		Example: `  amlocal principals add user alice
  amlocal principals add sp ci -o json          # client id and secret, shown this once
  amlocal principals add group readers
  amlocal principals add member readers alice`,
	}
	for _, kind := range []struct{ use, short string }{
		{"user", "Add a user; NAME becomes NAME@<tenant domain> unless it has an @; prints, this once, the password"},
		{"group", "Add a group"},
		{"sp", "Add a service principal; prints its client id and, this once, its secret"},
	} {
		cmd.AddCommand(addPrincipalCommand(g, kind.use, kind.short))
	}
	cmd.AddCommand(memberCommand(g, "Put a principal, which may be a group, into a group", "members"))
	return cmd
}

func addPrincipalCommand(g *globals, kind, short string) *cobra.Command {
	n := amlocal.NewPrincipal{Type: kind}
	var format, passwordFile string
	cmd := &cobra.Command{
		Use: kind + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := textOrJSON(format); err != nil {
				return err
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			n.Name = args[0]
			if n.Password, err = readPassword(cmd.InOrStdin(), passwordFile); err != nil {
				return err
			}
			var made amlocal.PrincipalInfo
			if err := c.post(cmd.Context(), "principals", n, &made); err != nil {
				return err
			}
			return printPrincipal(cmd.OutOrStdout(), format, made)
		},
	}
	cmd.Flags().StringVar(&n.ObjectID, "object-id", "", "object id (default: random)")
	switch kind {
	case "user":
		cmd.Flags().StringVar(&passwordFile, "password-file", "", passwordUsage)
	case "sp":
		cmd.Flags().StringVar(&n.ClientID, "client-id", "", "client id (default: random)")
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func printPrincipal(out io.Writer, format string, p amlocal.PrincipalInfo) error {
	if format == "json" {
		return printJSON(out, p)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{p.Kind, p.Name}, {"object id", p.ObjectID}, {"client id", p.ClientID}, {"tenant id", p.TenantID}, {"secret", p.Secret}, {"password", p.Password},
	} {
		if row[1] != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
	}
	for what, text := range map[string]string{"secret": p.Secret, "password": p.Password} {
		if text != "" {
			_, _ = fmt.Fprintf(w, "The %s is not kept: this is the only time it is shown.\n", what)
		}
	}
	return w.Flush()
}

func memberCommand(g *globals, short, path string) *cobra.Command {
	return &cobra.Command{
		Use: "member GROUP PRINCIPAL", Short: short, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.connect()
			if err != nil {
				return err
			}
			return c.post(cmd.Context(), path, map[string]string{"group": args[0], "member": args[1]}, nil)
		},
	}
}

func principalsRemoveCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove PRINCIPAL", Short: "Remove a user, group or service principal; its role assignments stay, as in Azure", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.connect()
			if err != nil {
				return err
			}
			return c.post(cmd.Context(), "principals/remove", map[string]string{"principal": args[0]}, nil)
		},
	}
	cmd.AddCommand(memberCommand(g, "Take a principal out of a group", "members/remove"))
	return cmd
}

func principalsSecretCommand(g *globals) *cobra.Command {
	var format, passwordFile string
	cmd := &cobra.Command{
		Use: "secret PRINCIPAL", Short: "Give a service principal one more client secret, or a user a new password, and print it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := textOrJSON(format); err != nil {
				return err
			}
			c, err := g.connect()
			if err != nil {
				return err
			}
			password, err := readPassword(cmd.InOrStdin(), passwordFile)
			if err != nil {
				return err
			}
			var made amlocal.PrincipalInfo
			if err := c.post(cmd.Context(), "principals/secret", map[string]string{"principal": args[0], "password": password}, &made); err != nil {
				return err
			}
			return printPrincipal(cmd.OutOrStdout(), format, made)
		},
	}
	cmd.Flags().StringVar(&passwordFile, "password-file", "", passwordUsage)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

const passwordUsage = "a file whose first line is the user's password, - for standard input (default: random)"

// readPassword reads the first line of a file; no file is no password.
func readPassword(stdin io.Reader, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("--password-file %s: the first line is empty", path)
	}
	return line, nil
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
