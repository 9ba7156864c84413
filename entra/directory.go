package entra

import (
	"errors"
	"fmt"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// PutPrincipal creates or replaces a principal. An application id and a
// resource id belong to one principal each.
func (s *Service) PutPrincipal(tx store.Tx, p azure.Principal) error {
	if p.ObjectID == "" {
		return errors.New("entra: a principal needs an object id")
	}
	if p.TenantID == "" {
		p.TenantID = s.deps.TenantID
	}
	for _, index := range indexes(p) {
		if owner, taken := tx.Get(index.bucket, index.key); taken && string(owner) != fold(p.ObjectID) {
			return fmt.Errorf("entra: %q already belongs to principal %s", index.key, owner)
		}
	}
	if old, exists := s.Principal(tx, p.ObjectID); exists {
		if err := dropIndexes(tx, old); err != nil {
			return err
		}
		if fold(old.AppID) != fold(p.AppID) {
			if err := dropCredentials(tx, old.AppID); err != nil {
				return err
			}
		}
	}
	for _, index := range indexes(p) {
		if err := tx.Put(index.bucket, index.key, []byte(fold(p.ObjectID))); err != nil {
			return err
		}
	}
	return putRecord(tx, principalsBucket, []byte(fold(p.ObjectID)), p)
}

// DeletePrincipal removes a principal with its credentials and memberships; one that does not
// exist is no error. Tokens already issued stay valid until they expire, new
// ones are refused from the commit on.
func (s *Service) DeletePrincipal(tx store.Tx, objectID string) error {
	p, ok := s.Principal(tx, objectID)
	if !ok {
		return nil
	}
	if err := dropIndexes(tx, p); err != nil {
		return err
	}
	if err := dropCredentials(tx, p.AppID); err != nil {
		return err
	}
	if err := tx.Delete(passwordsBucket, []byte(fold(objectID))); err != nil {
		return err
	}
	if err := s.dropMemberships(tx, objectID); err != nil {
		return err
	}
	if err := tx.Delete(principalsBucket, []byte(fold(objectID))); err != nil {
		return err
	}
	tx.OnCommit(func() {
		s.issued.drop(func(k tokenKey) bool { return k.objectID == fold(objectID) })
	})
	return nil
}

// Principal looks a principal up by object id.
func (s *Service) Principal(tx store.ReadTx, objectID string) (azure.Principal, bool) {
	return getRecord[azure.Principal](tx, principalsBucket, []byte(fold(objectID)))
}

// PrincipalByAppID looks a principal up by client id.
func (s *Service) PrincipalByAppID(tx store.ReadTx, appID string) (azure.Principal, bool) {
	return s.indexed(tx, byAppBucket, appID)
}

// PrincipalByResourceID looks up the identity of an ARM resource: a
// user-assigned identity by its own id, a system-assigned one by the id of the
// resource it belongs to.
func (s *Service) PrincipalByResourceID(tx store.ReadTx, resourceID string) (azure.Principal, bool) {
	return s.indexed(tx, byResourceBucket, resourceID)
}

// Principals lists all principals in the order of their object ids.
func (s *Service) Principals(tx store.ReadTx) []azure.Principal {
	var all []azure.Principal
	for key := range tx.Scan(principalsBucket, nil, nil) {
		if p, ok := s.Principal(tx, string(key)); ok {
			all = append(all, p)
		}
	}
	return all
}

func (s *Service) indexed(tx store.ReadTx, bucket, value string) (azure.Principal, bool) {
	if value == "" {
		return azure.Principal{}, false
	}
	objectID, ok := tx.Get(bucket, []byte(fold(value)))
	if !ok {
		return azure.Principal{}, false
	}
	return s.Principal(tx, string(objectID))
}

type indexEntry struct {
	bucket string
	key    []byte
}

func indexes(p azure.Principal) []indexEntry {
	var out []indexEntry
	if p.AppID != "" {
		out = append(out, indexEntry{byAppBucket, []byte(fold(p.AppID))})
	}
	if p.ResourceID != "" {
		out = append(out, indexEntry{byResourceBucket, []byte(fold(p.ResourceID))})
	}
	return out
}

func dropIndexes(tx store.Tx, p azure.Principal) error {
	for _, index := range indexes(p) {
		if err := tx.Delete(index.bucket, index.key); err != nil {
			return err
		}
	}
	return nil
}

// fold is the form ids are keyed by: GUIDs and ARM ids have no letter case.
func fold(id string) string { return strings.ToLower(strings.TrimRight(id, "/")) }
