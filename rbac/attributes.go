package rbac

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// kind is the type of an attribute's values, which decides what operators may
// compare them.
type kind int8

const (
	text kind = iota + 1
	boolean
	dateTime
	guid
)

// The attributes that are read here, by the names Azure documents for blob
// storage and for role assignments. Those of principals (custom security
// attributes) are not: the directory has none.
const (
	accountName   = "@resource[microsoft.storage/storageaccounts:name]"
	containerName = "@resource[microsoft.storage/storageaccounts/blobservices/containers:name]"
	blobPath      = "@resource[microsoft.storage/storageaccounts/blobservices/containers/blobs:path]"
	blobPrefix    = "@request[microsoft.storage/storageaccounts/blobservices/containers/blobs:prefix]"
	blobCurrent   = "@resource[microsoft.storage/storageaccounts/blobservices/containers/blobs:iscurrentversion]"
	privateLink   = "@environment[isprivatelink]"
	utcNow        = "@environment[utcnow]"

	blobTags    = "[microsoft.storage/storageaccounts/blobservices/containers/blobs/tags"
	boxMetadata = "@resource[microsoft.storage/storageaccounts/blobservices/containers/metadata:"
	tagKeys     = "&$keys$&]"
	exactKey    = "<$key_case_sensitive$>]"
)

const blobList = "blob.list"

// attributeKinds are the attributes whose name has no key in it.
var attributeKinds = map[string]kind{
	accountName:   text,
	containerName: text,
	blobPath:      text,
	blobPrefix:    text,
	blobCurrent:   boolean,
	privateLink:   boolean,
	utcNow:        dateTime,
	"@resource[microsoft.storage/storageaccounts:ishnsenabled]":                           boolean,
	"@resource[microsoft.storage/storageaccounts/encryptionscopes:name]":                  text,
	"@request[microsoft.storage/storageaccounts/blobservices/containers/blobs:snapshot]":  dateTime,
	"@request[microsoft.storage/storageaccounts/blobservices/containers/blobs:versionid]": dateTime,
	"@request[microsoft.storage/storageaccounts/blobservices/containers/blobs:include]":   text,
	"@environment[microsoft.network/privateendpoints]":                                    text,
	"@environment[microsoft.network/virtualnetworks/subnets]":                             text,
	"@request[microsoft.authorization/roleassignments:roledefinitionid]":                  guid,
	"@request[microsoft.authorization/roleassignments:principalid]":                       guid,
	"@request[microsoft.authorization/roleassignments:principaltype]":                     text,
	"@resource[microsoft.authorization/roleassignments:roledefinitionid]":                 guid,
	"@resource[microsoft.authorization/roleassignments:principalid]":                      guid,
	"@resource[microsoft.authorization/roleassignments:principaltype]":                    text,
	"@resource" + blobTags + tagKeys:                                                      text,
	"@request" + blobTags + tagKeys:                                                       text,
}

// attribute is one name in a condition, as azure.Attributes is asked for it.
type attribute struct {
	name string
	kind kind
}

// newAttribute reads a source such as @Resource and a bracketed name; ok is
// false for an attribute that is not known here.
func newAttribute(source, bracketed string) (attribute, bool) {
	source = strings.ToLower(source)
	name := source + strings.ToLower(bracketed)
	if k, ok := attributeKinds[name]; ok {
		return attribute{name, k}, true
	}
	dictionary, key, keyed := strings.Cut(bracketed, ":")
	if !keyed {
		return attribute{}, false
	}
	dictionary = source + strings.ToLower(dictionary) + ":"
	switch {
	case dictionary == boxMetadata:
		return attribute{name, text}, true
	case dictionary == "@resource"+blobTags+":" || dictionary == "@request"+blobTags+":":
		// A tag's key says itself that its letters count.
		if key, ok := strings.CutSuffix(key, exactKey); ok {
			return attribute{dictionary + key + "]", text}, true
		}
	}
	return attribute{}, false
}

// valuesOf are an attribute's values in a question; ok is false when the
// question has none, as listing has no path.
func (a attribute) valuesOf(q question) (values []string, ok bool) {
	one := func(value string, ok bool) ([]string, bool) { return []string{value}, ok }
	switch a.name {
	case accountName:
		return one(segment(q.asked, 8, "storageAccounts"))
	case containerName:
		return one(segment(q.asked, 12, "containers"))
	case blobPath:
		return one(q.blob, q.blob != "")
	case blobPrefix:
		return one(q.prefix, q.sub == blobList)
	case blobCurrent: // there are neither versions nor snapshots
		return one("true", q.blob != "")
	case privateLink:
		return one("false", true)
	case utcNow:
		if q.clock == nil {
			return nil, false
		}
		return one(q.clock.Now().UTC().Format(time.RFC3339Nano), true)
	}
	if q.attributes == nil {
		return nil, false
	}
	return q.attributes.Attribute(a.name)
}

// storage says that the attribute is a storage service's to know: of storage,
// and not part of every question.
func (a attribute) storage() bool {
	switch a.name {
	case accountName, containerName, blobPath, blobPrefix, blobCurrent:
		return false
	}
	return strings.Contains(a.name, "[microsoft.storage/")
}

// readsStorage reports whether a condition reads such an attribute.
func (c *condition) readsStorage() bool { return c != nil && c.root != nil && c.root.readsStorage() }

func (n *conditionNode) readsStorage() bool {
	if c := n.comparison; c != nil && (c.left.storage() || c.right != nil && c.right.storage()) {
		return true
	}
	return slices.ContainsFunc(n.kids, (*conditionNode).readsStorage)
}

// segment is the name at a place of a storage scope, if what stands before it
// is its kind: /subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/
// storageAccounts/A/blobServices/default/containers/C.
func segment(scope string, at int, kind string) (string, bool) {
	seg := strings.Split(scope, "/")
	if len(seg) <= at || !strings.EqualFold(seg[6], "Microsoft.Storage") || !strings.EqualFold(seg[at-1], kind) {
		return "", false
	}
	return seg[at], seg[at] != ""
}

// literal reports whether a condition may compare a value of this kind with
// the text.
func (k kind) literal(text string) bool {
	var err error
	switch k {
	case boolean:
		return strings.EqualFold(text, "true") || strings.EqualFold(text, "false")
	case dateTime:
		_, err = time.Parse(time.RFC3339Nano, text)
	}
	return err == nil
}

// ErrAttribute says that a condition speaks of something that is not evaluated
// here and would therefore never grant.
var ErrAttribute = errors.New("it reads attributes that are not evaluated")

// CheckCondition says whether a condition can be parsed and evaluated.
func CheckCondition(source string) error {
	c := compileCondition(source)
	if c == nil {
		return nil
	}
	if c.root == nil {
		return errCondition
	}
	if text := c.root.strange(); text != "" {
		return fmt.Errorf("%w: %s", ErrAttribute, text)
	}
	return nil
}

// strange is the text of the first part that is not known; "" if there is none.
func (n *conditionNode) strange() string {
	if n.kind == attributeNode && n.comparison == nil {
		return n.text
	}
	for _, kid := range n.kids {
		if text := kid.strange(); text != "" {
			return text
		}
	}
	return ""
}
