package main

import (
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

// identityFlags make a shell one on a machine with managed identities.
type identityFlags struct {
	identities []string
	dialect    string
}

func (f *identityFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.identities, "identity", nil, "managed identities the shell has, in place of the owner's sign-in: names or ids")
	cmd.Flags().StringVar(&f.dialect, "identity-source", amlocal.DialectVM,
		"how programs find them: vm (169.254.169.254), compute (MSI_ENDPOINT, as on a compute instance) or app (IDENTITY_ENDPOINT)")
}

// env are the variables to set, the one that undoes them among them, and those
// to take away. ask gets the identities.
func (f *identityFlags) env(a amlocal.Access, ask func([]string) (amlocal.ShellIdentity, error)) (vars []amlocal.Var, without []string, err error) {
	vars = a.Env(os.LookupEnv)
	if len(f.identities) > 0 {
		var made amlocal.ShellIdentity
		if made, err = ask(f.identities); err != nil {
			return nil, nil, err
		}
		if vars, without, err = a.EnvAs(made, f.dialect, os.LookupEnv); err != nil {
			return nil, nil, err
		}
	}
	saved := amlocal.Save(vars, os.LookupEnv, without...)
	// What an earlier `env` set and this one does not is as it was before.
	before, _, err := amlocal.Saved(os.LookupEnv)
	if err != nil {
		return nil, nil, err
	}
	for name, old := range before {
		known := slices.Contains(without, name) || slices.ContainsFunc(vars, func(v amlocal.Var) bool { return v.Name == name })
		switch {
		case known:
		case old == nil:
			without = append(without, name)
		default:
			vars = append(vars, amlocal.Var{Name: name, Value: *old})
		}
	}
	return append(vars, saved), without, nil
}
