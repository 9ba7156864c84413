package graph

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// me is the signed-in user; an application is none.
func (s *Service) me(w http.ResponseWriter, r *http.Request) error {
	who := httpx.Caller(r.Context()).Principal
	if who.Type != azure.User {
		return errNotDelegated()
	}
	if httpx.Var(r, "sub") != "" { // owned objects: nobody owns anything here
		return reply(w, http.StatusOK, object{"@odata.context": contextURL + "directoryObjects", "value": []object{}})
	}
	return replyOne(w, http.StatusOK, "users", s.principalObject(who))
}

func (s *Service) listUsers(w http.ResponseWriter, r *http.Request) error {
	all, err := s.ofType(r, azure.User)
	if err != nil {
		return err
	}
	return replyList(w, r, "users", all)
}

// getUser finds a user by object id or user principal name.
func (s *Service) getUser(w http.ResponseWriter, r *http.Request) error {
	id := variable(r, "id")
	all, err := s.ofType(r, azure.User)
	if err != nil {
		return err
	}
	for _, u := range all {
		oid, _ := u["id"].(string)
		upn, _ := u["userPrincipalName"].(string)
		if strings.EqualFold(oid, id) || strings.EqualFold(upn, id) {
			return replyOne(w, http.StatusOK, "users", u)
		}
	}
	return errNotFound(id)
}

func (s *Service) listGroups(w http.ResponseWriter, r *http.Request) error {
	all, err := s.ofType(r, azure.Group)
	if err != nil {
		return err
	}
	return replyList(w, r, "groups", all)
}

func (s *Service) getGroup(w http.ResponseWriter, r *http.Request) error {
	p, err := s.find(r, variable(r, "id"), azure.Group)
	if err != nil {
		return err
	}
	return replyOne(w, http.StatusOK, "groups", s.principalObject(p))
}

// listMembers answers a group's direct members, of all types.
func (s *Service) listMembers(w http.ResponseWriter, r *http.Request) error {
	id, members := variable(r, "id"), []object{}
	err := s.view(r.Context(), func(tx store.ReadTx) error {
		if p, ok := s.deps.Directory.Principal(tx, id); !ok || p.Type != azure.Group {
			return errNotFound(id)
		}
		for _, member := range s.deps.Directory.Members(tx, id) {
			if p, ok := s.deps.Directory.Principal(tx, member); ok {
				members = append(members, s.principalObject(p))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, object{"@odata.context": contextURL + "directoryObjects", "value": members})
}
