package vault

import (
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/store"
)

// recoveryLevel is how deleted secrets of the vault can come back.
func recoveryLevel(v Vault) string {
	level := "Recoverable"
	if v.RetentionDays < 90 {
		level = "CustomizedRecoverable"
	}
	if !v.PurgeProtection {
		level += "+Purgeable"
	}
	return level
}

// secretID is the address of a secret, or of one of its versions.
func secretID(v Vault, noun, name, version string) string {
	id := "https://" + strings.ToLower(v.Name) + hostSuffix + "/" + noun + "/" + name
	if version != "" {
		id += "/" + version
	}
	return id
}

// bundleOf is a version as answered, without its value.
func bundleOf(v Vault, rec secret, id string, ver version) bundle {
	b := bundle{
		ID: secretID(v, "secrets", rec.Name, id), ContentType: ver.ContentType, Tags: ver.Tags,
		Attributes: attributes{
			Enabled: &ver.Enabled, NotBefore: ver.NotBefore, Expires: ver.Expires, Created: unix(ver.Created), Updated: unix(ver.Updated),
			RecoveryLevel: recoveryLevel(v), RecoverableDays: v.RetentionDays,
		},
	}
	if rec.isDeleted() {
		b.RecoveryID = secretID(v, "deletedsecrets", rec.Name, "")
		b.DeletedDate, b.ScheduledDate = unix(rec.Deleted), unix(rec.Purge)
	}
	return b
}

// lookup finds a version of a secret that is not deleted; "" is the latest.
func (s *Service) lookup(tx store.ReadTx, vault, name, id string) (secret, string, version, error) {
	rec, ok, err := s.load(tx, vault, name)
	if err != nil || !ok || rec.isDeleted() {
		return rec, "", version{}, orNotFound(err, name, id)
	}
	if id == "" {
		id = rec.Current
	}
	ver, ok, err := get[version](tx, versionBucket, key(vault, name, id))
	if err != nil || !ok {
		return rec, "", ver, orNotFound(err, name, id)
	}
	return rec, strings.ToLower(id), ver, nil
}

func orNotFound(err error, name, id string) error {
	if err != nil {
		return err
	}
	return errSecretNotFound(name, id)
}

func (s *Service) get(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	var b bundle
	err := s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		rec, id, ver, err := s.lookup(tx, t.found.Name, t.name, t.version)
		if err != nil {
			return err
		}
		if !ver.Enabled {
			return errDisabled()
		}
		value, err := s.unseal(ver.Value, key(t.found.Name, t.name, id))
		if err != nil {
			return err
		}
		b = bundleOf(t.found, rec, id, ver)
		b.Value = &value
		return nil
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, b)
}

func (s *Service) set(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	want, err := readSettings(r)
	if err != nil {
		return err
	}
	if want.Value == nil {
		return badParameter("The request body must have the property value.")
	}
	var b bundle
	err = s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		b, err = s.add(tx, t.found, t.name, want)
		return err
	})
	if err != nil {
		return err
	}
	b.Value = want.Value
	return reply(w, http.StatusOK, b)
}

// add makes a new version of a secret, and the secret if need be.
func (s *Service) add(tx store.Tx, v Vault, name string, want settings) (bundle, error) {
	rec, ok, err := s.load(tx, v.Name, name)
	if err != nil {
		return bundle{}, err
	}
	switch {
	case !ok:
		// Versions of a secret whose retention is over may still lie there.
		if err := s.erase(tx, v.Name, name); err != nil {
			return bundle{}, err
		}
		rec = secret{Name: name}
	case rec.isDeleted():
		return bundle{}, errDeletedButRecoverable(rec.Name)
	}
	id := newVersion()
	now := s.now()
	ver := version{Enabled: true, Created: now, Updated: now, Value: s.seal(*want.Value, key(v.Name, name, id))}
	ver.change(want)
	rec.Current = id
	if err := put(tx, versionBucket, key(v.Name, name, id), ver); err != nil {
		return bundle{}, err
	}
	return bundleOf(v, rec, id, ver), put(tx, secretBucket, key(v.Name, name), rec)
}

func newVersion() string {
	id := uuid.New()
	return hex.EncodeToString(id[:])
}

// change lays what a client set upon a version; what it did not name stays.
func (ver *version) change(want settings) {
	if want.ContentType != nil {
		ver.ContentType = *want.ContentType
	}
	if want.Tags != nil {
		ver.Tags = want.Tags
	}
	if a := want.Attributes; a != nil {
		if a.Enabled != nil {
			ver.Enabled = *a.Enabled
		}
		if a.NotBefore != nil {
			ver.NotBefore = a.NotBefore
		}
		if a.Expires != nil {
			ver.Expires = a.Expires
		}
	}
}

func (s *Service) update(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	want, err := readSettings(r)
	if err != nil {
		return err
	}
	var b bundle
	err = s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, id, ver, err := s.lookup(tx, t.found.Name, t.name, t.version)
		if err != nil {
			return err
		}
		ver.change(want)
		ver.Updated = s.now()
		b = bundleOf(t.found, rec, id, ver)
		return put(tx, versionBucket, key(t.found.Name, t.name, id), ver)
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, b)
}
