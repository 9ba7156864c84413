package amlocal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/entra"
	"github.com/amlocal/amlocal/store"
)

// NewPrincipal is a principal to add to the directory.
type NewPrincipal struct {
	// Type is "user", "group" or "sp" (a service principal with an
	// application and a client secret).
	Type string `json:"type"`
	// Name is a display name; a user's becomes NAME@<tenant domain> unless it
	// is a user principal name already. Only those must be unique, as in Entra.
	Name string `json:"name"`
	// ObjectID and ClientID (of a service principal) are random unless given.
	ObjectID string `json:"objectId,omitempty"`
	ClientID string `json:"clientId,omitempty"`
	// Password is a user's; empty: a random one.
	Password string `json:"password,omitempty"`
}

// PrincipalInfo is a principal as `amlocal principals` shows it.
type PrincipalInfo struct {
	Kind              string   `json:"kind"` // user, group, service principal, managed identity
	Name              string   `json:"name"`
	ObjectID          string   `json:"objectId"`
	ClientID          string   `json:"clientId,omitempty"`
	TenantID          string   `json:"tenantId"`
	UserPrincipalName string   `json:"userPrincipalName,omitempty"`
	ResourceID        string   `json:"resourceId,omitempty"`
	Members           []string `json:"members,omitempty"` // of a group, by object id
	// Secret, of a service principal, and Password, of a user, are there once,
	// in the answer that made them.
	Secret   string `json:"secret,omitempty"`
	Password string `json:"password,omitempty"`
}

// Errors of the directory's methods, to be tested with errors.Is.
var (
	ErrNoPrincipal = entra.ErrNoPrincipal
	// ErrPrincipal is every refusal of a request about principals that cannot
	// be carried out as it is.
	ErrPrincipal = errors.New("the request about principals cannot be carried out")
)

// refusal is a sentence for the user that errors.Is finds to be one of the
// errors above.
type refusal struct {
	kind error
	text string
}

func (r refusal) Error() string        { return r.text }
func (r refusal) Is(target error) bool { return target == r.kind }

func cannot(kind error, format string, args ...any) error {
	return refusal{kind, fmt.Sprintf(format, args...)}
}

var (
	guidShape = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	// upnShape is what Entra takes as a user principal name.
	upnShape = regexp.MustCompile(`^[A-Za-z0-9'._!#^~-]+@[A-Za-z0-9.-]+$`)
)

// AddPrincipal adds a user, group or service principal. The answer holds the
// client secret of a service principal and the password of a user, which are
// not kept and not shown again.
func (e *Emulator) AddPrincipal(ctx context.Context, n NewPrincipal) (info PrincipalInfo, err error) {
	p, err := n.principal()
	if err != nil {
		return info, err
	}
	secret := ""
	if p.Type == azure.ServicePrincipal {
		secret = newSecret()
	}
	err = e.store.Update(ctx, func(tx store.Tx) error {
		if err := e.putNew(tx, p); err != nil {
			return err
		}
		switch {
		case secret != "":
			return e.entra.SetSecret(tx, p.AppID, secret)
		case p.Type == azure.User:
			n.Password = or(n.Password, newSecret())
			return e.entra.SetUserPassword(tx, p.ObjectID, n.Password)
		}
		return nil
	})
	if err != nil {
		return info, err
	}
	info = describe(p)
	info.Secret, info.Password = secret, n.Password
	return info, nil
}

