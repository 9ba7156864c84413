package images_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker/images"
)

// TestPull lets the engine fetch from a registry of ours, which it takes over
// http because it is on loopback.
func TestPull(t *testing.T) {
	cli := engine(t)
	version, err := cli.ServerVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	registry := httptest.NewServer(oneImage(t, version.Arch))
	t.Cleanup(registry.Close)
	host := strings.TrimPrefix(registry.URL, "http://")
	ref := host + "/amlocal-test/pulled:" + strings.ToLower(rand.Text())

	var log bytes.Buffer
	pulling := builder(t, images.Config{Engine: cli, Pull: true})
	got, err := pulling.Ensure(t.Context(), runner.Environment{Image: ref}, false, &log)
	var f *runner.Failure
	if errors.As(err, &f) && strings.Contains(f.Message, "connection refused") {
		covers.NotRun(t, "pulling", "the engine is on another machine: its loopback is not ours")
	}
	if err != nil || got != ref {
		t.Fatalf("%s %v\n%s", got, err, log.String())
	}
	removeLater(t, cli, ref)
	if !strings.Contains(log.String(), "Pull complete") {
		t.Errorf("log:\n%s", log.String())
	}
	_, err = pulling.Ensure(t.Context(), runner.Environment{Image: host + "/amlocal-test/absent:1"}, false, &log)
	if !errors.As(err, &f) || f.Kind != runner.ImageFailed || !strings.Contains(f.Message, "cannot be pulled") {
		t.Errorf("a tag that is not there: %v", err)
	}
	registry.Close()
	_, err = pulling.Ensure(t.Context(), runner.Environment{Image: host + "/amlocal-test/gone:1"}, false, &log)
	if !errors.As(err, &f) || f.Kind != runner.ImageFailed || !strings.Contains(f.Message, "refused") {
		t.Errorf("a registry that is not there: %v", err)
	}
}

// oneImage is a registry that has any tag of the repository pulled.
func oneImage(t *testing.T, arch string) http.Handler {
	layer := archive(t, "server", rand.Text())
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(layer); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	blobs := map[string][]byte{}
	put := func(raw []byte) (digest string) {
		digest = fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
		blobs[digest] = raw
		return digest
	}
	config := []byte(fmt.Sprintf(`{"architecture":%q,"os":"linux","config":{"Cmd":["/server"]},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`,
		arch, sha256.Sum256(layer)))
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	manifest := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":%q},`+
		`"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%d,"digest":%q}]}`,
		kind, len(config), put(config), packed.Len(), put(packed.Bytes())))
	digest := put(manifest)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v2/amlocal-test/pulled/manifests/{tag}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", digest)
		_, _ = w.Write(manifest)
	})
	mux.HandleFunc("GET /v2/amlocal-test/pulled/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(blobs[r.PathValue("digest")])
	})
	return mux
}
