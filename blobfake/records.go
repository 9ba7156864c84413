package blobfake

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/amlocal/amlocal/store"
)

// Buckets. Keys are joined with NUL, so list order is key order and a name
// keeps its exact bytes.
const (
	containerBucket  = "blob.containers"  // account NUL container
	blobBucket       = "blob.blobs"       // account NUL container NUL name
	blockBucket      = "blob.blocks"      // account NUL container NUL name NUL block id
	delegationBucket = "blob.delegations" // "secret", and "oid" NUL object id
)

// inlineLimit is the largest piece of content kept inside a document.
const inlineLimit = 4 << 10

// PublicAccess is what anonymous callers may do in a container.
type PublicAccess string

// The levels of public access.
const (
	Private         PublicAccess = ""
	PublicBlobs     PublicAccess = "blob"
	PublicContainer PublicAccess = "container"
)

// container is a stored container.
type container struct {
	Created  time.Time         `json:"created"`
	Modified time.Time         `json:"modified"`
	Version  uint64            `json:"version"`
	Public   PublicAccess      `json:"public,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// piece is a run of content: inline bytes or a file.
type piece struct {
	Size   int64        `json:"size"`
	Digest store.Digest `json:"digest,omitzero"`
	Inline []byte       `json:"inline,omitempty"`
}

// block is a committed block. A blob written at once is one block without id.
type block struct {
	ID string `json:"id,omitempty"`
	piece
}

// headers are the HTTP properties a client gives a blob.
type headers struct {
	ContentType        string `json:"contentType,omitempty"`
	ContentEncoding    string `json:"contentEncoding,omitempty"`
	ContentLanguage    string `json:"contentLanguage,omitempty"`
	ContentDisposition string `json:"contentDisposition,omitempty"`
	CacheControl       string `json:"cacheControl,omitempty"`
	ContentMD5         string `json:"contentMD5,omitempty"`
}

// copyState is what a finished copy left on its destination.
type copyState struct {
	ID        string    `json:"id"`
	Source    string    `json:"source"`
	Completed time.Time `json:"completed"`
}

// blob is a stored block blob.
type blob struct {
	Created  time.Time `json:"created"`
	Modified time.Time `json:"modified"`
	Version  uint64    `json:"version"`
	Size     int64     `json:"size"`
	Headers  headers   `json:"headers"`
	// Tier is empty where the account's default applies.
	Tier     string            `json:"tier,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Copy     *copyState        `json:"copy,omitempty"`
	Blocks   []block           `json:"blocks,omitempty"`
}

// staged is an uncommitted block.
type staged struct {
	Time time.Time `json:"time"`
	piece
}

// etag is a version as Azure writes it, with its quotes.
func etag(v uint64) string { return `"` + bareETag(v) + `"` }

// bareETag is how lists write it.
func bareETag(v uint64) string { return fmt.Sprintf("0x8D%013X", v) }

func key(parts ...string) []byte { return []byte(strings.Join(parts, "\x00")) }

// prefixOf is the prefix of all keys below parts.
func prefixOf(parts ...string) []byte { return append(key(parts...), 0) }

func get[T any](tx store.ReadTx, bucket string, k []byte) (value T, ok bool, err error) {
	raw, ok := tx.Get(bucket, k)
	if !ok {
		return value, false, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, false, fmt.Errorf("read %s %q: %w", bucket, k, err)
	}
	return value, true, nil
}

func put(tx store.Tx, bucket string, k []byte, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s %q: %w", bucket, k, err)
	}
	return tx.Put(bucket, k, raw)
}

// stamp gives a record its new version and time. Last-Modified has whole
// seconds on the wire, so it is stored so: conditions compare equal.
func (s *Service) stamp(tx store.Tx) (time.Time, uint64, error) {
	v, err := tx.Version()
	return s.now().Truncate(time.Second), v, err
}