// principal is the record a wish asks for.
func (n NewPrincipal) principal() (p azure.Principal, err error) {
	p = azure.Principal{ObjectID: n.ObjectID, TenantID: azure.SeedTenantID, Name: strings.TrimSpace(n.Name)}
	if p.Name == "" {
		return p, cannot(ErrPrincipal, "a principal needs a name")
	}
	switch n.Type {
	case "user":
		p.Type = azure.User
		if !strings.Contains(p.Name, "@") {
			p.Name += "@" + azure.SeedTenantDomain
		}
		if !upnShape.MatchString(p.Name) {
			return p, cannot(ErrPrincipal, "%q is no user principal name (letters, digits and '._!#^~- before the @)", p.Name)
		}
	case "group":
		p.Type = azure.Group
	case "sp":
		p.Type = azure.ServicePrincipal
		p.AppID = or(n.ClientID, uuid.NewString())
	default:
		return p, cannot(ErrPrincipal, "a principal is a user, a group or an sp, not %q", n.Type)
	}
	if n.ClientID != "" && p.AppID == "" {
		return p, cannot(ErrPrincipal, "only a service principal has a client id")
	}
	if n.Password != "" && p.Type != azure.User {
		return p, cannot(ErrPrincipal, "only a user has a password; a service principal's secret is made here")
	}
	p.ObjectID = or(p.ObjectID, uuid.NewString())
	for _, id := range []string{p.ObjectID, p.AppID} {
		if id != "" && !guidShape.MatchString(id) {
			return p, cannot(ErrPrincipal, "%q is no GUID", id)
		}
	}
	return p, nil
}

// putNew adds a principal whose ids, and user principal name, are free.
func (e *Emulator) putNew(tx store.Tx, p azure.Principal) error {
	if old, taken := e.entra.Principal(tx, p.ObjectID); taken {
		return cannot(ErrPrincipal, "the object id %s belongs to %s", p.ObjectID, old.Name)
	}
	if p.Type == azure.User {
		for _, old := range e.entra.Principals(tx) {
			if old.Type == azure.User && strings.EqualFold(old.Name, p.Name) {
				return cannot(ErrPrincipal, "there is a user %s already", old.Name)
			}
		}
	}
	return e.entra.PutPrincipal(tx, p)
}

// newSecret has the shape of a client secret; its letters are safe in every
// shell.
func newSecret() string { return rand.Text() + rand.Text() }

// AddSecret gives a service principal one more client secret, or a user a new
// password: the one given, or a random one. It is in the answer and nowhere
// else.
func (e *Emulator) AddSecret(ctx context.Context, who, password string) (info PrincipalInfo, err error) {
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := e.findPrincipal(tx, who)
		if err != nil {
			return err
		}
		info = describe(p)
		if p.Type == azure.User {
			info.Password = or(password, newSecret())
			return e.entra.SetUserPassword(tx, p.ObjectID, info.Password)
		}
		if password != "" {
			return cannot(ErrPrincipal, "%s is a %s: only a user's password can be chosen", p.Name, kindOf(p))
		}
		if p.AppID == "" || p.IsManagedIdentity() {
			return cannot(ErrPrincipal, "%s is a %s, which has no secret", p.Name, kindOf(p))
		}
		info.Secret = newSecret()
		return e.entra.AddSecret(tx, p.AppID, info.Secret, time.Time{})
	})
	return info, err
}

// RemovePrincipal takes a principal out of the directory. Its role assignments
// stay and help nobody, as in Azure.
func (e *Emulator) RemovePrincipal(ctx context.Context, who string) (info PrincipalInfo, err error) {
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := e.findPrincipal(tx, who)
		switch {
		case err != nil:
			return err
		case p.IsManagedIdentity():
			return cannot(ErrPrincipal, "%s is the identity of %s and goes with it", p.Name, p.ResourceID)
		case p.ObjectID == azure.SeedOwnerObjectID:
			return cannot(ErrPrincipal, "%s is the seeded owner, without whom nobody could sign in", p.Name)
		}
		info = describe(p)
		return e.entra.DeletePrincipal(tx, p.ObjectID)
	})
	return info, err
}

// AddMember puts a principal into a group; both are named as FindPrincipal
// takes them.
func (e *Emulator) AddMember(ctx context.Context, group, member string) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		g, m, err := e.findPair(tx, group, member)
		if err != nil {
			return err
		}
		err = e.entra.AddMember(tx, g.ObjectID, m.ObjectID)
		switch {
		case errors.Is(err, entra.ErrNotAGroup):
			return cannot(ErrPrincipal, "%s is a %s: %v", g.Name, kindOf(g), entra.ErrNotAGroup)
		case errors.Is(err, entra.ErrCycle):
			return cannot(ErrPrincipal, "%s holds %s: %v", m.Name, g.Name, entra.ErrCycle)
		}
		return err
	})
}

