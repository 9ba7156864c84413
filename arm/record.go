package arm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// bucket holds every ARM resource; the key is the lower-cased resource id.
const bucket = "arm.resources"

// Record is a stored resource.
type Record struct {
	// ID is spelled as the creator spelled names, with canonical types.
	ID string `json:"id"`
	// Type is the canonical resource type.
	Type string `json:"type"`
	// Document is what is served, without id, name and type.
	Document Document `json:"document"`
	// Secret is never served: account keys, endpoint keys, credentials.
	Secret Document `json:"secret,omitempty"`
	// Version grows with every write; the ETag is made of it.
	Version    uint64    `json:"version"`
	CreatedAt  time.Time `json:"createdAt"`
	CreatedBy  Author    `json:"createdBy"`
	ModifiedAt time.Time `json:"modifiedAt"`
	ModifiedBy Author    `json:"modifiedBy"`
}

// Author is who wrote a resource, as systemData names them.
type Author struct {
	Name string `json:"name"`
	Type string `json:"type"` // "User" or "Application"
}

// AuthorOf is the author a principal is recorded as.
func AuthorOf(p azure.Principal) Author {
	if p.Type == azure.User {
		return Author{Name: p.Name, Type: "User"}
	}
	return Author{Name: p.Name, Type: "Application"}
}

// ResourceID parses the record's id.
func (r *Record) ResourceID() azure.ResourceID { return azure.MustParseResourceID(r.ID) }

// Name is the last segment of the id.
func (r *Record) Name() string { return r.ID[strings.LastIndexByte(r.ID, '/')+1:] }

// ETag is the record's entity tag.
func (r *Record) ETag() string { return fmt.Sprintf("%q", fmt.Sprintf("%016x", r.Version)) }

// Body is what a GET answers: the document with id, name and type.
func (r *Record) Body() Document {
	out := r.Document.Clone()
	if out == nil {
		out = Document{}
	}
	out["id"], out["name"], out["type"] = r.ID, r.Name(), r.Type
	return out
}

// SystemData is the systemData object of the resource.
func (r *Record) SystemData() Document {
	const layout = "2006-01-02T15:04:05.0000000Z"
	return Document{
		"createdAt": r.CreatedAt.UTC().Format(layout), "createdBy": r.CreatedBy.Name, "createdByType": r.CreatedBy.Type,
		"lastModifiedAt": r.ModifiedAt.UTC().Format(layout), "lastModifiedBy": r.ModifiedBy.Name, "lastModifiedByType": r.ModifiedBy.Type,
	}
}

// Get reads a resource; ok is false when there is none.
func Get(tx store.ReadTx, id string) (rec *Record, ok bool, err error) {
	raw, ok := tx.Get(bucket, []byte(strings.ToLower(id)))
	if !ok {
		return nil, false, nil
	}
	rec, err = decodeRecord(raw)
	return rec, err == nil, err
}

// Put writes a resource and gives it a new version. Times and authors are the
// caller's to set.
func Put(tx store.Tx, rec *Record) error {
	v, err := tx.Version()
	if err != nil {
		return err
	}
	rec.Version = v
	raw, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("resource %s: %w", rec.ID, err)
	}
	return tx.Put(bucket, []byte(strings.ToLower(rec.ID)), raw)
}

// Delete removes a resource; absent ones are no error.
func Delete(tx store.Tx, id string) error {
	return tx.Delete(bucket, []byte(strings.ToLower(id)))
}

// Under walks the resources below a scope ("" or "/" for all) in key order,
// those of one type only unless resourceType is "".
func Under(tx store.ReadTx, scope, resourceType string) iter.Seq2[*Record, error] {
	prefix := strings.ToLower(strings.TrimRight(scope, "/")) + "/"
	return func(yield func(*Record, error) bool) {
		for _, raw := range tx.Scan(bucket, []byte(prefix), nil) {
			if resourceType != "" && !typeMatches(raw, resourceType) {
				continue
			}
			if !yield(decodeRecord(raw)) {
				return
			}
		}
	}
}

// List is Under as a slice.
func List(tx store.ReadTx, scope, resourceType string) ([]*Record, error) {
	var out []*Record
	for rec, err := range Under(tx, scope, resourceType) {
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

func decodeRecord(raw []byte) (*Record, error) {
	rec := new(Record)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(rec); err != nil {
		return nil, fmt.Errorf("stored resource: %w", err)
	}
	return rec, nil
}

// typeMatches looks for the type without decoding the record: `type` is the
// second member Put writes, and a false positive is sorted out by nobody, so
// the whole quoted pair is compared.
func typeMatches(raw []byte, resourceType string) bool {
	const member = `,"type":"`
	i := bytes.Index(raw, []byte(member))
	if i < 0 {
		return false
	}
	rest := raw[i+len(member):]
	end := bytes.IndexByte(rest, '"')
	return end >= 0 && strings.EqualFold(string(rest[:end]), resourceType)
}
