package vault

import (
	"net/http"

	"github.com/amlocal/amlocal/store"
)

func (s *Service) delete(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	var b bundle
	err := s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, id, ver, err := s.lookup(tx, t.found.Name, t.name, "")
		if err != nil {
			return err
		}
		rec.Deleted = s.now()
		rec.Purge = rec.Deleted.AddDate(0, 0, t.found.RetentionDays)
		b = bundleOf(t.found, rec, id, ver)
		return put(tx, secretBucket, key(t.found.Name, t.name), rec)
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, b)
}

// lookupDeleted finds a deleted secret and its latest version.
func (s *Service) lookupDeleted(tx store.ReadTx, vault, name string) (secret, version, error) {
	rec, ok, err := s.load(tx, vault, name)
	if err == nil && (!ok || !rec.isDeleted()) {
		err = errDeletedNotFound(name)
	}
	if err != nil {
		return rec, version{}, err
	}
	ver, _, err := get[version](tx, versionBucket, key(vault, name, rec.Current))
	return rec, ver, err
}

func (s *Service) getDeleted(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	var b bundle
	err := s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		rec, ver, err := s.lookupDeleted(tx, t.found.Name, t.name)
		b = bundleOf(t.found, rec, rec.Current, ver)
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, b)
}

func (s *Service) recover(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	var b bundle
	err := s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, ver, err := s.lookupDeleted(tx, t.found.Name, t.name)
		if err != nil {
			return err
		}
		restored := secret{Name: rec.Name, Current: rec.Current}
		b = bundleOf(t.found, restored, rec.Current, ver)
		return put(tx, secretBucket, key(t.found.Name, t.name), restored)
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, b)
}

func (s *Service) purge(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	err := s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		if _, _, err := s.lookupDeleted(tx, t.found.Name, t.name); err != nil {
			return err
		}
		if t.found.PurgeProtection {
			return errPurgeProtected()
		}
		return s.erase(tx, t.found.Name, t.name)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
