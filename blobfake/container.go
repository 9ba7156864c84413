package blobfake

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/store"
)

func validContainerName(name string) error {
	switch name {
	case "$root", "$web", "$logs":
		return nil
	}
	if len(name) < 3 || len(name) > 63 {
		return errNameLength()
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Contains(name, "--") ||
		name[0] == '-' || name[len(name)-1] == '-' {
		return errInvalidName()
	}
	return nil
}

// loadContainer is the container or ContainerNotFound.
func loadContainer(tx store.ReadTx, account, name string) (container, error) {
	c, ok, err := get[container](tx, containerBucket, key(account, name))
	if err != nil {
		return c, err
	}
	if !ok {
		if err := validContainerName(name); err != nil {
			return c, err
		}
		return c, errContainerNotFound()
	}
	return c, nil
}

func (s *Service) createContainer(tx store.Tx, account, name string, public PublicAccess, metadata map[string]string) (created bool, err error) {
	if err := validContainerName(name); err != nil {
		return false, err
	}
	k := key(account, name)
	if _, ok := tx.Get(containerBucket, k); ok {
		return false, nil
	}
	now, v, err := s.stamp(tx)
	if err != nil {
		return false, err
	}
	return true, put(tx, containerBucket, k, container{Created: now, Modified: now, Version: v, Public: public, Metadata: metadata})
}

func (s *Service) putContainer(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	metadata, err := requestMetadata(r.Header)
	if err != nil {
		return err
	}
	public, err := publicAccess(r)
	if err != nil {
		return err
	}
	var c container
	err = s.docs.Update(r.Context(), func(tx store.Tx) error {
		created, err := s.createContainer(tx, t.account, t.container, public, metadata)
		if err != nil {
			return err
		}
		if !created {
			return errContainerExists()
		}
		c, err = loadContainer(tx, t.account, t.container)
		return err
	})
	if err != nil {
		return err
	}
	setValidators(w.Header(), etag(c.Version), c.Modified)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// getContainer answers Get Container Properties and Get Container Metadata.
func (s *Service) getContainer(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	var c container
	if err := s.docs.View(r.Context(), func(tx store.ReadTx) (err error) {
		c, err = loadContainer(tx, t.account, t.container)
		return err
	}); err != nil {
		return err
	}
	h := w.Header()
	setValidators(h, etag(c.Version), c.Modified)
	setMetadata(h, c.Metadata)
	if !t.query.has("comp") {
		setIf(h, "x-ms-blob-public-access", string(c.Public))
		h.Set("x-ms-lease-status", "unlocked")
		h.Set("x-ms-lease-state", "available")
		h.Set("x-ms-has-immutability-policy", "false")
		h.Set("x-ms-has-legal-hold", "false")
		h.Set("x-ms-immutable-storage-with-versioning-enabled", "false")
		h.Set("x-ms-default-encryption-scope", "$account-encryption-key")
		h.Set("x-ms-deny-encryption-scope-override", "false")
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) setContainerMetadata(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	metadata, err := requestMetadata(r.Header)
	if err != nil {
		return err
	}
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	var c container
	err = s.docs.Update(r.Context(), func(tx store.Tx) (err error) {
		if c, err = loadContainer(tx, t.account, t.container); err != nil {
			return err
		}
		if err := cond.checkWrite(true, etag(c.Version), c.Modified); err != nil {
			return err
		}
		c.Metadata = metadata
		if c.Modified, c.Version, err = s.stamp(tx); err != nil {
			return err
		}
		return put(tx, containerBucket, key(t.account, t.container), c)
	})
	if err != nil {
		return err
	}
	setValidators(w.Header(), etag(c.Version), c.Modified)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) deleteContainer(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	err = s.docs.Update(r.Context(), func(tx store.Tx) error {
		c, err := loadContainer(tx, t.account, t.container)
		if err != nil {
			return err
		}
		if err := cond.checkWrite(true, etag(c.Version), c.Modified); err != nil {
			return err
		}
		return s.removeContainer(tx, t.account, t.container)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// removeContainer deletes a container and everything in it.
func (s *Service) removeContainer(tx store.Tx, account, name string) error {
	if err := s.removeContent(tx, prefixOf(account, name)); err != nil {
		return err
	}
	return tx.Delete(containerBucket, key(account, name))
}

// removeContent deletes all blobs and blocks below a key prefix.
func (s *Service) removeContent(tx store.Tx, prefix []byte) error {
	for _, k := range keysBelow(tx, blobBucket, prefix) {
		b, _, err := get[blob](tx, blobBucket, k)
		if err != nil {
			return err
		}
		if err := s.unrefBlocks(tx, b.Blocks); err != nil {
			return err
		}
		if err := tx.Delete(blobBucket, k); err != nil {
			return err
		}
	}
	return s.removeStaged(tx, prefix)
}

// keysBelow collects keys: a bucket must not be written while it is scanned.
func keysBelow(tx store.ReadTx, bucket string, prefix []byte) [][]byte {
	var keys [][]byte
	for k := range tx.Scan(bucket, prefix, nil) {
		keys = append(keys, k)
	}
	return keys
}
