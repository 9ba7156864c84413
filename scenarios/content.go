package scenarios

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

//go:embed content worlds
var embedded embed.FS

// scorerImage is the image the Go scorer stands for in the worlds.
const scorerImage = "amlocal/goscorer:1"

// extract writes content and the named world into dir and returns the world
// file and the content's folder. goScorer, if set, is what the Go scorer's
// image stands for instead of the world's own choice.
func extract(dir, world, goScorer string) (worldFile, files string, err error) {
	files = filepath.Join(dir, "content")
	if err := writeTree(dir, "content"); err != nil {
		return "", "", err
	}
	raw, err := embedded.ReadFile("worlds/" + world + ".yaml")
	if err != nil {
		return "", "", err
	}
	if goScorer != "" {
		if raw, err = withScorer(raw, goScorer); err != nil {
			return "", "", fmt.Errorf("world %s: %w", world, err)
		}
	}
	worldFile = filepath.Join(dir, world+".yaml")
	return worldFile, files, os.WriteFile(worldFile, raw, 0o600)
}

func withScorer(world []byte, program string) ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(world, &doc); err != nil {
		return nil, err
	}
	doc["images"] = map[string]any{scorerImage: []string{program, "-port", "8080"}}
	return yaml.Marshal(doc)
}

func writeTree(dir, root string) error {
	return fs.WalkDir(embedded, root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(path))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		raw, err := embedded.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, raw, 0o600)
	})
}
