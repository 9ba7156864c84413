package vault

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"

	"github.com/amlocal/amlocal/store"
)

// saved is what a backup holds: the secret with its versions, values in clear
// inside the sealed whole.
type saved struct {
	Subscription string             `json:"subscription"`
	Name         string             `json:"name"`
	Current      string             `json:"current"`
	Versions     map[string]version `json:"versions"`
}

// backupPlace is what a backup is sealed for.
var backupPlace = []byte("vault.backup")

func (s *Service) backup(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	var blob saved
	err := s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		rec, _, _, err := s.lookup(tx, t.found.Name, t.name, "")
		if err != nil {
			return err
		}
		blob = saved{Name: rec.Name, Current: rec.Current, Versions: map[string]version{}}
		prefix := prefixOf(t.found.Name, t.name)
		for k := range tx.Scan(versionBucket, prefix, nil) {
			ver, _, err := get[version](tx, versionBucket, k)
			if err != nil {
				return err
			}
			value, err := s.unseal(ver.Value, k)
			if err != nil {
				return err
			}
			ver.Value = []byte(value)
			blob.Versions[string(k[len(prefix):])] = ver
		}
		return nil
	})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(blob)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]string{"value": base64.RawURLEncoding.EncodeToString(s.seal(string(raw), backupPlace))})
}

func (s *Service) restore(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	var body struct {
		Value string `json:"value"`
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	blob, ok := saved{}, json.Unmarshal(raw, &body) == nil
	if ok {
		blob, ok = s.open(body.Value)
	}
	if !ok {
		return badParameter("Backup blob contains invalid or corrupt version.")
	}
	var b bundle
	err = s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		old, exists, err := s.load(tx, t.found.Name, blob.Name)
		switch {
		case err != nil:
			return err
		case exists && old.isDeleted():
			return errDeletedButRecoverable(old.Name)
		case exists:
			return errExists(old.Name)
		}
		if err := s.erase(tx, t.found.Name, blob.Name); err != nil {
			return err
		}
		for id, ver := range blob.Versions {
			k := key(t.found.Name, blob.Name, id)
			ver.Value = s.seal(string(ver.Value), k)
			if err := put(tx, versionBucket, k, ver); err != nil {
				return err
			}
		}
		rec := secret{Name: blob.Name, Current: blob.Current}
		b = bundleOf(t.found, rec, rec.Current, blob.Versions[rec.Current])
		return put(tx, secretBucket, key(t.found.Name, blob.Name), rec)
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, b)
}

func (s *Service) open(value string) (blob saved, ok bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return blob, false
	}
	raw, err := s.unseal(sealed, backupPlace)
	if err != nil {
		return blob, false
	}
	return blob, json.Unmarshal([]byte(raw), &blob) == nil
}
