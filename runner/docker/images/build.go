package images

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/amlocal/amlocal/runner"
)

// make builds the recipe's image as tag.
func (b *Builder) make(ctx context.Context, tag string, r recipe, w wish, say sayer, log io.Writer) error {
	if b.cfg.Offline {
		return buildFailed("%s cannot be installed: there is no such environment in the container engine, and --offline is set",
			strings.Join(r.packages(), ", "))
	}
	python, err := b.choose(ctx, r.Base, w, say)
	if err != nil {
		return err
	}
	say("Installing for Python %s: %s", python.minor, strings.Join(r.packages(), ", "))
	began := b.cfg.Clock.Now()
	h := readHost(b.cfg.Environ, b.cfg.OwnProxy, os.ReadFile)
	stage := rand.Text()
	files := []file{
		{"Dockerfile", r.dockerfile(stage, python)},
		{"build/requirements.txt", r.requirements()},
		{"build/pip.conf", h.pipConf()},
	}
	if h.roots != nil {
		files = append(files, file{"build/roots.pem", string(h.roots)})
	}
	if r.Script {
		files = append(files, file{"build/serve.py", serve})
	}
	context, err := tarball(files)
	if err != nil {
		return err
	}
	defer b.removeStage(ctx, stage)
	options := build.ImageBuildOptions{
		Tags: []string{tag}, BuildArgs: h.proxies,
		// The index that this machine reaches may be on its loopback, or
		// reachable only by its name server.
		NetworkMode: "host",
	}
	out, err := b.run(ctx, bytes.NewReader(context), options, log)
	if err != nil && strings.Contains(err.Error(), "host's network namespace") {
		say("The engine refuses builds on the host's network: %v", err)
		options.NetworkMode = ""
		out, err = b.run(ctx, bytes.NewReader(context), options, log)
	}
	var broken *stepError
	switch {
	case err == nil:
	case asStep(err, &broken):
		return failure(r, python, broken, out)
	default:
		return err
	}
	say("Environment image %s is ready after %.1f s", tag, b.cfg.Clock.Now().Sub(began).Seconds())
	return nil
}

// choose takes the base's first Python that fits the wish.
func (b *Builder) choose(ctx context.Context, base *found, w wish, say sayer) (interpreter, error) {
	all, err := b.interpreters(ctx, base)
	if err != nil {
		return interpreter{}, err
	}
	for _, p := range all {
		if allows(w, p.minor) {
			return p, nil
		}
	}
	return all[0], b.fits(w, all[0].minor, base.name, say)
}

// run sends one build to the engine and follows it.
func (b *Builder) run(ctx context.Context, files io.Reader, options build.ImageBuildOptions, log io.Writer) (*transcript, error) {
	options.Version = build.BuilderV1
	options.Remove, options.ForceRemove = true, true
	answer, err := b.cfg.Engine.ImageBuild(ctx, files, options)
	if err != nil {
		if ctx.Err() != nil {
			return &transcript{}, ctx.Err()
		}
		return &transcript{}, fmt.Errorf("images: build: %w", err)
	}
	defer answer.Body.Close()
	out, err := follow(answer.Body, log)
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	return out, err
}

// removeStage removes what the first stage left: hundreds of megabytes that are
// in the result too, and the host's settings. It also runs when the build was
// cancelled; then the engine needs a moment to end the step that was running,
// and commits or keeps what it had until it has.
func (b *Builder) removeStage(ctx context.Context, stage string) {
	cancelled := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stageTimeout)
	defer cancel()
	for quiet := 0; quiet < 2; {
		left, err := b.cfg.Engine.ImageList(ctx, image.ListOptions{All: true, Filters: filters.NewArgs(
			filters.Arg("dangling", "true"), filters.Arg("label", stageLabel+"="+stage))})
		if err != nil {
			return
		}
		progress := false
		for _, have := range left {
			// Parents go with their children, or are in use for the moment.
			_, err := b.cfg.Engine.ImageRemove(ctx, have.ID, image.RemoveOptions{PruneChildren: true})
			progress = progress || err == nil
		}
		switch {
		case len(left) == 0 && !cancelled:
			return
		case len(left) == 0:
			quiet++
		case progress:
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(stagePause):
		}
	}
}

// How long a first stage is waited for, and how often it is looked at.
const (
	stageTimeout = 30 * time.Second
	stagePause   = 300 * time.Millisecond
)

// pull fetches an image that is not there.
func (b *Builder) pull(ctx context.Context, name string, say sayer, log io.Writer) (*found, error) {
	say("Image %s is not in the container engine; pulling it", name)
	failed := func(err error, out *transcript) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f := &runner.Failure{Kind: runner.ImageFailed, Cause: err,
			Message: fmt.Sprintf("image %s is not in the container engine and cannot be pulled: %v", name, err)}
		if out != nil {
			f.Log = out.tail(20)
		}
		return f
	}
	body, err := b.cfg.Engine.ImagePull(ctx, name, image.PullOptions{})
	if err != nil {
		return nil, failed(err, nil)
	}
	defer body.Close()
	if out, err := follow(body, log); err != nil {
		return nil, failed(err, out)
	}
	have, err := b.inspect(ctx, name)
	if err == nil && have == nil {
		err = imageFailed("image %s was pulled, but the container engine does not have it", name)
	}
	return have, err
}

// file is one of a build's.
type file struct{ name, text string }

// tarball packs a build's files. Times are zero: the builder compares content.
func tarball(files []file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text)), Typeflag: tar.TypeReg}); err != nil {
			return nil, fmt.Errorf("images: pack %s: %w", f.name, err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			return nil, fmt.Errorf("images: pack %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("images: pack: %w", err)
	}
	return out.Bytes(), nil
}
