package vault

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/seal"
	"github.com/amlocal/amlocal/store"
)

func TestPaging(t *testing.T) {
	w := officer(t)
	for i := range 30 {
		w.set(byRoles, fmt.Sprintf("s%02d", i), "x")
	}
	w.set(byRoles, "s00", "y")
	w.vaults["roles2"] = &Vault{Name: "roles2", ResourceID: vaultID + "roles2", Location: "eastus", TenantID: tenant, Policies: []Policy{{TenantID: tenant, ObjectID: alice.ObjectID, Secrets: []string{"all"}}}}
	w.set("roles2", "elsewhere", "x")
	for _, tt := range []struct {
		path  string
		sizes []int
	}{
		{"/secrets", []int{25, 5}}, {"/secrets?api-version=7.4&maxresults=10", []int{10, 10, 10}}, {"/secrets/s00/versions?api-version=7.4&maxresults=1", []int{1, 1}},
		{"/secrets/nothing/versions", []int{0}}, {"/deletedsecrets", []int{0}},
	} {
		seen := map[string]bool{}
		next := tt.path
		var sizes []int
		for next != "" {
			a := w.want(http.StatusOK, alice, http.MethodGet, byRoles, next, "")
			sizes = append(sizes, len(a.items))
			for _, item := range a.items {
				if seen[item.ID] || item.Value != nil || item.Attributes.Enabled == nil {
					t.Errorf("%s: %+v", tt.path, item)
				}
				seen[item.ID] = true
			}
			next = a.body.Next
		}
		if fmt.Sprint(sizes) != fmt.Sprint(tt.sizes) {
			t.Errorf("%s: pages of %v, want %v", tt.path, sizes, tt.sizes)
		}
	}
}

func TestSoftDelete(t *testing.T) {
	w := officer(t)
	w.vaults[byRoles].RetentionDays = 7
	version := w.set(byRoles, "Name", "one")
	w.set(byRoles, "name", "two")
	a := w.want(http.StatusOK, alice, http.MethodDelete, byRoles, "/secrets/name", "")
	if a.body.RecoveryID != "https://roles.vault.azure.net/deletedsecrets/Name" || a.body.ScheduledDate-a.body.DeletedDate != 7*24*3600 || a.body.Attributes.RecoveryLevel != "CustomizedRecoverable+Purgeable" || a.body.Value != nil {
		t.Error(a.raw)
	}
	for _, path := range []string{"/secrets/name", "/secrets/name/" + version} {
		w.want(http.StatusNotFound, alice, http.MethodGet, byRoles, path, "")
	}
	if got := w.want(http.StatusOK, alice, http.MethodGet, byRoles, "/secrets/name/versions", ""); len(got.items) != 0 {
		t.Error(got.raw)
	}
	if got := w.want(http.StatusOK, alice, http.MethodGet, byRoles, "/deletedsecrets", ""); len(got.items) != 1 || got.items[0].RecoveryID == "" {
		t.Error(got.raw)
	}
	if got := w.want(http.StatusConflict, alice, http.MethodPut, byRoles, "/secrets/NAME", `{"value":"x"}`); got.body.Error.Inner.Code != "ObjectIsDeletedButRecoverable" || !strings.HasPrefix(got.body.Error.Message, "Secret Name is currently in a deleted but recoverable state") {
		t.Error(got.raw)
	}
	w.want(http.StatusOK, alice, http.MethodPost, byRoles, "/deletedsecrets/name/recover", "")
	if got := w.want(http.StatusOK, alice, http.MethodGet, byRoles, "/secrets/name/"+version, ""); got.value() != "one" {
		t.Error(got.raw)
	}
	// Protected, it waits for its time; then it is gone with its versions.
	w.vaults[byRoles].PurgeProtection = true
	w.want(http.StatusOK, alice, http.MethodDelete, byRoles, "/secrets/name", "")
	w.want(http.StatusForbidden, alice, http.MethodDelete, byRoles, "/deletedsecrets/name", "")
	w.clock.Advance(7 * 24 * time.Hour)
	w.want(http.StatusNotFound, alice, http.MethodGet, byRoles, "/deletedsecrets/name", "")
	w.want(http.StatusNotFound, alice, http.MethodPost, byRoles, "/deletedsecrets/name/recover", "")
	w.set(byRoles, "name", "three")
	w.want(http.StatusNotFound, alice, http.MethodGet, byRoles, "/secrets/name/"+version, "")
	if got := w.want(http.StatusOK, alice, http.MethodGet, byRoles, "/secrets/name/versions", ""); len(got.items) != 1 {
		t.Error(got.raw)
	}
}

