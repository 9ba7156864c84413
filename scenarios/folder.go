package scenarios

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// folder is a local folder, or a single file, as azure-ai-ml uploads it.
type folder struct {
	name  string       // its own last name
	below string       // what its blobs' names begin with: the name, "" for a single file
	files []folderFile // in the order that makes the first one the indicator
	hash  string
}

type folderFile struct {
	path string // below the folder, with slashes
	data []byte
}

// readFolder reads a folder and its content hash. The hash follows
// azure-ai-ml's description of hash version 202208: the number of files, each
// file's path and size, then all contents, sorted by lower-cased path.
func readFolder(dir string) (*folder, error) {
	f := &folder{name: filepath.Base(dir), below: filepath.Base(dir)}
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		data, err := os.ReadFile(dir)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		f.below, f.files, f.hash = "", []folderFile{{f.name, data}}, hex.EncodeToString(sum[:])
		return f, nil
	}
	ignored, err := ignoreOf(dir)
	if err != nil {
		return nil, err
	}
	root := os.DirFS(dir)
	err = fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || ignored.excludes(path) {
			return err
		}
		data, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		f.files = append(f.files, folderFile{path, data})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(f.files) == 0 {
		return nil, errors.New("the folder " + dir + " is empty")
	}
	slices.SortFunc(f.files, func(a, b folderFile) int { return strings.Compare(strings.ToLower(a.path), strings.ToLower(b.path)) })
	hash := sha256.New()
	fmt.Fprint(hash, len(f.files))
	for _, file := range f.files {
		fmt.Fprintf(hash, "#%s#%d", file.path, len(file.data))
	}
	for _, file := range f.files {
		hash.Write(file.data)
	}
	f.hash = hex.EncodeToString(hash.Sum(nil))
	return f, nil
}
