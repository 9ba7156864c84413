// Package amlocal is a private Azure for Azure Machine Learning online
// endpoints and managed identities, on one machine. This package is the only
// place that wires the services together; cmd/emulator is a thin command line
// around it, and Go tests may embed it:
//
//	emu, err := amlocal.New(ctx, amlocal.Config{Ephemeral: true})
//	err = emu.Start(ctx)
//	defer emu.Close(ctx)
//	env := emu.Access().Env(os.LookupEnv) // HTTPS_PROXY, CA bundle, a signed-in owner
package amlocal
