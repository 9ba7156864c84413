package docker

import (
	"archive/tar"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/runnertest"
)

const blobHost = "acct.blob.core.windows.net"

// needEngine skips where no engine answers.
func needEngine(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Available(ctx, ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
}

// programs are built once for all tests.
var programs = sync.OnceValues(func() (map[string]string, error) {
	dir, err := os.MkdirTemp("", "amlocal-docker-test-")
	if err != nil {
		return nil, err
	}
	out := map[string]string{"": dir}
	for name, pkg := range map[string]string{
		"agent":      "github.com/amlocal/amlocal/runner/docker/agent",
		"testserver": "github.com/amlocal/amlocal/runner/runnertest/testserver",
		"probe":      "github.com/amlocal/amlocal/runner/docker/testdata/probe",
	} {
		out[name] = filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out[name], pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, &buildError{string(text), err}
		}
	}
	return out, nil
})

type buildError struct {
	text string
	err  error
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + e.text }

func TestMain(m *testing.M) {
	code := m.Run()
	if built, err := programs(); code == 0 && err == nil {
		_ = os.RemoveAll(built[""])
	}
	os.Exit(code)
}

func program(t *testing.T, name string) string {
	t.Helper()
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return built[name]
}

// importProgram makes a FROM scratch image of one program.
func importProgram(t *testing.T, ref, name, command string, changes ...string) {
	t.Helper()
	content, err := os.ReadFile(program(t, name))
	if err != nil {
		t.Fatal(err)
	}
	eng, err := dial("")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = eng.close() }()
	layer := archive(func(w *tar.Writer) error { return file(w, name, 0o755, content) })
	answer, err := eng.api.ImageImport(t.Context(), image.ImportSource{Source: layer, SourceName: "-"}, ref, image.ImportOptions{
		Changes: append([]string{"CMD " + command}, changes...),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer)
	_ = answer.Close()
	t.Cleanup(func() {
		eng, err := dial("")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = eng.close() }()
		if _, err := eng.api.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
			t.Error(err)
		}
	})
}

// Images are this test process's own: another may run beside it.
var (
	serverImage = testImage("server")
	probeImage  = testImage("probe")
)

func testImage(name string) string { return fmt.Sprintf("amlocal-test/%s:%d", name, os.Getpid()) }

// world is a back end with what the emulator would give it.
type world struct {
	*Backend
	cfg    Config
	exists func(name string) bool

	mu       sync.Mutex
	arrivals []Source
}

// newWorld makes a back end whose port 443 is a TLS server of any name and
// whose identity endpoint says who asks.
func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	needEngine(t)
	dir := t.TempDir()
	w := &world{exists: func(name string) bool { return name == blobHost }}
	authority, bundle := newTestAuthority(t)
	cfg := Config{
		StateUUID: uuid.NewString(), StateDir: filepath.Join(dir, "state"),
		AgentBinary: program(t, "agent"), CABundle: filepath.Join(dir, "bundle.pem"), IdentityPath: "/v1/token/msi/xds",
		Serve: func(c net.Conn, from Source) { go w.serve(c, from, authority) },
		DNS:   func(query []byte, self netip.Addr) []byte { return answerA(query, self, w.exists) },
		Logf:  t.Logf,
	}
	if err := os.WriteFile(cfg.CABundle, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	w.cfg = cfg
	var err error
	if w.Backend, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) serve(c net.Conn, from Source, authority func(name string) *tls.Certificate) {
	w.mu.Lock()
	w.arrivals = append(w.arrivals, from)
	w.mu.Unlock()
	if from.Port == 443 {
		c = tls.Server(c, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return authority(h.ServerName), nil
		}})
	}
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case from.Port == 443:
			_, _ = io.WriteString(rw, "hello from "+r.Host)
		case r.Header.Get("secret") != "secret of "+from.Owner:
			http.Error(rw, "not yours", http.StatusUnauthorized)
		default:
			_, _ = io.WriteString(rw, from.Owner+" "+from.Instance)
		}
	})
	one := &oneConn{c: c, done: make(chan struct{})}
	_ = (&http.Server{Handler: handler, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			one.once.Do(func() { close(one.done) })
		}
	}}).Serve(one)
}

// oneConn is a listener of one connection.
type oneConn struct {
	c    net.Conn
	once sync.Once
	done chan struct{}
}

func (o *oneConn) Accept() (net.Conn, error) {
	if c := o.c; c != nil {
		o.c = nil
		return c, nil
	}
	<-o.done
	return nil, net.ErrClosed
}
func (o *oneConn) Close() error   { return nil }
func (o *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func newTestAuthority(t *testing.T) (leaf func(string) *tls.Certificate, bundle []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) *tls.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, root, key.Public(), key)
		if err != nil {
			return nil
		}
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestConforms(t *testing.T) {
	needEngine(t)
	importProgram(t, serverImage, "testserver", `["/testserver", ":8080"]`)
	runnertest.Run(t, runnertest.Harness{
		New: func(t *testing.T) runner.Backend {
			w := newWorld(t, nil)
			t.Cleanup(func() { nothingLeft(t, w.cfg) })
			return w.Backend
		},
		Environment: runner.Environment{Image: serverImage},
	})
}

// nothingLeft looks for what bears the state's label.
func nothingLeft(t *testing.T, cfg Config) {
	t.Helper()
	eng, err := dial("")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = eng.close() }()
	ctx, label := context.Background(), stateLabel+"="+cfg.StateUUID
	containers, err := eng.containers(ctx, label)
	networks, err2 := eng.networks(ctx, label)
	volumes, err3 := eng.volumes(ctx, label)
	if err != nil || err2 != nil || err3 != nil {
		t.Fatal(err, err2, err3)
	}
	if len(containers)+len(networks)+len(volumes) > 0 {
		t.Errorf("left: containers %+v, networks %+v, volumes %v", containers, networks, volumes)
	}
}

// start runs one instance of the probe or server image and waits for it.
func (w *world) run(t *testing.T, ref string, change func(*runner.InstanceSpec)) (runner.Instance, *runnertest.Output) {
	t.Helper()
	art, err := w.Build(t.Context(), runner.Environment{Image: ref}, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	out := &runnertest.Output{}
	spec := runner.InstanceSpec{
		Spec: runner.Spec{ID: "d1", Name: "ep/d1", Revision: "r1", Instances: 1, Env: map[string]string{},
			IdentityURLVars: []string{"MSI_ENDPOINT"}, IdentitySecretVars: []string{"MSI_SECRET"},
			Scoring: runner.Route{Port: 8080, Path: "/score"}},
		InstanceID: strings.ToLower(rand.Text()[:8]), Artifact: art, Log: out,
	}
	if change != nil {
		change(&spec)
	}
	spec.Secret = "secret of " + spec.ID
	i, err := w.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	runnertest.Eventually(t, "readiness", func() bool {
		status, err := i.Probe(t.Context(), runner.Route{Port: 8080, Path: "/readyz"})
		return err == nil && status == 200
	})
	return i, out
}
