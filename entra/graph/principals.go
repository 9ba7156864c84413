package graph

import (
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// ofType lists the directory's principals of one type.
func (s *Service) ofType(r *http.Request, kind azure.PrincipalType) (out []object, err error) {
	err = s.view(r.Context(), func(tx store.ReadTx) error {
		for _, p := range s.deps.Directory.Principals(tx) {
			if p.Type == kind {
				out = append(out, s.principalObject(p))
			}
		}
		return nil
	})
	return out, err
}

// find looks up one principal of a type.
func (s *Service) find(r *http.Request, id string, kind azure.PrincipalType) (p azure.Principal, err error) {
	err = s.view(r.Context(), func(tx store.ReadTx) error {
		var ok bool
		if p, ok = s.deps.Directory.Principal(tx, id); !ok || p.Type != kind {
			return errNotFound(id)
		}
		return nil
	})
	return p, err
}

func (s *Service) listPrincipals(w http.ResponseWriter, r *http.Request) error {
	all, err := s.ofType(r, azure.ServicePrincipal)
	if err != nil {
		return err
	}
	return replyList(w, r, "servicePrincipals", all)
}

func (s *Service) getPrincipal(w http.ResponseWriter, r *http.Request) error {
	p, err := s.find(r, variable(r, "id"), azure.ServicePrincipal)
	if err != nil {
		return err
	}
	return replyOne(w, http.StatusOK, "servicePrincipals", s.principalObject(p))
}

func (s *Service) getPrincipalByAppID(w http.ResponseWriter, r *http.Request) error {
	id, p := variable(r, "id"), azure.Principal{}
	err := s.view(r.Context(), func(tx store.ReadTx) error {
		var ok bool
		if p, ok = s.deps.Directory.PrincipalByAppID(tx, id); !ok {
			return errNotFound(id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return replyOne(w, http.StatusOK, "servicePrincipals", s.principalObject(p))
}

// createPrincipal gives an application of this tenant its service principal.
func (s *Service) createPrincipal(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		AppID string `json:"appId"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	var made azure.Principal
	err := s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		app, ok := s.applicationByAppID(tx, body.AppID)
		if !ok {
			return httpx.Errorf(http.StatusBadRequest, "Request_BadRequest",
				"When using this permission, the backing application of the service principal being created must in the local tenant")
		}
		if old, taken := s.deps.Directory.PrincipalByAppID(tx, app.AppID); taken {
			return httpx.Errorf(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue",
				"The service principal cannot be created, updated, or restored because the service principal name %s is already in use (object id %s).", app.AppID, old.ObjectID)
		}
		made = azure.Principal{ObjectID: uuid.NewString(), AppID: app.AppID, TenantID: s.deps.TenantID, Type: azure.ServicePrincipal, Name: app.DisplayName}
		return s.deps.Directory.PutPrincipal(tx, made)
	})
	if err != nil {
		return err
	}
	return replyOne(w, http.StatusCreated, "servicePrincipals", s.principalObject(made))
}

// deletePrincipal removes a service principal. A managed identity's lives and
// dies with its resource.
func (s *Service) deletePrincipal(w http.ResponseWriter, r *http.Request) error {
	id := variable(r, "id")
	err := s.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		p, ok := s.deps.Directory.Principal(tx, id)
		switch {
		case !ok || p.Type != azure.ServicePrincipal:
			return errNotFound(id)
		case p.IsManagedIdentity():
			return errDenied()
		}
		return s.deps.Directory.DeletePrincipal(tx, id)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// getObject is any object of the directory.
func (s *Service) getObject(w http.ResponseWriter, r *http.Request) error {
	id := variable(r, "id")
	found, err := s.byIDs(r, []string{id}, nil)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errNotFound(id)
	}
	found[0]["@odata.context"] = contextURL + "directoryObjects/$entity"
	return reply(w, http.StatusOK, found[0])
}

// getByIDs answers the objects that exist; ids nobody has are left out.
func (s *Service) getByIDs(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		IDs   []string `json:"ids"`
		Types []string `json:"types"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	if len(body.IDs) == 0 || len(body.IDs) > 1000 {
		return errBadRequest("The number of ids must be between 1 and 1000.")
	}
	found, err := s.byIDs(r, body.IDs, body.Types)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, object{"@odata.context": contextURL + "directoryObjects", "value": found})
}

func (s *Service) byIDs(r *http.Request, ids, types []string) ([]object, error) {
	found := []object{}
	wanted := func(o object) bool {
		for _, t := range types {
			if kind, _ := o["@odata.type"].(string); strings.EqualFold(t, "directoryObject") || strings.EqualFold("#microsoft.graph."+t, kind) {
				return true
			}
		}
		return len(types) == 0
	}
	err := s.view(r.Context(), func(tx store.ReadTx) error {
		for _, id := range ids {
			var o object
			if p, ok := s.deps.Directory.Principal(tx, id); ok {
				o = s.principalObject(p)
			} else if app, ok := s.applicationByID(tx, id); ok {
				o = app.object()
			}
			if o != nil && wanted(o) {
				found = append(found, o)
			}
		}
		return nil
	})
	return found, err
}
