package kubernetes_test

import (
	"net/http"
	"testing"

	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/arm/kubernetes"
	"github.com/amlocal/amlocal/store"
)

type noAssignments struct{}

func (noAssignments) RemoveUnder(store.Tx, string) error { return nil }

func serve(t *testing.T) *armtest.Server {
	t.Helper()
	e := armtest.New(t)
	p, err := kubernetes.New(kubernetes.Deps{Documents: e.Documents, Clock: e.Clock, Assignments: noAssignments{}})
	if err != nil {
		t.Fatal(err)
	}
	return e.Serve(p.Types())
}

func TestClusters(t *testing.T) {
	s := serve(t)
	owner, reader := s.Owner(), s.Grant(s.Principal("reader"), "Reader", armtest.Group)
	for _, kind := range []string{kubernetes.ManagedClusters, kubernetes.ConnectedClusters} {
		id := armtest.Group + "/providers/" + kind + "/c1"
		s.WantError(http.StatusForbidden, "AuthorizationFailed", reader, http.MethodPut, id, `{"location":"westus"}`)
		s.WantError(http.StatusNotFound, "ResourceNotFound", owner, http.MethodGet, id, "")
		s.WantError(http.StatusBadRequest, "LocationRequired", owner, http.MethodPut, id, `{}`)
		made := s.Want(http.StatusCreated, owner, http.MethodPut, id, `{"location":"West US","properties":{"dnsPrefix":"x"},"id":"/forged"}`)
		if made.Body.String("id") != id || made.Body.String("location") != "westus" || made.Body.String("properties", "dnsPrefix") != "x" ||
			made.Body.String("properties", "provisioningState") != "Succeeded" {
			t.Errorf("made %s", made.Raw)
		}
		s.Want(http.StatusOK, owner, http.MethodPut, id, `{"tags":{"a":"b"}}`)
		s.WantError(http.StatusConflict, "InvalidResourceLocation", owner, http.MethodPut, id, `{"location":"eastus"}`)
		if got := s.Want(http.StatusOK, reader, http.MethodGet, armtest.Group+"/providers/"+kind, ""); len(got.Values()) != 1 {
			t.Errorf("the group's list is %s", got.Raw)
		}
		if got := s.Want(http.StatusOK, reader, http.MethodGet, armtest.Subscription+"/providers/"+kind, ""); len(got.Values()) != 1 {
			t.Errorf("the subscription's list is %s", got.Raw)
		}
		s.Want(http.StatusOK, owner, http.MethodDelete, id, "")
		s.Want(http.StatusNoContent, owner, http.MethodDelete, id, "")
		s.WantError(http.StatusBadRequest, "InvalidResourceName", owner, http.MethodPut, armtest.Group+"/providers/"+kind+"/-c", `{"location":"westus"}`)
	}
}
