package amlocal

import (
	"context"
	"fmt"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// worldPrincipals are those of the directory that Azure Resource Manager does
// not make.
type worldPrincipals struct {
	Users             []worldUser             `yaml:"users"`
	ServicePrincipals []worldServicePrincipal `yaml:"servicePrincipals"`
	Groups            []worldGroup            `yaml:"groups"`
}

type worldUser struct {
	Name     string `yaml:"name"`
	ObjectID string `yaml:"objectId"`
}

// worldServicePrincipal has no secret: those are never in a file. `amlocal
// principals secret` makes one.
type worldServicePrincipal struct {
	Name     string `yaml:"name"`
	ObjectID string `yaml:"objectId"`
	ClientID string `yaml:"clientId"`
}

type worldGroup struct {
	Name     string   `yaml:"name"`
	ObjectID string   `yaml:"objectId"`
	Members  []string `yaml:"members"`
}

// applyPrincipals makes the directory's part of a world and notes every name's
// object id.
func (e *Emulator) applyPrincipals(ctx context.Context, w *world, principals map[string]string) error {
	var list []NewPrincipal
	for _, u := range w.Principals.Users {
		list = append(list, NewPrincipal{Type: "user", Name: u.Name, ObjectID: u.ObjectID})
	}
	for _, sp := range w.Principals.ServicePrincipals {
		list = append(list, NewPrincipal{Type: "sp", Name: sp.Name, ObjectID: sp.ObjectID, ClientID: sp.ClientID})
	}
	for _, g := range w.Principals.Groups {
		list = append(list, NewPrincipal{Type: "group", Name: g.Name, ObjectID: g.ObjectID})
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		for _, n := range list {
			p, err := n.principal()
			if err == nil {
				err = e.putNew(tx, p)
			}
			if err != nil {
				return fmt.Errorf("principal %s: %w", n.Name, err)
			}
			principals[n.Name] = p.ObjectID
		}
		return nil
	})
}

// applyMembers fills the groups, once everyone they may name is there.
func (e *Emulator) applyMembers(ctx context.Context, w *world, principals map[string]string) error {
	for _, g := range w.Principals.Groups {
		for _, m := range g.Members {
			if err := e.AddMember(ctx, principals[g.Name], or(principals[m], m)); err != nil {
				return fmt.Errorf("member %s of group %s: %w", m, g.Name, err)
			}
		}
	}
	return nil
}

// worldPrincipal is the object id a world file means: a name of its own, or
// whoever the directory knows by it.
func (e *Emulator) worldPrincipal(ctx context.Context, who string, principals map[string]string) (id string, err error) {
	if id, ok := principals[who]; ok {
		return id, nil
	}
	err = e.store.View(ctx, func(tx store.ReadTx) error {
		var p azure.Principal
		p, err := e.findPrincipal(tx, who)
		id = p.ObjectID
		return err
	})
	return id, err
}
