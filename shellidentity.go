package amlocal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/msi"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// ShellIdentity makes a shell of this machine one that has managed identities,
// as one on a virtual machine or a compute instance has.
type ShellIdentity struct {
	// Secret tells the shell's requests from everyone else's. It says which
	// identities it is for and is signed, so that it outlives a restart.
	Secret string `json:"secret"`
	// ClientID is that of the default identity; empty where there is none.
	ClientID string `json:"clientId,omitempty"`
}

// shellOwner begins the name under which msi knows a shell; the object ids of
// its identities follow. Nobody else's name has a colon: that of an instance is
// endpoint/deployment, and an endpoint may be called shell.
const shellOwner = "shell:"

// Dialects by which a shell's programs find its identities.
const (
	// DialectVM is IMDS at 169.254.169.254, reached by the proxy.
	DialectVM = "vm"
	// DialectCompute is a compute instance's MSI_ENDPOINT and MSI_SECRET.
	DialectCompute = "compute"
	// DialectApp is IDENTITY_ENDPOINT and IDENTITY_HEADER, which every library
	// knows, Java's too.
	DialectApp = "app"
)

// ShellIdentity gives a shell managed identities, each named as Token takes a
// name.
func (e *Emulator) ShellIdentity(ctx context.Context, who ...string) (ShellIdentity, error) {
	if len(who) == 0 {
		return ShellIdentity{}, cannot(ErrPrincipal, "name an identity")
	}
	var ids []string
	err := e.store.View(ctx, func(tx store.ReadTx) error {
		for _, w := range who {
			p, err := e.findPrincipal(tx, w)
			if err != nil {
				return err
			}
			if !p.IsManagedIdentity() {
				return cannot(ErrPrincipal, "%s is a %s; only managed identities come with a machine", p.Name, kindOf(p))
			}
			if id := strings.ToLower(p.ObjectID); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		return nil
	})
	if err != nil {
		return ShellIdentity{}, err
	}
	list := strings.Join(ids, "_")
	out := ShellIdentity{Secret: list + "." + e.shellSignature(list)}
	assigned, err := e.shellIdentities(ctx, shellOwner+list)
	switch {
	case err != nil:
		return ShellIdentity{}, err
	case assigned.System != nil:
		out.ClientID = assigned.System.AppID
	case len(assigned.User) == 1:
		out.ClientID = assigned.User[0].AppID
	}
	return out, nil
}

func (e *Emulator) shellSignature(list string) string {
	mac := hmac.New(sha256.New, []byte(e.secrets.AdminToken))
	mac.Write([]byte("shell identities\x00" + list))
	return hex.EncodeToString(mac.Sum(nil))
}

// shellOf is the shell that has the secret.
func (e *Emulator) shellOf(secret string) (owner string, ok bool) {
	list, signature, _ := strings.Cut(secret, ".")
	if subtle.ConstantTimeCompare([]byte(signature), []byte(e.shellSignature(list))) != 1 {
		return "", false
	}
	return shellOwner + list, true
}

// shellIdentities are those of a shell that are still there.
func (e *Emulator) shellIdentities(ctx context.Context, owner string) (assigned msi.Assigned, err error) {
	err = e.store.View(ctx, func(tx store.ReadTx) error {
		for id := range strings.SplitSeq(strings.TrimPrefix(owner, shellOwner), "_") {
			p, ok := e.entra.Principal(tx, id)
			if !ok {
				continue
			}
			if isUserAssigned(p) || assigned.System != nil {
				assigned.User = append(assigned.User, p)
			} else {
				assigned.System = &p
			}
		}
		return nil
	})
	return assigned, err
}

func isUserAssigned(p azure.Principal) bool {
	id, err := azure.ParseResourceID(p.ResourceID)
	return err == nil && strings.EqualFold(id.Type(), "Microsoft.ManagedIdentity/userAssignedIdentities")
}

// instanceSecrets knows the secrets of deployments' instances and of shells.
type instanceSecrets struct {
	emulator *Emulator
	manager  *runner.Manager
}

func (s instanceSecrets) Owner(secret string) (string, bool) {
	if owner, ok := s.manager.Owner(secret); ok {
		return owner, true
	}
	return s.emulator.shellOf(secret)
}

// adminShell is the part of the admin API that gives shells identities.
func (e *Emulator) adminShell(r *mux.Router) {
	r.Methods(http.MethodPost).Path("/_amlocal/shell").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Identities []string }
		if !readBody(w, r, &ask) {
			return
		}
		made, err := e.ShellIdentity(r.Context(), ask.Identities...)
		w.Header().Set("Cache-Control", "no-store")
		adminReply(w, http.StatusCreated, made, err)
	})
}

// EnvAs is Env for a shell with managed identities in place of the owner's
// sign-in. without are the variables it must not have.
func (a Access) EnvAs(i ShellIdentity, dialect string, lookup func(string) (string, bool)) (vars []Var, without []string, err error) {
	without = []string{
		"AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
		"MSI_ENDPOINT", "MSI_SECRET", "DEFAULT_IDENTITY_CLIENT_ID", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT",
	}
	var extra []Var
	switch dialect {
	case "", DialectVM:
	case DialectCompute:
		extra = []Var{{"MSI_ENDPOINT", a.URL() + "/MSI/auth"}, {"MSI_SECRET", i.Secret}}
		if i.ClientID != "" {
			extra = append(extra, Var{"DEFAULT_IDENTITY_CLIENT_ID", i.ClientID})
		}
	case DialectApp:
		extra = []Var{{"IDENTITY_ENDPOINT", a.URL() + identityPath}, {"IDENTITY_HEADER", i.Secret}}
	default:
		return nil, nil, cannot(ErrPrincipal, "%q is no kind of machine with identities: there are %s, %s and %s", dialect, DialectVM, DialectCompute, DialectApp)
	}
	// A sign-in of its own, which `az login --identity` makes.
	digest := sha256.Sum256([]byte(i.Secret))
	config := filepath.Join(a.StateDir, azureConfigDir, "identities", hex.EncodeToString(digest[:8]))
	if err := a.writeAzureSettings(config, false); err != nil {
		return nil, nil, err
	}
	proxy, err := url.Parse(a.URL())
	if err != nil {
		return nil, nil, err
	}
	proxy.User = url.UserPassword("shell", i.Secret)
	for _, v := range append(a.Env(lookup), extra...) {
		switch v.Name {
		case "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy":
			v.Value = proxy.String()
		case "AZURE_CONFIG_DIR":
			v.Value = config
		case "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET":
			continue
		}
		vars = append(vars, v)
		without = slices.DeleteFunc(without, func(name string) bool { return name == v.Name })
	}
	return vars, without, nil
}
