package machinelearning

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// connectionName is the published pattern.
var connectionName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$`)

// The members whose kind matters, as in shape.go.
var (
	connectionObjects = []string{"properties", "properties.credentials", "properties.metadata"}
	connectionTexts   = []string{"properties.authType", "properties.category", "properties.target"}
)

// dataCategories are the connections that stand for datastores; a list has them
// only when it is asked for everything.
var dataCategories = []string{"AzureBlob", "ADLSGen2", "AzureOneLake"}

// putConnection answers 200 for a new connection too: azure-ai-ml takes nothing
// else.
func (p *Provider) putConnection(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if !connectionName.MatchString(r.Name) {
		return errConnection("The connection name '%s' is invalid. It must be 3 to 33 characters long, begin with a letter or digit, and consist of letters, digits, dashes and underscores.", r.Name)
	}
	return p.writeConnection(w, r, doc, func(*arm.Record) (properties, error) {
		return readConnection(doc, nil)
	})
}

// patchConnection changes what its body names. Credentials that are named
// replace the old ones as a whole, and so does the metadata.
func (p *Provider) patchConnection(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	return p.writeConnection(w, r, doc, func(old *arm.Record) (properties, error) {
		if old == nil {
			return properties{}, arm.NotFound(r.ID)
		}
		kept, err := p.credentials(old)
		if err != nil {
			return properties{}, err
		}
		merged := old.Document.Clone()
		merged.Set(map[string]any(old.Document.Object("properties").Merge(doc.Object("properties"))), "properties")
		return readConnection(merged, kept)
	})
}

// properties are a connection's as they are stored: what everyone may read, and
// the credentials apart.
type properties struct {
	plain       arm.Document
	credentials arm.Document // nil for kinds that have none
}

// readConnection takes a body apart. kept are the credentials in force, for a
// body that names none.
func readConnection(doc arm.Document, kept arm.Document) (out properties, err error) {
	plain := doc.Object("properties").Clone()
	if plain.String("category") == "" {
		return out, errConnection("properties.category is required.")
	}
	kind, err := authKindOf(plain.String("authType"))
	if err != nil {
		return out, err
	}
	plain["authType"] = kind.name
	if plain["value"] != nil {
		return out, errConnection("properties.value is of an older api-version than this emulator takes; send properties.credentials.")
	}
	for name, value := range plain.Object("metadata") {
		if _, text := value.(string); !text && value != nil {
			return out, errConnection("properties.metadata.%s must be a string.", name)
		}
	}
	given := plain.Object("credentials")
	if given == nil {
		given = kept
	}
	if out.credentials, err = kind.read(given); err != nil {
		return out, err
	}
	plain["credentials"] = nil // there for clients that look for the member
	plain.Default(map[string]any{}, "metadata")
	out.plain = plain
	return out, nil
}

// writeConnection checks, seals and stores, and answers without credentials.
func (p *Provider) writeConnection(w http.ResponseWriter, r *arm.Request, doc arm.Document, change func(old *arm.Record) (properties, error)) error {
	if err := checkShape(doc, connectionObjects, connectionTexts); err != nil {
		return err
	}
	var rec *arm.Record
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		ws, err := workspaceOf(tx, r.ID)
		if err != nil {
			return err
		}
		old, exists, err := arm.Get(tx, r.ID.String())
		if err != nil {
			return err
		}
		if !exists {
			old = nil
		}
		wanted, err := change(old)
		if err != nil {
			return err
		}
		if rec = old; rec == nil {
			rec = &arm.Record{ID: r.ID.String(), Type: connectionType}
		}
		wanted.plain["createdByWorkspaceArmId"] = ws.ID
		kept := rec.Document["tags"]
		rec.Document = arm.Document{"properties": map[string]any(wanted.plain)}
		if r.Method == http.MethodPatch && kept != nil {
			rec.Document["tags"] = kept
		}
		if tags := doc.Object("tags"); tags != nil {
			rec.Document["tags"] = map[string]any(tags)
		}
		if rec.Secret, err = p.sealCredentials(rec.ID, wanted.credentials); err != nil {
			return err
		}
		p.stamp(rec, r.Author())
		return arm.Put(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, body(rec))
}

func (p *Provider) listConnections(w http.ResponseWriter, r *arm.Request) error {
	query := r.URL.Query()
	category, target := query.Get("category"), query.Get("target")
	all := strings.EqualFold(query.Get("includeAll"), "true")
	items, err := p.list(r, connectionType, func(rec *arm.Record) bool {
		have := rec.Document.String("properties", "category")
		if _, data := oneOf(have, dataCategories...); data && !all {
			return false
		}
		return (category == "" || strings.EqualFold(have, category)) &&
			(target == "" || rec.Document.String("properties", "target") == target)
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

// listConnectionSecrets is the connection with its credentials.
func (p *Provider) listConnectionSecrets(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.view(r.Context(), r.ID)
	if err != nil {
		return err
	}
	out, err := p.withCredentials(rec)
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, out)
}

// withCredentials is what listsecrets answers.
func (p *Provider) withCredentials(rec *arm.Record) (arm.Document, error) {
	credentials, err := p.credentials(rec)
	if err != nil {
		return nil, err
	}
	out := body(rec)
	if credentials != nil {
		out.Set(map[string]any(credentials), "properties", "credentials")
	}
	return out, nil
}

// sealedMember of a record's Secret holds what the seal closed, in base64.
const sealedMember = "sealed"

func (p *Provider) sealCredentials(id string, credentials arm.Document) (arm.Document, error) {
	if credentials == nil {
		return nil, nil
	}
	raw, err := json.Marshal(credentials)
	if err != nil {
		return nil, fmt.Errorf("credentials of %s: %w", id, err)
	}
	return arm.Document{sealedMember: base64.StdEncoding.EncodeToString(p.deps.Seal.Seal(connectionSeal(id), raw))}, nil
}

func (p *Provider) credentials(rec *arm.Record) (arm.Document, error) {
	sealed := rec.Secret.String(sealedMember)
	if sealed == "" {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, fmt.Errorf("credentials of %s: %w", rec.ID, err)
	}
	if raw, err = p.deps.Seal.Open(connectionSeal(rec.ID), raw); err != nil {
		return nil, fmt.Errorf("credentials of %s: %w", rec.ID, err)
	}
	var out arm.Document
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("credentials of %s: %w", rec.ID, err)
	}
	return out, nil
}

// connectionSeal is the name credentials are sealed under.
func connectionSeal(id string) string {
	return "machinelearning/connection" + azure.MustParseResourceID(id).Key()
}
