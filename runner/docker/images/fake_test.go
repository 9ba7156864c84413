package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fakeEngine keeps images by name and answers builds as told.
type fakeEngine struct {
	arch, platform string
	// builds gives the messages of one build; nil succeeds. It may block.
	builds func(ctx context.Context, dockerfile string) []string
	// pulls says what a pull brings, or its messages where it brings nothing.
	pulls map[string]image.InspectResponse
	pull  []string

	mu      sync.Mutex
	images  map[string]image.InspectResponse
	sent    []map[string]string // each build's files
	options []build.ImageBuildOptions
	removed []string
	pulled  []string
}

func newFake(have ...image.InspectResponse) *fakeEngine {
	e := &fakeEngine{arch: "amd64", images: map[string]image.InspectResponse{}}
	for _, i := range have {
		for _, tag := range i.RepoTags {
			e.images[tag] = i
		}
	}
	return e
}

// anImage is one in the engine; labels as "key=value".
func anImage(name string, labels ...string) image.InspectResponse {
	config := dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{Labels: map[string]string{}, Env: []string{"PATH=/usr/bin:/bin"}}}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		config.Labels[k] = v
	}
	return image.InspectResponse{ID: "sha256:" + name, RepoTags: []string{name}, Architecture: "amd64", Os: "linux", Config: &config}
}

func defaultBase() image.InspectResponse { return anImage(DefaultBase, pythonLabel+"=3.11") }

func (e *fakeEngine) ServerVersion(context.Context) (types.Version, error) {
	v := types.Version{Os: "linux", Arch: e.arch}
	v.Platform.Name = e.platform
	return v, nil
}

func (e *fakeEngine) ImageInspect(_ context.Context, ref string, _ ...client.ImageInspectOption) (image.InspectResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i, ok := e.images[ref]; ok {
		return i, nil
	}
	return image.InspectResponse{}, fmt.Errorf("no such image %s: %w", ref, cerrdefs.ErrNotFound)
}

// ImageList knows the two filters that are used.
func (e *fakeEngine) ImageList(_ context.Context, o image.ListOptions) ([]image.Summary, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.Contains(o.Filters.Get("dangling"), "true") {
		id := "sha256:left " + o.Filters.Get("label")[0]
		if slices.Contains(e.removed, id) {
			return nil, nil
		}
		return []image.Summary{{ID: id}}, nil
	}
	var out []image.Summary
	for name, i := range e.images {
		repository, _, _ := strings.Cut(name, ":")
		if _, labelled := i.Config.Labels[pythonLabel]; labelled && slices.Contains(o.Filters.Get("reference"), repository) {
			out = append(out, image.Summary{ID: i.ID, RepoTags: i.RepoTags, Labels: i.Config.Labels})
		}
	}
	return out, nil
}

func (e *fakeEngine) ImageBuild(ctx context.Context, buildContext io.Reader, o build.ImageBuildOptions) (build.ImageBuildResponse, error) {
	files := map[string]string{}
	for r := tar.NewReader(buildContext); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		raw, _ := io.ReadAll(r)
		files[path.Clean(h.Name)] = string(raw)
	}
	e.mu.Lock()
	e.sent = append(e.sent, files)
	e.options = append(e.options, o)
	e.mu.Unlock()
	var messages []string
	if e.builds != nil {
		messages = e.builds(ctx, files["Dockerfile"])
	}
	if err := ctx.Err(); err != nil {
		return build.ImageBuildResponse{}, err
	}
	if len(messages) == 0 {
		minor := ""
		if _, after, ok := strings.Cut(files["Dockerfile"], "LABEL "+pythonLabel+`="`); ok {
			minor, _, _ = strings.Cut(after, `"`)
		}
		e.mu.Lock()
		for _, tag := range o.Tags {
			e.images[tag] = anImage(tag, pythonLabel+"="+minor)
		}
		e.mu.Unlock()
	}
	return build.ImageBuildResponse{Body: io.NopCloser(strings.NewReader(strings.Join(messages, "\n")))}, nil
}

func (e *fakeEngine) ImagePull(_ context.Context, ref string, _ image.PullOptions) (io.ReadCloser, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pulled = append(e.pulled, ref)
	if i, ok := e.pulls[ref]; ok {
		e.images[ref] = i
	}
	return io.NopCloser(strings.NewReader(strings.Join(e.pull, "\n"))), nil
}

func (e *fakeEngine) ImageRemove(_ context.Context, ref string, _ image.RemoveOptions) ([]image.DeleteResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = append(e.removed, ref)
	return nil, nil
}

// What a flattened image needs is tested with a real engine.
func (e *fakeEngine) ImageImport(context.Context, image.ImportSource, string, image.ImportOptions) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

func (e *fakeEngine) ContainerCreate(context.Context, *container.Config, *container.HostConfig, *network.NetworkingConfig, *ocispec.Platform, string) (container.CreateResponse, error) {
	return container.CreateResponse{}, errors.ErrUnsupported
}

func (e *fakeEngine) ContainerExport(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

func (e *fakeEngine) ContainerRemove(context.Context, string, container.RemoveOptions) error {
	return nil
}

// said makes a build message of output lines.
func said(lines ...string) string {
	raw, _ := json.Marshal(map[string]string{"stream": strings.Join(lines, "\n") + "\n"})
	return string(raw)
}

// broke makes the message that ends a failed build.
func broke(text string) string {
	raw, _ := json.Marshal(map[string]any{"error": text, "errorDetail": map[string]any{"code": 1, "message": text}})
	return string(raw)
}

// newBuilder is a Builder on e that sees nothing of this machine.
func newBuilder(t *testing.T, e *fakeEngine, change ...func(*Config)) *Builder {
	t.Helper()
	cfg := Config{Engine: e, Environ: []string{}}
	for _, c := range change {
		c(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// logBuffer may be written to by several builds.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