// RemoveMember takes a principal out of a group.
func (e *Emulator) RemoveMember(ctx context.Context, group, member string) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		g, m, err := e.findPair(tx, group, member)
		if err != nil {
			return err
		}
		was, err := e.entra.RemoveMember(tx, g.ObjectID, m.ObjectID)
		if err == nil && !was {
			err = cannot(ErrPrincipal, "%s is no direct member of %s", m.Name, g.Name)
		}
		return err
	})
}

func (e *Emulator) findPair(tx store.ReadTx, group, member string) (g, m azure.Principal, err error) {
	if g, err = e.findPrincipal(tx, group); err != nil {
		return g, m, err
	}
	m, err = e.findPrincipal(tx, member)
	return g, m, err
}

// Principals lists the directory by kind and name.
func (e *Emulator) Principals(ctx context.Context) (list []PrincipalInfo, err error) {
	err = e.store.View(ctx, func(tx store.ReadTx) error {
		for _, p := range e.entra.Principals(tx) {
			info := describe(p)
			if p.Type == azure.Group {
				info.Members = e.entra.Members(tx, p.ObjectID)
			}
			list = append(list, info)
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b PrincipalInfo) int {
		return strings.Compare(a.Kind+"\x00"+a.Name, b.Kind+"\x00"+b.Name)
	})
	return list, err
}

// Token gives an access token of any principal for a resource: a test can act
// as anyone. It is what the principal would get by signing in; a managed
// identity's is the one its instances get.
func (e *Emulator) Token(ctx context.Context, as, resource string) (azure.Token, error) {
	var p azure.Principal
	err := e.store.View(ctx, func(tx store.ReadTx) (err error) {
		p, err = e.findPrincipal(tx, as)
		return err
	})
	switch {
	case err != nil:
		return azure.Token{}, err
	case p.Type == azure.Group:
		return azure.Token{}, cannot(ErrPrincipal, "%s is a group, and a group cannot sign in", p.Name)
	case p.IsManagedIdentity():
		return e.entra.ManagedIdentityToken(ctx, p, resource)
	}
	return e.entra.Mint(ctx, p, resource, entra.MintOptions{})
}

// findPrincipal finds a principal by object id, client id, the ARM id of what
// it is the identity of, or name; a user's alias and an endpoint's own name
// count as names. A name of several is refused.
func (e *Emulator) findPrincipal(tx store.ReadTx, who string) (azure.Principal, error) {
	for _, by := range []func(store.ReadTx, string) (azure.Principal, bool){e.entra.Principal, e.entra.PrincipalByAppID, e.entra.PrincipalByResourceID} {
		if p, ok := by(tx, who); ok {
			return p, nil
		}
	}
	var found []azure.Principal
	for _, p := range e.entra.Principals(tx) {
		alias, _, _ := strings.Cut(p.Name, "@")
		last := p.Name[strings.LastIndexByte(p.Name, '/')+1:]
		if strings.EqualFold(p.Name, who) || p.Type == azure.User && strings.EqualFold(alias, who) || p.IsManagedIdentity() && strings.EqualFold(last, who) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return azure.Principal{}, cannot(ErrNoPrincipal, "the directory holds no such principal as %q; `amlocal principals list` shows who there is", who)
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, p := range found {
		ids = append(ids, p.ObjectID+" ("+kindOf(p)+")")
	}
	return azure.Principal{}, cannot(ErrPrincipal, "%q is the name of several, say which by object id: %s", who, strings.Join(ids, ", "))
}

func describe(p azure.Principal) PrincipalInfo {
	info := PrincipalInfo{Kind: kindOf(p), Name: p.Name, ObjectID: p.ObjectID, ClientID: p.AppID, TenantID: p.TenantID, ResourceID: p.ResourceID}
	if p.Type == azure.User {
		info.UserPrincipalName = p.Name
	}
	return info
}

// kindOf says in words what a principal is.
func kindOf(p azure.Principal) string {
	switch {
	case p.IsManagedIdentity():
		return "managed identity"
	case p.Type == azure.ServicePrincipal:
		return "service principal"
	case p.Type == azure.User:
		return "user"
	case p.Type == azure.Group:
		return "group"
	}
	return string(p.Type)
}
