package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/conda"
)

// DefaultBase stands for Azure's own base images where they are not in the
// engine; `make base-image` makes it. Others it makes, of other releases, are
// taken where their Python is the one asked for.
const (
	DefaultBase = baseRepository + ":3.11-bookworm"

	baseRepository = "amlocal/python"
	// curated is what DefaultBase stands for.
	curated = "mcr.microsoft.com/azureml/"
	// pythonLabel holds the minor version, on bases we make and on what is
	// built on any base.
	pythonLabel = "amlocal.python"
)

// wish is the Python asked for, and how to say it.
type wish struct {
	python conda.Python
	text   string
}

var imagePython = regexp.MustCompile(`(?:py|python)3\.?(1[0-9])\b`)

// pythonWish is the conda file's, else the version in a curated image's name.
func pythonWish(file *conda.Environment, name string) wish {
	if file.Python.Text != "" {
		return wish{file.Python, "Python " + file.Python.Text}
	}
	if m := imagePython.FindStringSubmatch(name); m != nil && strings.HasPrefix(name, curated) {
		if implied, err := conda.Parse("dependencies: [python=3." + m[1] + "]"); err == nil {
			return wish{implied.Python, "Python 3." + m[1] + " (from the image's name)"}
		}
	}
	return wish{}
}

// fits compares the wish with a minor such as "3.11". Where it does not fit it
// is an error or, relaxed, a line in the log.
func (b *Builder) fits(w wish, minor, base string, say sayer) error {
	if allows(w, minor) {
		return nil
	}
	if b.cfg.RelaxConda {
		say("Difference: %s is asked for, Python %s of base image %s is used (--conda=relax)", w.text, minor, base)
		return nil
	}
	return buildFailed("%s is asked for, but base image %s has Python %s; name a base with it in --base-image, "+
		"or use --conda=relax to take the one that is there", w.text, base, minor)
}

func allows(w wish, minor string) bool {
	major, rest, _ := strings.Cut(minor, ".")
	x, errX := strconv.Atoi(major)
	y, errY := strconv.Atoi(rest)
	return errX == nil && errY == nil && w.python.Allows(x, y)
}

// base finds the image an environment is built on: what the table says, else
// the image itself, else what stands for Azure's.
func (b *Builder) base(ctx context.Context, name string, w wish, say sayer, log io.Writer) (*found, error) {
	if to, ok := b.configured(name); ok {
		have, err := b.present(ctx, to, say, log)
		if err != nil {
			return nil, err
		}
		say("Base image: %s stands for %s (--base-image)", to, name)
		have.standIn = true
		return have, nil
	}
	have, err := b.inspect(ctx, name)
	if err != nil {
		return nil, err
	}
	if have == nil && b.cfg.Pull && !b.cfg.Offline || have != nil || !strings.HasPrefix(name, curated) {
		have, err = b.present(ctx, name, say, log)
		if err == nil {
			say("Base image: %s", name)
		}
		return have, err
	}
	to, err := b.ownBase(ctx, w)
	if err != nil {
		return nil, err
	}
	if have, err = b.inspect(ctx, to); err != nil {
		return nil, err
	}
	if have == nil {
		return nil, imageFailed("image %s is not in the container engine, and neither is %s, which would stand for it; "+
			"make that with `make base-image`, or start the emulator with --pull to fetch the original", name, to)
	}
	if err := b.runnable(ctx, have, say); err != nil {
		return nil, err
	}
	have.standIn = true
	say("Difference: base image %s stands for %s, which is not in the container engine", to, name)
	return have, nil
}

// configured looks a name up in the table: the whole name first, then the
// longest with a star.
func (b *Builder) configured(name string) (string, bool) {
	if to, ok := b.cfg.BaseImages[name]; ok {
		return to, true
	}
	best := -1
	var to string
	for from, value := range b.cfg.BaseImages {
		if stem, ok := strings.CutSuffix(from, "*"); ok && strings.HasPrefix(name, stem) && len(stem) > best {
			best, to = len(stem), value
		}
	}
	return to, best >= 0
}

// ownBase picks among the bases that were made here: the default, or another
// whose Python is the one asked for, the newest first.
func (b *Builder) ownBase(ctx context.Context, w wish) (string, error) {
	list, err := b.cfg.Engine.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(
		filters.Arg("reference", baseRepository), filters.Arg("label", pythonLabel))})
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("images: list base images: %w", err)
	}
	minors := map[string]string{}
	var tags []string
	for _, have := range list {
		for _, tag := range have.RepoTags {
			if strings.HasPrefix(tag, baseRepository+":") {
				minors[tag] = have.Labels[pythonLabel]
				tags = append(tags, tag)
			}
		}
	}
	slices.SortFunc(tags, func(x, y string) int {
		if d := minorOf(minors[y]) - minorOf(minors[x]); d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	if minor, ok := minors[DefaultBase]; ok && allows(w, minor) {
		return DefaultBase, nil
	}
	for _, tag := range tags {
		if allows(w, minors[tag]) {
			return tag, nil
		}
	}
	if _, ok := minors[DefaultBase]; !ok && len(tags) > 0 {
		return tags[0], nil
	}
	return DefaultBase, nil
}

func minorOf(version string) int {
	_, minor, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(minor) // 0 sorts last
	return n
}

// interpreter is a Python in a base image.
type interpreter struct{ path, minor string }

// probe asks every Python an image might have, as the one step of a build, which
// fails on purpose, so that it leaves no image.
const probe = `for p in "${AZUREML_INFERENCE_PYTHON_PATH:-/nowhere}/python" python3 python /opt/miniconda/bin/python; do ` +
	`"$p" -c 'import sys, venv, ensurepip; print("amlocal-python:%d.%d:%s" % (sys.version_info[0], sys.version_info[1], sys.executable))' 2>/dev/null; ` +
	`done; exit 42`

var probed = regexp.MustCompile(`^amlocal-python:(3\.[0-9]+):(/\S+)$`)

// interpreters lists the Pythons of a base that can make virtual environments.
func (b *Builder) interpreters(ctx context.Context, base *found) ([]interpreter, error) {
	if minor := base.labels[pythonLabel]; minor != "" {
		return []interpreter{{"/usr/bin/python3", minor}}, nil
	}
	dockerfile := fmt.Sprintf("FROM %s\nRUN %s\n", base.name, probe)
	files, err := tarball([]file{{"Dockerfile", dockerfile}})
	if err != nil {
		return nil, err
	}
	out, err := b.run(ctx, bytes.NewReader(files), build.ImageBuildOptions{NoCache: true}, io.Discard)
	var broken *stepError
	if err != nil && !asStep(err, &broken) {
		return nil, err
	}
	var all []interpreter
	for _, line := range out.lines {
		if m := probed.FindStringSubmatch(line); m != nil {
			if i := (interpreter{path: m[2], minor: m[1]}); !slices.Contains(all, i) {
				all = append(all, i)
			}
		}
	}
	if len(all) == 0 {
		return nil, &runner.Failure{Kind: runner.BuildFailed, Log: out.tail(20),
			Message: fmt.Sprintf("base image %s has no Python that can make virtual environments (venv and ensurepip)", base.name)}
	}
	return all, nil
}
