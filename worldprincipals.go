package amlocal

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

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

// worldServicePrincipal has no secret, as a user has no password: those are
// never in a file. `amlocal principals secret` makes one.
type worldServicePrincipal struct {
	Name     string `yaml:"name"`
	ObjectID string `yaml:"objectId"`
	ClientID string `yaml:"clientId"`
	// Certificate is a PEM file with the public half of what it signs in with.
	Certificate string           `yaml:"certificate"`
	Federated   []worldFederated `yaml:"federated"`
}

// worldFederated lets a service principal sign in with another issuer's token.
type worldFederated struct {
	Issuer   string `yaml:"issuer"`
	Subject  string `yaml:"subject"`
	Audience string `yaml:"audience"`
}

// worldIssuer is an outside issuer of tokens with the file of its key set.
type worldIssuer struct {
	Issuer string `yaml:"issuer"`
	Keys   string `yaml:"keys"`
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

// applyCredentials gives service principals what they sign in with.
func (e *Emulator) applyCredentials(ctx context.Context, c *ownerClient, w *world) error {
	for _, i := range w.Issuers {
		keys, err := os.ReadFile(filepath.Join(e.config.WorldFiles, filepath.FromSlash(i.Keys)))
		if err != nil {
			return err
		}
		if err := e.AddIssuer(ctx, i.Issuer, keys); err != nil {
			return fmt.Errorf("issuer %s: %w", i.Issuer, err)
		}
	}
	for _, sp := range w.Principals.ServicePrincipals {
		if err := e.applyCredentialsOf(ctx, c, sp); err != nil {
			return fmt.Errorf("service principal %s: %w", sp.Name, err)
		}
	}
	return nil
}

func (e *Emulator) applyCredentialsOf(ctx context.Context, c *ownerClient, sp worldServicePrincipal) error {
	if sp.Certificate == "" && len(sp.Federated) == 0 {
		return nil
	}
	var clientID string
	err := e.store.View(ctx, func(tx store.ReadTx) error {
		p, err := e.findPrincipal(tx, or(sp.ClientID, sp.Name))
		clientID = p.AppID
		return err
	})
	if err != nil {
		return err
	}
	var found struct {
		Value []struct{ ID string }
	}
	if err := c.graph(ctx, http.MethodGet, "/applications?$filter="+url.QueryEscape("appId eq '"+clientID+"'"), nil, &found); err != nil {
		return err
	}
	if len(found.Value) != 1 {
		return fmt.Errorf("the directory shows %d applications", len(found.Value))
	}
	application := "/applications/" + found.Value[0].ID
	if sp.Certificate != "" {
		text, err := os.ReadFile(filepath.Join(e.config.WorldFiles, filepath.FromSlash(sp.Certificate)))
		if err != nil {
			return err
		}
		block, err := certificateBlock(text)
		if err != nil {
			return fmt.Errorf("%s: %w", sp.Certificate, err)
		}
		key := map[string]any{"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.StdEncoding.EncodeToString(block)}
		if err := c.graph(ctx, http.MethodPatch, application, map[string]any{"keyCredentials": []any{key}}, nil); err != nil {
			return err
		}
	}
	for i, f := range sp.Federated {
		body := map[string]any{
			"name": fmt.Sprintf("world-%d", i+1), "issuer": f.Issuer, "subject": f.Subject, "audiences": []string{or(f.Audience, "api://AzureADTokenExchange")},
		}
		if err := c.graph(ctx, http.MethodPost, application+"/federatedIdentityCredentials", body, nil); err != nil {
			return err
		}
	}
	return nil
}

// certificateBlock is the first certificate of a PEM file, which may hold its
// key beside it.
func certificateBlock(text []byte) ([]byte, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return block.Bytes, nil
		}
	}
	return nil, errors.New("holds no certificate in PEM form")
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