func TestBackupGoesToAnotherVault(t *testing.T) {
	w := officer(t)
	w.set(byRoles, "name", "hidden-one")
	w.set(byRoles, "name", "hidden-two")
	a := w.want(http.StatusOK, alice, http.MethodPost, byRoles, "/secrets/name/backup", "")
	if strings.Contains(a.value(), "hidden") || len(a.value()) < 100 {
		t.Error(a.raw)
	}
	body := `{"value":"` + a.value() + `"}`
	w.want(http.StatusOK, alice, http.MethodPost, byRule, "/secrets/restore", body)
	if got := w.want(http.StatusOK, alice, http.MethodGet, byRule, "/secrets/name", ""); got.value() != "hidden-two" {
		t.Error(got.raw)
	}
	w.want(http.StatusConflict, alice, http.MethodPost, byRule, "/secrets/restore", body)
	w.want(http.StatusBadRequest, alice, http.MethodPost, byRule, "/secrets/restore", `{"value":"`+a.value()[:len(a.value())-4]+`AAAA"}`)
}

// TestAtRest: values lie encrypted beside their key, survive a restart with it,
// and without it nothing pretends.
func TestAtRest(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "seal.key")
	open := func() (*store.Store, *Service, error) {
		docs, err := store.Open(t.Context(), filepath.Join(dir, "store"), store.Options{Durability: store.Process, Clock: w.clock})
		if err != nil {
			t.Fatal(err)
		}
		sealer, err := seal.Open(key)
		if err != nil {
			t.Fatal(err)
		}
		svc, err := New(Deps{Documents: docs, Seal: sealer, Clock: w.clock, Audit: w.audit, Authorizer: w.index, Verifier: verifier{w}, Vaults: w.vaults})
		if err != nil {
			_ = docs.Close()
		}
		return docs, svc, err
	}
	w.grant(alice, "Key Vault Secrets User", vaultID+byRoles)
	docs, svc, err := open()
	if err != nil {
		t.Fatal(err)
	}
	const value = "a value that must not lie about"
	if err := docs.Update(t.Context(), func(tx store.Tx) error { return svc.Put(tx, *w.vaults[byRoles], "name", value) }); err != nil {
		t.Fatal(err)
	}
	if err := docs.Close(); err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(value)) || bytes.Contains(raw, []byte(value[8:20])) {
			t.Errorf("%s holds the value", path)
		}
		return err
	})
	if err != nil || files < 2 {
		t.Fatal(files, err)
	}
	docs, svc, err = open()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := svc.Read(t.Context(), alice, byRoles, "name", ""); err != nil || got != value {
		t.Errorf("after a restart: %q %v", got, err)
	}
	if err := docs.Close(); err != nil {
		t.Fatal(err)
	}
	// Another key opens nothing.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	docs, svc, err = open()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := svc.Read(t.Context(), alice, byRoles, "name", ""); err == nil || got != "" {
		t.Errorf("with another key: %q %v", got, err)
	}
	if err := docs.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDeleteVault(t *testing.T) {
	w := officer(t)
	w.set(byRoles, "a", "x")
	w.set(byRule, "a", "x")
	if err := w.store.Update(t.Context(), func(tx store.Tx) error { return w.svc.DeleteVault(tx, "ROLES") }); err != nil {
		t.Fatal(err)
	}
	w.want(http.StatusNotFound, alice, http.MethodGet, byRoles, "/secrets/a", "")
	w.want(http.StatusOK, alice, http.MethodGet, byRule, "/secrets/a", "")
}
