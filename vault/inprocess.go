package vault

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Reason is why a value could not be read in-process.
type Reason string

// The reasons.
const (
	NoVault   Reason = "no vault"
	Forbidden Reason = "forbidden"
	BadName   Reason = "bad name"
	NotFound  Reason = "not found"
	Deleted   Reason = "deleted"
	Disabled  Reason = "disabled"
	Failed    Reason = "failed"
)

// ReadError is a refused Read. errors.As finds the *httpx.Error a GET would
// have been answered with.
type ReadError struct {
	Reason Reason
	// RequestID names the audit entry: `amlocal why` takes it.
	RequestID string
	// Decision is what roles or policies said; zero before they were asked.
	Decision azure.Decision
	Err      *httpx.Error
}

// Error is the client's message.
func (e *ReadError) Error() string { return e.Err.Error() }

// Unwrap gives the *httpx.Error.
func (e *ReadError) Unwrap() error { return e.Err }

// Vault finds a vault as the data plane knows it.
func (s *Service) Vault(ctx context.Context, name string) (Vault, bool, error) {
	return s.deps.Vaults.Vault(ctx, name)
}

// Read gives a secret's value to who, with the decision and the audit entry of
// a GET by a bearer's token; version "" is the latest. Every error is a
// *ReadError.
func (s *Service) Read(ctx context.Context, who azure.Principal, vault, name, version string) (value string, err error) {
	start := s.now()
	path := "/secrets/" + name
	op := "vault.GetSecret"
	if version != "" {
		path += "/" + version
		op = "vault.GetSecretVersion"
	}
	entry := &audit.Entry{
		RequestID: uuid.NewString(), Time: start, Plane: "vault", Operation: op,
		Method: http.MethodGet, Host: vault + hostSuffix, Path: path,
		Caller: azure.Caller{Scheme: azure.Bearer, Principal: who}, Instance: httpx.Instance(ctx), Status: http.StatusOK,
	}
	refuse := func(reason Reason, d azure.Decision, cause error) error {
		e := httpx.AsError(cause)
		entry.Status, entry.Code = e.Status, e.Code
		if e.Cause != nil {
			entry.Cause = e.Cause.Error()
		}
		return &ReadError{Reason: reason, RequestID: entry.RequestID, Decision: d, Err: e}
	}
	defer func() {
		entry.Duration = s.now().Sub(start)
		s.deps.Audit.Close(entry)
	}()
	v, ok, err := s.deps.Vaults.Vault(ctx, vault)
	issuer := "https://sts.windows.net/" + who.TenantID + "/"
	closed := reachable(v, who, issuer)
	switch {
	case err != nil:
		return "", refuse(Failed, azure.Decision{}, err)
	case !ok:
		return "", refuse(NoVault, azure.Decision{}, errVaultNotFound(vault))
	case closed != nil:
		return "", refuse(Forbidden, azure.Decision{}, closed)
	case !validName(name):
		return "", refuse(BadName, azure.Decision{}, errName(name))
	case version != "" && !validName(version):
		return "", refuse(BadName, azure.Decision{}, errName(version))
	}
	d := s.decide(ctx, v, who, azure.Check{Action: getSecret, Data: true, Scope: secretScope(v, name)}, "get")
	entry.Decide(d)
	if !d.Allowed {
		return "", refuse(Forbidden, d, denied(v, d, issuer, "get"))
	}
	reason := Failed
	err = s.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		rec, id, ver, err := s.lookup(tx, v.Name, name, version)
		switch {
		case err != nil && rec.isDeleted():
			reason = Deleted
			return err
		case err != nil && httpx.AsError(err).Status == http.StatusNotFound:
			reason = NotFound
			return err
		case err != nil:
			return err
		case !ver.Enabled:
			reason = Disabled
			return errDisabled()
		}
		value, err = s.unseal(ver.Value, key(v.Name, name, id))
		return err
	})
	if err != nil {
		return "", refuse(reason, d, err)
	}
	return value, nil
}

// Put sets a secret in the caller's transaction, for worlds. The vault need not
// be known to the data plane yet.
func (s *Service) Put(tx store.Tx, v Vault, name, value string) error {
	if !validName(name) {
		return errName(name)
	}
	if len(value) > maxValue {
		return badParameter("The secret value is larger than the maximum of %d bytes.", maxValue)
	}
	_, err := s.add(tx, v, name, settings{Value: &value})
	return err
}
