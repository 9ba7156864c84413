package e2e

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"

	"github.com/amlocal/amlocal/runner/docker"
)

// rootfs is an image's file system in the making: a tar archive. Nothing is
// pulled: interpreters and what they load come from this machine.
type rootfs struct {
	*tar.Writer
	seen map[string]bool
}

// file adds a file of this machine, followed through links.
func (r rootfs) file(from, to string) error {
	if r.seen[to] {
		return nil
	}
	r.seen[to] = true
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := r.WriteHeader(&tar.Header{Name: strings.TrimPrefix(to, "/"), Mode: int64(info.Mode().Perm() | 0o444), Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(r, f)
	return err
}

// tree adds a folder without what matches leaveOut.
func (r rootfs) tree(from, to string, leaveOut *regexp.Regexp) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case leaveOut != nil && leaveOut.MatchString(p):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := os.Stat(p); err != nil || info.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		return r.file(p, path.Join(to, filepath.ToSlash(rel)))
	})
}

var library = regexp.MustCompile(`(?m)^\s+(?:\S+ => )?(/\S+) \(0x`)

// libraries adds what programs load, at the places where they look for it.
func (r rootfs) libraries(programs ...string) error {
	for _, program := range programs {
		out, err := exec.Command("ldd", program).CombinedOutput()
		if err != nil {
			return errors.New("ldd " + program + ": " + string(out))
		}
		for _, m := range library.FindAllStringSubmatch(string(out), -1) {
			if strings.HasPrefix(m[1], filepath.Dir(filepath.Dir(program))+"/") {
				continue // the program's own
			}
			if err := r.file(m[1], m[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeImage imports a file system under a name, and removes it after the test.
func makeImage(t *testing.T, ref, command string, fill func(rootfs) error) {
	t.Helper()
	api, err := docker.Client("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := api.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
			t.Error(err)
		}
		_ = api.Close()
	})
	r, w := io.Pipe()
	go func() {
		root := rootfs{tar.NewWriter(w), map[string]bool{}}
		err := root.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777})
		if err == nil {
			err = fill(root)
		}
		if err == nil {
			err = root.Close()
		}
		w.CloseWithError(err)
	}()
	answer, err := api.ImageImport(t.Context(), image.ImportSource{Source: r, SourceName: "-"}, ref,
		image.ImportOptions{Changes: []string{"CMD " + command, "USER 1001"}})
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(answer)
	if err = errors.Join(err, answer.Close()); err != nil || strings.Contains(string(said), `"error"`) {
		t.Fatalf("import %s: %v %s", ref, err, said)
	}
}
