package blobfake

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// Conditions says whether any role assignment's condition reads what is stored
// here. *rbac.Index satisfies it.
type Conditions interface {
	ReadsStorage() bool
}

// The attributes conditions may read of a data operation besides what the
// check itself holds, as azure.Attributes spells them.
const (
	hnsAttribute      = "@resource[microsoft.storage/storageaccounts:ishnsenabled]"
	metadataAttribute = "@resource[microsoft.storage/storageaccounts/blobservices/containers/metadata:"
	includeAttribute  = "@request[microsoft.storage/storageaccounts/blobservices/containers/blobs:include]"
	tagsAttribute     = "[microsoft.storage/storageaccounts/blobservices/containers/blobs/tags"
)

// describing adds to a row's check what conditions may read, and fetches it
// only if there is a condition that does: RBAC asks under its lock.
func (s *Service) describing(plain func(*http.Request, *azure.Check)) func(*http.Request, *azure.Check) {
	return func(r *http.Request, c *azure.Check) {
		plain(r, c)
		if s.conditions != nil && s.conditions.ReadsStorage() {
			c.Attributes = s.attributes(r, c)
		}
	}
}

// attributes of a request. What cannot be read is not there, and what is not
// there never grants.
func (s *Service) attributes(r *http.Request, c *azure.Check) azure.Attributes {
	t := targetOf(r)
	values := azure.AttributeValues{hnsAttribute: {strconv.FormatBool(t.found.HNS)}}
	_ = s.docs.View(r.Context(), func(tx store.ReadTx) error { // unread: it is not there
		box, _, err := get[container](tx, containerBucket, key(t.account, t.container))
		if err != nil {
			return err
		}
		for name, value := range box.Metadata {
			values[metadataAttribute+lower(name)+"]"] = []string{value}
		}
		if t.blob == "" {
			return nil
		}
		b, _, err := get[blob](tx, blobBucket, key(t.account, t.container, t.blob))
		addTags(values, "@resource", b.Tags)
		return err
	})
	switch {
	case c.Action == writeTags:
		addTags(values, "@request", peekTags(r))
	case c.SubOperation == writeWithTags:
		tags, _ := headerTags(r.Header) // the handler refuses what is none
		addTags(values, "@request", tags)
	}
	if include := strings.FieldsFunc(strings.Join(t.query["include"], ","), func(c rune) bool { return c == ',' || c == ' ' }); t.blob == "" && len(include) > 0 {
		values[includeAttribute] = include
	}
	return values
}

func addTags(values azure.AttributeValues, of string, tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	var keys []string
	for name, value := range tags {
		values[of+tagsAttribute+":"+name+"]"] = []string{value}
		keys = append(keys, name)
	}
	values[of+tagsAttribute+"&$keys$&]"] = keys
}

// peekTags reads the tags of a Set Blob Tags and leaves its body as it was.
func peekTags(r *http.Request) map[string]string {
	if r.Body == nil {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxTagsBody+1))
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	if err != nil || len(head) > maxTagsBody {
		return nil
	}
	tags, _ := parseTags(head) // the handler refuses what is none
	return tags
}
