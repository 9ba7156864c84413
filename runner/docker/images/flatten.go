package images

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// flatten makes tag of an image's files without hostDir, in one layer, and of
// its settings: no layer and no line of its history remembers the host.
func (b *Builder) flatten(ctx context.Context, from, tag string) error {
	got, err := b.cfg.Engine.ImageInspect(ctx, from)
	if err != nil {
		return fmt.Errorf("images: look at %s: %w", from, err)
	}
	// A command, for images that have none; it never runs.
	made, err := b.cfg.Engine.ContainerCreate(ctx, &container.Config{Image: from, Cmd: []string{"none"}}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		return fmt.Errorf("images: take %s apart: %w", from, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stageTimeout)
		defer cancel()
		_ = b.cfg.Engine.ContainerRemove(ctx, made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	}()
	files, err := b.cfg.Engine.ContainerExport(ctx, made.ID)
	if err != nil {
		return fmt.Errorf("images: take %s apart: %w", from, err)
	}
	defer files.Close()
	r, w := io.Pipe()
	defer r.Close() //nolint:errcheck // ends the writer
	go func() { w.CloseWithError(without(hostDir, files, w)) }()
	answer, err := b.cfg.Engine.ImageImport(ctx, image.ImportSource{Source: r, SourceName: "-"}, tag, image.ImportOptions{Changes: settings(got.Config)})
	if err != nil {
		return fmt.Errorf("images: put %s together: %w", tag, err)
	}
	_, err = follow(answer, io.Discard)
	if err = errors.Join(err, answer.Close()); err != nil {
		return fmt.Errorf("images: put %s together: %w", tag, err)
	}
	return nil
}

// without copies an archive and leaves a folder out, and what the engine adds to
// every container.
func without(dir string, in io.Reader, out io.Writer) error {
	r, w := tar.NewReader(in), tar.NewWriter(out)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return w.Close()
		}
		if err != nil {
			return err
		}
		name := strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")
		if name == dir || strings.HasPrefix(name, dir+"/") || name == ".dockerenv" {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil { //nolint:gosec // as large as the image
			return err
		}
	}
}

// settings are an image's, as an import takes them.
func settings(c *dockerspec.DockerOCIImageConfig) []string {
	if c == nil {
		return nil
	}
	var out []string
	list := func(word string, values []string) {
		if len(values) > 0 {
			raw, _ := json.Marshal(values) // strings always marshal
			out = append(out, word+" "+string(raw))
		}
	}
	for _, kv := range c.Env {
		name, value, _ := strings.Cut(kv, "=")
		out = append(out, "ENV "+name+"="+quote(value))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		if name == stageLabel {
			continue
		}
		out = append(out, "LABEL "+quote(name)+"="+quote(c.Labels[name]))
	}
	for _, port := range slices.Sorted(maps.Keys(c.ExposedPorts)) {
		out = append(out, "EXPOSE "+port)
	}
	list("VOLUME", slices.Sorted(maps.Keys(c.Volumes)))
	list("ENTRYPOINT", c.Entrypoint)
	list("CMD", c.Cmd)
	for word, value := range map[string]string{"WORKDIR": c.WorkingDir, "USER": c.User, "STOPSIGNAL": c.StopSignal} {
		if value != "" {
			out = append(out, word+" "+value)
		}
	}
	return out
}
