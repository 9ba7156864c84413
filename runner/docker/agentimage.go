package docker

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// agentRepository names the agent's images; the tag is the program's digest, so
// that each is loaded once and two emulators of one version share it. One of
// another version may remove ours while we do not use it; createFromAgent.
const agentRepository = "amlocal-agent"

// agentProgram is where the image has it.
const agentProgram = "/agent"

// ensureAgentImage loads the agent's program into the engine.
func ensureAgentImage(ctx context.Context, eng engine, program, arch string) (ref string, err error) {
	if err := checkProgram(program, arch); err != nil {
		return "", err
	}
	f, err := os.Open(program)
	if err != nil {
		return "", fmt.Errorf("docker: agent: %w", err)
	}
	defer f.Close()
	digest := sha256.New()
	size, err := io.Copy(digest, f)
	if err != nil {
		return "", fmt.Errorf("docker: agent: %w", err)
	}
	tag := hex.EncodeToString(digest.Sum(nil))[:16]
	ref = agentRepository + ":" + tag
	if _, err := eng.image(ctx, ref); err == nil || !errors.Is(err, errNotFound) {
		return ref, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("docker: agent: %w", err)
	}
	layer := archive(func(w *tar.Writer) error {
		head := &tar.Header{Name: agentProgram[1:], Typeflag: tar.TypeReg, Mode: 0o555, Size: size, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		_, err := io.Copy(w, f)
		return err
	})
	defer layer.Close()
	if err := eng.importImage(ctx, agentRepository, tag, layer); err != nil {
		return "", fmt.Errorf("docker: load the agent into the engine: %w", err)
	}
	eng.removeOtherImages(ctx, agentRepository, tag) // of builds before this one
	return ref, nil
}

// checkProgram refuses what an image of one file cannot run.
func checkProgram(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("docker: the agent must be a Linux program, and %s is none: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // only read
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM}
	if want, known := machines[arch]; known && f.Machine != want {
		return fmt.Errorf("docker: the agent %s is for %s, and the engine runs %s", path, f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("docker: the agent %s is linked dynamically; build it with CGO_ENABLED=0 (make build does)", path)
		}
	}
	return nil
}

// archive makes a tar as it is read.
func archive(write func(*tar.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := write(t)
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	return r
}

// file adds one file to an archive.
func file(w *tar.Writer, name string, mode int64, content []byte) error {
	head := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(head); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
