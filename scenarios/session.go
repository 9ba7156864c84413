package scenarios

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/audit"
)

// session is an emulator that runs, the clients that talk to it, and the
// content's files.
type session struct {
	emulator *amlocal.Emulator // nil for a remote one
	remote   *remote           // nil for our own
	cloud    *cloud
	files    string // the content's folder
	dir      string // removed at the end
	out      *report
}

// begin starts an emulator on the named world, with the runner that was chosen:
// what is announced is what runs.
func begin(ctx context.Context, world string, options Options, out *report) (_ *session, err error) {
	s := &session{out: out}
	defer func() {
		if err != nil {
			err = joinClose(err, s)
		}
	}()
	if s.dir, err = os.MkdirTemp("", "amlocal-scenario-"); err != nil {
		return nil, err
	}
	worldFile, files, err := extract(s.dir, world, options.GoScorer)
	if err != nil {
		return nil, err
	}
	s.files = files
	if options.Remote != nil {
		if s.remote, err = reach(ctx, *options.Remote); err != nil {
			return nil, err
		}
		s.cloud, err = connect(*options.Remote)
		return s, err
	}
	if s.emulator, err = amlocal.New(ctx, amlocal.Config{
		Ephemeral: true, Runner: options.Runner, AgentBinary: options.AgentBinary, IdentityEnv: options.IdentityEnv,
		Offline: options.Offline, World: worldFile, WorldFiles: files,
		CacheDir: options.CacheDir, CADir: options.CADir, RelaxConda: options.RelaxConda, Sandbox: options.Sandbox, SandboxAgent: options.SandboxAgent, Logf: options.Logf,
	}); err != nil {
		return nil, err
	}
	if err := s.emulator.Start(ctx); err != nil {
		return nil, err
	}
	s.cloud, err = connect(s.emulator.Access())
	return s, err
}

// announce says which emulator it is.
func (s *session) announce() {
	const clients = "the clients are the Azure SDK for Go"
	if s.remote != nil {
		s.out.line("emulator at %s, which was there; %s", s.remote.access.URL(), clients)
		return
	}
	s.out.line("emulator at %s, up after %s; %s", s.emulator.Access().URL(), seconds(s.out.total()), clients)
}

// spent is how many requests the emulator answered and how long it took with
// them.
func (s *session) spent(ctx context.Context) (int, time.Duration, error) {
	if s.remote != nil {
		return s.remote.spent(ctx)
	}
	requests, busy := s.emulator.Spent()
	return requests, busy, nil
}

// lastDenial is the newest request that was refused for want of a role.
func (s *session) lastDenial(ctx context.Context) (audit.Entry, bool, error) {
	if s.remote != nil {
		return s.remote.lastDenial(ctx)
	}
	entry, ok := s.emulator.LastDenial()
	return entry, ok, nil
}

// close ends the emulator and all it started; nothing is left on disk.
func (s *session) close() error {
	var errs []error
	if s.cloud != nil {
		s.cloud.http.CloseIdleConnections()
	}
	if s.emulator != nil {
		// The scenario's context may be the one that was cancelled.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		errs = append(errs, s.emulator.Close(ctx))
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

func joinClose(err error, s *session) error { return errors.Join(err, s.close()) }
