package vault

import (
	"net/http"

	"github.com/amlocal/amlocal/internal/httpx"
)

// secretNoun begins every data action of a secret.
const secretNoun = "Microsoft.KeyVault/vaults/secrets/"

const (
	getSecret    = secretNoun + "getSecret/action"
	setSecret    = secretNoun + "setSecret/action"
	readMetadata = secretNoun + "readMetadata/action"
)

// row is an operation and the permission that an access policy must give.
type row struct {
	httpx.Operation
	permission string
}

// operations is the table of the secrets API. A data action is asked at the
// secret's scope, or the vault's where there is none.
func (s *Service) operations() []row {
	const (
		list, secret, version = "/secrets", "/secrets/{name}", "/secrets/{name}/{version}"
		deletedList, deleted  = "/deletedsecrets", "/deletedsecrets/{name}"
	)
	on := func(name, method, pattern, action, permission string, h handler) row {
		return row{permission: permission, Operation: httpx.Operation{
			Name: "vault." + name, Method: method, Pattern: pattern, Action: action, Data: true, Scope: scopeOf, Handler: h,
		}}
	}
	rows := []row{
		on("RestoreSecret", http.MethodPost, "/secrets/restore", secretNoun+"restore/action", "restore", s.restore),
		on("GetSecrets", http.MethodGet, list, readMetadata, "list", s.list),
		on("GetSecretVersions", http.MethodGet, "/secrets/{name}/versions", readMetadata, "list", s.listVersions),
		on("BackupSecret", http.MethodPost, "/secrets/{name}/backup", secretNoun+"backup/action", "backup", s.backup),
		on("SetSecret", http.MethodPut, secret, setSecret, "set", s.set),
		on("GetSecret", http.MethodGet, secret, getSecret, "get", s.get),
		on("GetSecretVersion", http.MethodGet, version, getSecret, "get", s.get),
		on("UpdateSecret", http.MethodPatch, secret, secretNoun+"update/action", "set", s.update),
		on("UpdateSecretVersion", http.MethodPatch, version, secretNoun+"update/action", "set", s.update),
		on("DeleteSecret", http.MethodDelete, secret, secretNoun+"delete", "delete", s.delete),
		on("GetDeletedSecrets", http.MethodGet, deletedList, readMetadata, "list", s.listDeleted),
		on("GetDeletedSecret", http.MethodGet, deleted, readMetadata, "get", s.getDeleted),
		on("RecoverDeletedSecret", http.MethodPost, "/deletedsecrets/{name}/recover", secretNoun+"recover/action", "recover", s.recover),
		on("PurgeDeletedSecret", http.MethodDelete, deleted, secretNoun+"purge/action", "purge", s.purge),
	}
	// Whatever else a vault holds is named, so that a client learns that it is
	// the emulator that cannot.
	for _, other := range []struct{ noun, what string }{
		{"keys", "keys"}, {"deletedkeys", "keys"}, {"certificates", "certificates"}, {"deletedcertificates", "certificates"},
		{"storage", "managed storage accounts"}, {"deletedstorage", "managed storage accounts"}, {"rng", "random numbers"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
			rows = append(rows, row{Operation: httpx.Operation{
				Name: "vault." + other.noun + "." + method, Method: method, Pattern: "/" + other.noun + "{rest:(?:/.*)?}",
				Handler: func(http.ResponseWriter, *http.Request) error { return errNotImplemented(other.what) },
			}})
		}
	}
	return rows
}

type handler = func(http.ResponseWriter, *http.Request) error
