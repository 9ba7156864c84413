package entra

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// membersBucket keeps who belongs to which group: group NUL member, both
// object ids, to nothing.
const membersBucket = "entra.members"

// Errors of AddMember, to be tested with errors.Is.
var (
	// ErrNotAGroup refuses members for anything but a group.
	ErrNotAGroup = errors.New("only a group has members")
	// ErrNoPrincipal says that the directory does not hold an object.
	ErrNoPrincipal = errors.New("the directory holds no such principal")
	// ErrCycle refuses a group inside itself.
	ErrCycle = errors.New("a group cannot be a member of itself, directly or through others")
)

// AddMember puts a principal, which may be a group, into a group. A member
// that is there already is no error.
func (s *Service) AddMember(tx store.Tx, group, member string) error {
	g, ok := s.Principal(tx, group)
	switch {
	case !ok:
		return fmt.Errorf("entra: %s: %w", group, ErrNoPrincipal)
	case g.Type != azure.Group:
		return fmt.Errorf("entra: %s is a %s: %w", or(g.Name, group), g.Type, ErrNotAGroup)
	}
	if _, ok := s.Principal(tx, member); !ok {
		return fmt.Errorf("entra: %s: %w", member, ErrNoPrincipal)
	}
	if s.reaches(tx, member, group) {
		return fmt.Errorf("entra: %s into %s: %w", member, or(g.Name, group), ErrCycle)
	}
	if err := tx.Put(membersBucket, memberKey(group, member), []byte{}); err != nil {
		return err
	}
	s.membersChanged(tx, group)
	return nil
}

// RemoveMember takes a principal out of a group and reports whether it was in
// it.
func (s *Service) RemoveMember(tx store.Tx, group, member string) (bool, error) {
	key := memberKey(group, member)
	if _, ok := tx.Get(membersBucket, key); !ok {
		return false, nil
	}
	if err := tx.Delete(membersBucket, key); err != nil {
		return true, err
	}
	s.membersChanged(tx, group)
	return true, nil
}

// Members are the direct members of a group, by object id and in its order.
func (s *Service) Members(tx store.ReadTx, group string) []string {
	var out []string
	prefix := memberKey(group, "")
	for key := range tx.Scan(membersBucket, prefix, nil) {
		out = append(out, string(key[len(prefix):]))
	}
	return out
}

// reaches reports whether to is from, or a member of it through any number of
// groups.
func (s *Service) reaches(tx store.ReadTx, from, to string) bool {
	seen := map[string]bool{fold(from): true}
	for todo := []string{fold(from)}; len(todo) > 0; todo = todo[1:] {
		if todo[0] == fold(to) {
			return true
		}
		for _, m := range s.Members(tx, todo[0]) {
			if !seen[m] {
				seen[m] = true
				todo = append(todo, m)
			}
		}
	}
	return false
}

// dropMemberships ends a principal's part in every group, and the group it was.
func (s *Service) dropMemberships(tx store.Tx, objectID string) error {
	var keys [][]byte
	changed := map[string]bool{}
	for key := range tx.Scan(membersBucket, nil, nil) {
		group, member, _ := bytes.Cut(key, []byte{0})
		if string(group) == fold(objectID) || string(member) == fold(objectID) {
			keys = append(keys, bytes.Clone(key))
			changed[string(group)] = true
		}
	}
	for _, key := range keys {
		if err := tx.Delete(membersBucket, key); err != nil {
			return err
		}
	}
	for group := range changed {
		s.membersChanged(tx, group)
	}
	return nil
}

// membersChanged tells the one who decides by groups, once the change is
// durable.
func (s *Service) membersChanged(tx store.Tx, group string) {
	if s.deps.MembersChanged == nil {
		return
	}
	members := s.Members(tx, group)
	tx.OnCommit(func() { s.deps.MembersChanged(fold(group), members) })
}

// tellMembers reports every stored group, for a service that starts.
func (s *Service) tellMembers(tx store.ReadTx) {
	groups := map[string][]string{}
	for key := range tx.Scan(membersBucket, nil, nil) {
		group, member, _ := bytes.Cut(key, []byte{0})
		groups[string(group)] = append(groups[string(group)], string(member))
	}
	for group, members := range groups {
		s.deps.MembersChanged(group, members)
	}
}

func memberKey(group, member string) []byte { return []byte(fold(group) + "\x00" + fold(member)) }

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
