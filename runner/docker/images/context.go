package images

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/conda"
)

const (
	// contextRepository is where images built from contexts are.
	contextRepository = "amlocal/context"
	// ownDockerfile is the Dockerfile as we send it, beside the user's.
	ownDockerfile = ".amlocal.Dockerfile"
	// hostDir is where the host's way to package indexes is during a build.
	hostDir = ".amlocal-host"
)

// fromContext builds the image of a Dockerfile and the folder around it, or
// finds it by its content.
func (b *Builder) fromContext(ctx context.Context, env runner.Environment, say sayer, log io.Writer) (string, error) {
	name := path.Clean(strings.TrimPrefix(env.Dockerfile, "/"))
	if env.Dockerfile == "" {
		name = "Dockerfile"
	}
	root, err := os.OpenRoot(env.Context)
	if err != nil {
		return "", fmt.Errorf("images: the build context: %w", err)
	}
	defer root.Close() //nolint:errcheck // only read
	raw, err := root.ReadFile(filepath.FromSlash(name))
	if err != nil {
		return "", buildFailed("the Dockerfile %q is not in the build context", name)
	}
	d, err := readDockerfile(string(raw))
	if err != nil {
		return "", buildFailed("the Dockerfile %q cannot be read: %v", name, err)
	}
	if _, err := root.Stat(".dockerignore"); err == nil {
		say("Difference: .dockerignore is not applied; the whole build context is sent")
	}
	bases := map[string]string{}
	sum := sha256.New()
	fmt.Fprintf(sum, "1\n%s\n", name)
	for _, from := range d.images() {
		have, err := b.base(ctx, from, pythonWish(&conda.Environment{}, from), say, log)
		var failure *runner.Failure
		if errors.As(err, &failure) {
			return "", &runner.Failure{Kind: runner.BuildFailed, Cause: err, Message: fmt.Sprintf("the Dockerfile %q needs the image %s: %s", name, from, failure.Message), Log: failure.Log}
		} else if err != nil {
			return "", err
		}
		bases[from] = have.name
		fmt.Fprintf(sum, "%s %s\n", from, have.id)
	}
	if err := pack(sum, root.FS(), nil); err != nil {
		return "", err
	}
	tag := contextRepository + ":" + hex.EncodeToString(sum.Sum(nil)[:8])
	return b.shared(ctx, tag, say, nil, func() error {
		return b.makeContext(ctx, tag, name, root.FS(), d, bases, say, log)
	})
}

// makeContext builds a context's image as tag. What a stage needs to reach the
// host's package index is copied in as it begins and is not in the result.
func (b *Builder) makeContext(ctx context.Context, tag, name string, files fs.FS, d *dockerfile, bases map[string]string, say sayer, log io.Writer) error {
	began := b.cfg.Clock.Now()
	h := readHost(b.cfg.Environ, b.cfg.OwnProxy, os.ReadFile)
	mark, carrier := rand.Text(), ""
	if h.special() && !b.cfg.Offline && slices.ContainsFunc(d.stages, func(s *stage) bool { return s.runs }) {
		var err error
		if carrier, err = b.carrier(ctx, h); err != nil {
			return err
		}
		defer b.discard(ctx, carrier)
	}
	marked := map[*stage]bool{} // has the host's settings in it, by itself or its base
	text := d.text(bases, func(s *stage) []string {
		// What the result is not, or not as it is, is to be found and removed.
		var lines []string
		takes := carrier != "" && s.runs
		marked[s] = takes || marked[s.base]
		if s != d.final() && !s.began || marked[s] {
			lines = append(lines, "LABEL "+stageLabel+"="+quote(mark))
		}
		if takes {
			lines = append(lines, "COPY --from="+carrier+" / /"+hostDir)
			lines = append(lines, h.buildArgs("/"+hostDir)...)
		}
		return lines
	})
	say("Building the image of %q, %d stage(s)", name, len(d.stages))
	result := tag
	if marked[d.final()] {
		result = tag + "-raw"
		defer b.discard(ctx, result)
	}
	defer b.removeStage(ctx, mark)
	options := build.ImageBuildOptions{Tags: []string{result}, Dockerfile: ownDockerfile, BuildArgs: h.proxies, NetworkMode: "host"}
	if b.cfg.Offline {
		options.NetworkMode = "none"
	}
	send := func() (*transcript, error) {
		r, w := io.Pipe()
		defer r.Close() //nolint:errcheck // ends the writer
		// The engine takes out of the context what .dockerignore names and is
		// the Dockerfile or .dockerignore.
		go func() {
			w.CloseWithError(pack(w, files, []file{{ownDockerfile, text}, {".dockerignore", ownDockerfile + "\n.dockerignore\n"}}))
		}()
		return b.run(ctx, r, options, log)
	}
	out, err := send()
	if err != nil && strings.Contains(err.Error(), "host's network namespace") {
		say("The engine refuses builds on the host's network: %v", err)
		options.NetworkMode = ""
		out, err = send()
	}
	var broken *stepError
	switch {
	case asStep(err, &broken):
		return contextFailure(name, broken, out, b.cfg.Offline)
	case cerrdefs.IsInvalidArgument(err):
		return &runner.Failure{Kind: runner.BuildFailed, Cause: err, Message: fmt.Sprintf("the container engine refuses the Dockerfile %q: %v", name, err)}
	case err != nil:
		return err
	}
	if result != tag {
		if err := b.flatten(ctx, result, tag); err != nil {
			return err
		}
	}
	say("Environment image %s is ready after %.1f s", tag, b.cfg.Clock.Now().Sub(began).Seconds())
	return nil
}

