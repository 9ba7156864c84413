package entra

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// client is the application that asks for a token.
type client struct {
	id string
	// auth is how it proved itself, as `appidacr` has it.
	auth string
	// principal is zero for one of Microsoft's own public clients.
	principal azure.Principal
	// family says that its refresh tokens work for all of Microsoft's clients
	// (`foci`).
	family bool
}

// cliAppID is the Azure CLI, and the client the SDKs' developer credentials
// sign in through.
const cliAppID = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

// publicClients are Microsoft's own clients, which every tenant knows and which
// hold no secret. All are of the one family.
var publicClients = map[string]string{
	cliAppID:                               "Microsoft Azure CLI",
	"1950a258-227b-4e31-a9cf-717495945fc2": "Microsoft Azure PowerShell",
	"aebc6443-996d-45c2-90f0-388ff96faa56": "Visual Studio Code",
	"872cd9fa-d31f-45e0-9eab-6e460a02d1f1": "Visual Studio",
}

// authenticateClient checks which application asks. An application of the
// directory has to prove itself, whatever it asks for: none can be declared a
// public client here.
func (s *Service) authenticateClient(r *http.Request, form url.Values) (client, error) {
	id := form.Get("client_id")
	if id == "" {
		return client{}, errMissingField("client_id")
	}
	if _, ok := publicClients[strings.ToLower(id)]; ok {
		if form.Get("client_secret") != "" || form.Get("client_assertion") != "" {
			return client{}, errPublicClient()
		}
		return client{id: strings.ToLower(id), auth: authPublic, family: true}, nil
	}
	c := client{id: id}
	err := s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		p, ok := s.PrincipalByAppID(tx, id)
		if !ok || !s.canSignIn(tx, p) {
			return errUnknownApp(id, s.deps.TenantID)
		}
		c.principal, c.id = p, p.AppID
		secret := form.Get("client_secret")
		switch {
		case secret != "":
			c.auth = authSecret
			return s.checkClientSecret(tx, p, secret)
		case form.Get("client_assertion") != "" || form.Get("client_assertion_type") != "":
			c.auth = authCertificate
			return s.checkAssertion(r, tx, p, form)
		}
		if form.Get("grant_type") == grantClientCredentials {
			return errNoCredential()
		}
		return errNotPublic()
	})
	return c, err
}

// canSignIn: a managed identity has no credential an outsider could present,
// and is not an application the token endpoint knows, unless it trusts
// another's tokens.
func (s *Service) canSignIn(tx store.ReadTx, p azure.Principal) bool {
	return !p.IsManagedIdentity() || len(federatedOf(tx, p.AppID)) > 0
}

func (s *Service) checkClientSecret(tx store.ReadTx, p azure.Principal, secret string) error {
	switch checkSecret(tx, p.AppID, secret, s.deps.Clock.Now()) {
	case secretRight:
		return nil
	case secretExpired:
		return errExpiredSecret(p.AppID)
	}
	return errWrongSecret(p.AppID)
}
