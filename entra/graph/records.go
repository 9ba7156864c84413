package graph

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// applicationsBucket keeps applications made here: lower-case client id to JSON.
const applicationsBucket = "graph.applications"

// application is an application object. One that was made by other means, as
// the seeded owner's, has no record until it is changed.
type application struct {
	ID             string                `json:"id"`
	AppID          string                `json:"appId"`
	DisplayName    string                `json:"displayName"`
	Created        time.Time             `json:"created,omitzero"`
	IdentifierURIs []string              `json:"identifierUris,omitempty"`
	Passwords      []password            `json:"passwords,omitempty"`
	Keys           []keyCredential       `json:"keys,omitempty"`
	Federated      []federatedCredential `json:"federated,omitempty"`
}

// password is what may be told of one after it was made.
type password struct {
	KeyID       string    `json:"keyId"`
	DisplayName string    `json:"displayName,omitempty"`
	Hint        string    `json:"hint"`
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
}

// applicationIDs is the name space of the object ids of applications without a
// record: they have to be the same each time.
var applicationIDs = uuid.MustParse("5d0c6a0e-6a3a-4f0f-9f5e-0a9c3d1b7e42")

// implied is the application behind a service principal that has no record.
func implied(p azure.Principal) application {
	return application{ID: uuid.NewSHA1(applicationIDs, []byte(strings.ToLower(p.AppID))).String(), AppID: p.AppID, DisplayName: p.Name}
}

// applications lists all, those of managed identities excepted: they have none.
func (s *Service) applications(tx store.ReadTx) []application {
	var out []application
	known := map[string]bool{}
	for key, value := range tx.Scan(applicationsBucket, nil, nil) {
		var app application
		if json.Unmarshal(value, &app) == nil {
			out = append(out, app)
			known[string(key)] = true
		}
	}
	for _, p := range s.deps.Directory.Principals(tx) {
		if p.Type == azure.ServicePrincipal && p.AppID != "" && !p.IsManagedIdentity() && !known[strings.ToLower(p.AppID)] {
			out = append(out, implied(p))
		}
	}
	return out
}

func (s *Service) applicationByID(tx store.ReadTx, id string) (application, bool) {
	for _, app := range s.applications(tx) {
		if strings.EqualFold(app.ID, id) {
			return app, true
		}
	}
	return application{}, false
}

func (s *Service) applicationByAppID(tx store.ReadTx, appID string) (application, bool) {
	for _, app := range s.applications(tx) {
		if strings.EqualFold(app.AppID, appID) {
			return app, true
		}
	}
	return application{}, false
}

func putApplication(tx store.Tx, app application) error {
	raw, err := json.Marshal(app)
	if err != nil {
		return err
	}
	return tx.Put(applicationsBucket, []byte(strings.ToLower(app.AppID)), raw)
}

// object is the application as Graph shows it.
func (a application) object() object {
	passwords, keys := []object{}, []object{}
	for _, k := range a.Keys {
		keys = append(keys, k.object())
	}
	for _, p := range a.Passwords {
		passwords = append(passwords, p.object())
	}
	o := object{
		"@odata.type": "#microsoft.graph.application", "id": a.ID, "appId": a.AppID, "displayName": a.DisplayName,
		"identifierUris": append([]string{}, a.IdentifierURIs...), "signInAudience": "AzureADMyOrg", "passwordCredentials": passwords,
		"keyCredentials": keys, "requiredResourceAccess": []string{}, "appRoles": []string{}, "tags": []string{},
		"web":          object{"redirectUris": []string{}, "homePageUrl": nil},
		"publicClient": object{"redirectUris": []string{}}, "spa": object{"redirectUris": []string{}}, "deletedDateTime": nil,
	}
	if !a.Created.IsZero() {
		o["createdDateTime"] = a.Created.UTC().Format(time.RFC3339)
	}
	return o
}

func (p password) object() object {
	return object{
		"keyId": p.KeyID, "displayName": p.DisplayName, "hint": p.Hint, "secretText": nil, "customKeyIdentifier": nil,
		"startDateTime": p.Start.UTC().Format(time.RFC3339), "endDateTime": p.End.UTC().Format(time.RFC3339),
	}
}
