package scenarios

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// watchPeriod is how often files are looked at. A change is acted upon when two
// looks in a row see the same, so that an editor or a checkout may finish.
const watchPeriod = 200 * time.Millisecond

// Watch is Deploy, and then deploys again what changes: a definition, or the
// content of the code, model, conda file or build context it names. It looks
// rather than being told, which works on every file system. It returns when ctx
// ends; failed is told of what cannot be read or deployed, and the watch goes
// on.
func Watch(ctx context.Context, to Target, d *Definitions, failed func(error)) error {
	a, err := newApplier(to)
	if err != nil {
		return err
	}
	defer a.http.CloseIdleConnections()
	w := &watcher{applier: a, paths: d.paths, failed: failed, seen: map[string]fileMark{}}
	// Taken before anything is read to be uploaded, so that an edit meanwhile
	// counts as one.
	last, quiet := w.marks(d), true
	w.deployed = w.contents(d)
	if err := w.apply(ctx, d, func(string) bool { return true }); err != nil && ctx.Err() == nil {
		failed(err)
	}
	a.out.line("Watching %s", strings.Join(w.paths, ", "))
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := w.marks(d)
		if !maps.Equal(last, now) {
			last, quiet = now, false
			continue
		}
		if quiet {
			continue
		}
		quiet = true
		if again := w.changed(ctx); again != nil {
			d = again
		}
	}
}

type watcher struct {
	*applier
	paths    []string
	failed   func(error)
	deployed map[string]map[string]string
	seen     map[string]fileMark
}

// fileMark tells cheaply that a file may have changed.
type fileMark struct {
	size int64
	time time.Time
	hash string // remembered for this size and time
}

// changed loads the definitions and deploys those whose content is not what was
// deployed last; nil if they cannot be read.
func (w *watcher) changed(ctx context.Context) *Definitions {
	d, err := LoadDefinitions(w.paths)
	if err != nil {
		w.failed(err)
		return nil
	}
	now, changed := w.contents(d), map[string]bool{}
	for path, files := range now {
		var names []string
		for name, hash := range files {
			if w.deployed[path][name] != hash {
				names = append(names, name)
			}
		}
		for name := range w.deployed[path] {
			if _, ok := files[name]; !ok {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			changed[path] = true
			slices.Sort(names)
			w.out.line("Changed: %s", strings.Join(names[:min(len(names), 5)], ", "))
		}
	}
	w.deployed = now // what fails is not tried again until it changes
	if len(changed) == 0 {
		return d
	}
	if err := w.apply(ctx, d, func(path string) bool { return changed[path] }); err != nil && ctx.Err() == nil {
		w.failed(err)
	}
	return d
}

// sources are the local files and folders a definition is made of.
func (d *Definitions) sources() map[string][]string {
	out := map[string][]string{}
	for _, e := range d.endpoints {
		out[e.path] = []string{e.path}
	}
	for _, f := range d.deployments {
		paths := []string{f.path}
		local := func(path string) {
			if path != "" && (!strings.Contains(path, ":") || filepath.IsAbs(path)) {
				paths = append(paths, f.at(path))
			}
		}
		local(f.Model.Path)
		if f.Code != nil {
			local(f.Code.Path)
		}
		local(f.Environment.CondaFile.Path)
		if f.Environment.Build != nil {
			local(f.Environment.Build.Path)
		}
		out[f.path] = paths
	}
	return out
}

// walk visits the files of a source that would be uploaded. What cannot be
// read is left out: it comes with the next look, or deploying names it.
func walk(source string, visit func(path string, info fs.FileInfo)) {
	info, err := os.Stat(source)
	if err != nil {
		return
	}
	if !info.IsDir() {
		visit(source, info)
		return
	}
	ignored, err := ignoreOf(source)
	if err != nil {
		return
	}
	_ = fs.WalkDir(os.DirFS(source), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || ignored.excludes(path) {
			return nil //nolint:nilerr // see above
		}
		full := filepath.Join(source, filepath.FromSlash(path))
		if info, err := os.Stat(full); err == nil {
			visit(full, info)
		}
		return nil
	})
}

// marks are size and time of all files.
func (w *watcher) marks(d *Definitions) map[string]fileMark {
	out := map[string]fileMark{}
	for _, sources := range d.sources() {
		for _, source := range sources {
			walk(source, func(path string, info fs.FileInfo) { out[path] = fileMark{size: info.Size(), time: info.ModTime()} })
		}
	}
	return out
}

// contents are the hashes of all files by definition. A file is read again only
// if its size or time is new.
func (w *watcher) contents(d *Definitions) map[string]map[string]string {
	out := map[string]map[string]string{}
	for definition, sources := range d.sources() {
		files := map[string]string{}
		for _, source := range sources {
			walk(source, func(path string, info fs.FileInfo) {
				mark := fileMark{size: info.Size(), time: info.ModTime()}
				if known, ok := w.seen[path]; ok && known.size == mark.size && known.time.Equal(mark.time) {
					mark = known
				} else if raw, err := os.ReadFile(path); err == nil {
					sum := sha256.Sum256(raw)
					mark.hash = hex.EncodeToString(sum[:])
				} else {
					mark.hash = fmt.Sprint(err)
				}
				w.seen[path], files[path] = mark, mark.hash
			})
		}
		out[definition] = files
	}
	return out
}
