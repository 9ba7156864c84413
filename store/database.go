package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Names of our own buckets begin with NUL, which users' names may not.
var (
	metaBucket  = []byte("\x00meta")
	filesBucket = []byte("\x00files")
	schemaKey   = []byte("schema")
	versionKey  = []byte("version")
)

// schemaVersion counts the layouts of the database.
const schemaVersion = 1

// SchemaError refuses a database whose layout this program does not know.
type SchemaError struct {
	Dir          string
	Found, Known uint64
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("store: the state in %s has schema %d and this program knows schema %d: use the newer amlocal that wrote it, or another state folder", e.Dir, e.Found, e.Known)
}

// damageError says that a file is not a database any more, as opposed to one
// that cannot be reached.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

// openDatabase opens a bbolt file and looks at every part that a start needs.
func openDatabase(path string, durability Durability) (*bolt.DB, error) {
	// bbolt has no error of its own for a file cut this short.
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 && info.Size() < 2*int64(os.Getpagesize()) {
		return nil, &damageError{fmt.Errorf("the file has only %d bytes", info.Size())}
	}
	var (
		db   *bolt.DB
		file *os.File
	)
	opts := &bolt.Options{
		// Our own lock is held already, so that only a foreign program, such
		// as bbolt's command, can be in the way.
		Timeout:      100 * time.Millisecond,
		FreelistType: bolt.FreelistMapType,
		// The free list is written with each commit (NoFreelistSync false):
		// without it every start walks the whole database.
		NoSync:       durability == Process,
		NoGrowSync:   durability == Process,
		NoStatistics: true,
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, perm)
			file = f
			return f, err
		},
	}
	if runtime.GOOS != "windows" && strconv.IntSize == 64 {
		// Address space, not memory. A writer that must map anew waits for
		// all open views; below this size it never has to. (On Windows the
		// file itself would get this size.)
		opts.InitialMmapSize = 1 << 30
	}
	opened := false
	err := guarded(func() (err error) {
		db, err = bolt.Open(path, 0o600, opts)
		opened = true
		return err
	})
	switch {
	case !opened:
		// bbolt panicked on what it read and kept the file, and its lock.
		if file != nil {
			_ = file.Close()
		}
		return nil, &damageError{err}
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, &damageError{err}
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s is locked by another program", path)
	case err != nil:
		return nil, err
	}
	if err := guarded(func() error { return inspect(db, path) }); err != nil {
		_ = guarded(db.Close)
		return nil, &damageError{err}
	}
	return db, nil
}

// inspect touches the roots of all buckets and compares the file's size with
// what the database says it uses: a read beyond its end would be a fault.
func inspect(db *bolt.DB, path string) error {
	return db.View(func(tx *bolt.Tx) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("the file has %d bytes of %d", info.Size(), tx.Size())
		}
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if b == nil {
				return fmt.Errorf("%q is not a bucket", name)
			}
			b.Cursor().First()
			b.Cursor().Last()
			return nil
		})
	})
}

// prepareSchema checks the schema, writes it into a fresh database, and
// returns the version counter.
func prepareSchema(db *bolt.DB, dir string, now time.Time) (version uint64, err error) {
	fresh := false
	err = db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return fmt.Errorf("store: the database in %s was not written by amlocal; use another state folder", dir)
			}
			fresh = true
			return nil
		}
		if found := number(meta.Get(schemaKey)); found != schemaVersion {
			return &SchemaError{Dir: dir, Found: found, Known: schemaVersion}
		}
		version = number(meta.Get(versionKey))
		return nil
	})
	if err != nil || !fresh {
		return version, err
	}
	// Versions become ETags. Beginning with the time keeps an ETag that a
	// client remembers from an earlier, discarded store from matching here.
	version = uint64(max(now.UnixMicro(), 0))
	err = db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucketIfNotExists(filesBucket); err != nil {
			return err
		}
		return errors.Join(meta.Put(schemaKey, numberBytes(schemaVersion)), meta.Put(versionKey, numberBytes(version)))
	})
	if err != nil {
		return 0, fmt.Errorf("store: begin a database in %s: %w", dir, err)
	}
	return version, nil
}

// moveAside puts the database and the files it knows into a folder of their
// own. The files go first: a start that finds them without their database
// would sweep them.
func moveAside(dir string, now time.Time) (string, error) {
	name := filepath.Join(dir, "damaged-"+now.UTC().Format("20060102T150405Z"))
	aside := name
	for i := 2; ; i++ {
		err := os.Mkdir(aside, 0o700)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) {
			return "", err
		}
		aside = name + "-" + strconv.Itoa(i)
	}
	err := os.Rename(filepath.Join(dir, filesName), filepath.Join(aside, filesName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := syncDirs(aside, dir); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(dir, databaseName), filepath.Join(aside, databaseName)); err != nil {
		return "", err
	}
	return aside, syncDirs(aside, dir)
}

func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// number reads what numberBytes wrote; anything else is 0.
func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func numberBytes(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