// contextFailure is a user's build that broke, with the step and its last words.
func contextFailure(name string, broken *stepError, out *transcript, offline bool) *runner.Failure {
	why := broken.message
	if problem := networkProblem(strings.Join(out.lines, "\n")); problem != "" {
		why += " (" + problem + ")"
	}
	if offline {
		why += "; with --offline builds have no network"
	}
	f := &runner.Failure{Kind: runner.BuildFailed, Cause: broken, Log: out.tail(40)}
	if out.step == "" {
		f.Message = fmt.Sprintf("the image of the Dockerfile %q cannot be built: %s", name, why)
	} else {
		f.Message = fmt.Sprintf("the image of the Dockerfile %q cannot be built: %s: %s", name, out.step, why)
	}
	return f
}

// carrier makes an image that holds nothing but the host's settings, from which
// the stages of a build copy them.
func (b *Builder) carrier(ctx context.Context, h host) (string, error) {
	files := []file{{"Dockerfile", "FROM scratch\nCOPY host /\n"}, {"host/pip.conf", h.pipConfIn("/" + hostDir)}}
	if h.roots != nil {
		files = append(files, file{"host/roots.pem", string(h.roots)})
	}
	archive, err := tarball(files)
	if err != nil {
		return "", err
	}
	name := "amlocal/host:" + strings.ToLower(rand.Text())
	if _, err := b.run(ctx, bytes.NewReader(archive), build.ImageBuildOptions{Tags: []string{name}}, io.Discard); err != nil {
		return "", fmt.Errorf("images: bring the host's settings into a build: %w", err)
	}
	return name, nil
}

// discard removes an image that was only a step.
func (b *Builder) discard(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stageTimeout)
	defer cancel()
	_, _ = b.cfg.Engine.ImageRemove(ctx, name, image.RemoveOptions{Force: true, PruneChildren: true})
}

// pack writes a folder and further files as a tar archive that depends on their
// content only: blobs have no modes and no owners.
func pack(out io.Writer, files fs.FS, more []file) error {
	w := tar.NewWriter(out)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() {
			return w.WriteHeader(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755})
		}
		if slices.ContainsFunc(more, func(f file) bool { return f.name == name }) {
			return nil
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: info.Size()}); err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return err
	})
	for _, f := range more {
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.text))})
		}
		if err == nil {
			_, err = io.WriteString(w, f.text)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("images: pack the build context: %w", err)
	}
	return nil
}

// buildArgs make what runs in a stage take the host's settings from dir, for
// that stage only: an ARG is no part of the image's environment.
func (h host) buildArgs(dir string) []string {
	values := map[string]string{"PIP_CONFIG_FILE": dir + "/pip.conf"}
	if h.roots != nil {
		for _, name := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT"} {
			values[name] = dir + "/roots.pem"
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		out = append(out, "ARG "+name+"="+values[name])
	}
	return out
}
