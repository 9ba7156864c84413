package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

// change is one variable of `env`'s output; nil unsets it.
type change struct {
	name  string
	value *string
}

func envCommand(g *globals) *cobra.Command {
	var format string
	var unset bool
	var identity identityFlags
	cmd := &cobra.Command{
		Use: "env", Short: "Print the variables that lead a shell to the emulator", Args: cobra.NoArgs,
		Long: "Prints the variables that lead a shell to the emulator and sign it in as the seeded owner.\nThey include the owner's secret: evaluate them, do not log them.",
		Example: `  eval "$(amlocal env)"                 # bash, zsh
  amlocal env --format fish | source
  amlocal env --format powershell | Out-String | Invoke-Expression
  eval "$(amlocal env --url http://127.0.0.1:4390)"   # one in a container; see docs/containers.md
  eval "$(amlocal env --identity my-uai)"             # a machine with that identity: az login --identity
  eval "$(amlocal env --unset)"         # back to what was there before`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			render, ok := formats[format]
			if !ok {
				return fmt.Errorf("--format %q: the formats are bash, fish, powershell, dotenv and json", format)
			}
			changes, err := envChanges(cmd.Context(), g, unset, identity)
			if err != nil {
				return err
			}
			text, err := render(changes)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&format, "format", "bash", "bash, fish, powershell, dotenv or json")
	identity.register(cmd)
	cmd.Flags().BoolVar(&unset, "unset", false, "restore what was there before")
	return cmd
}

func envChanges(ctx context.Context, g *globals, unset bool, identity identityFlags) ([]change, error) {
	if unset {
		return unsetChanges()
	}
	c, err := g.connect()
	if err != nil {
		return nil, err
	}
	vars, without, err := identity.env(c.access, func(who []string) (made amlocal.ShellIdentity, err error) {
		return made, c.post(ctx, "shell", map[string]any{"identities": who}, &made)
	})
	if err != nil {
		return nil, err
	}
	var out []change
	for _, v := range vars {
		out = append(out, change{v.Name, &v.Value})
	}
	for _, name := range without {
		if _, set := os.LookupEnv(name); set {
			out = append(out, change{name, nil})
		}
	}
	return out, nil
}

func unsetChanges() ([]change, error) {
	before, ok, err := amlocal.Saved(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("this shell was not set up by `amlocal env`: there is nothing to restore")
	}
	out := []change{{amlocal.SavedVar, nil}}
	for name, old := range before {
		out = append(out, change{name, old})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out, nil
}

// formats render changes for a shell or a file.
var formats = map[string]func([]change) (string, error){
	"bash":       lines(func(n, v string) string { return "export " + n + "=" + shellQuote(v) }, func(n string) string { return "unset " + n }),
	"fish":       lines(func(n, v string) string { return "set -gx " + n + " " + fishQuote(v) }, func(n string) string { return "set -e " + n }),
	"powershell": lines(func(n, v string) string { return "$env:" + n + " = " + powershellQuote(v) }, func(n string) string { return "Remove-Item Env:" + n + " -ErrorAction SilentlyContinue" }),
	"dotenv":     lines(func(n, v string) string { return n + "=" + dotenvQuote(v) }, func(n string) string { return "# " + n + " was not set" }),
	"json":       jsonFormat,
}

func lines(set func(name, value string) string, unset func(name string) string) func([]change) (string, error) {
	return func(changes []change) (string, error) {
		var b strings.Builder
		for _, c := range changes {
			if c.value == nil {
				b.WriteString(unset(c.name))
			} else {
				b.WriteString(set(c.name, *c.value))
			}
			b.WriteByte('\n')
		}
		return b.String(), nil
	}
}

func jsonFormat(changes []change) (string, error) {
	m := make(map[string]*string, len(changes))
	for _, c := range changes {
		m[c.name] = c.value
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	return string(raw) + "\n", err
}

// shellQuote quotes for POSIX shells: nothing is special between single quotes
// but the single quote.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fishQuote: between fish's single quotes, backslash and quote are special.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// powershellQuote doubles the quote.
func powershellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// dotenvQuote uses single quotes, between which every dotenv reader takes all
// as it stands, and double quotes where it must.
func dotenvQuote(s string) string {
	if !strings.ContainsAny(s, "'\n\r") {
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(s) + `"`
}
