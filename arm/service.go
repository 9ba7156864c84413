package arm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Deps is what the front needs.
type Deps struct {
	Documents  store.Documents
	Clock      clock.Clock
	Audit      *audit.Log
	Verifier   azure.TokenVerifier
	Authorizer azure.Authorizer
	Operations *Operations
	TenantID   string
	// Types are all providers' resource types.
	Types []Type
}

// Service is management.azure.com.
type Service struct {
	deps  Deps
	table table
	plane *httpx.Plane
}

// audiences are the `aud` values ARM accepts: azure-cli still asks for the
// classic one, everything else for the new one.
var audiences = []string{
	"https://management.azure.com", "https://management.azure.com/",
	"https://management.core.windows.net", "https://management.core.windows.net/",
	"797f4846-ba00-4fd7-ba43-dac1f8f63013",
}

// New builds the front from its providers' tables.
func New(deps Deps) (*Service, error) {
	types := append([]Type{}, deps.Types...)
	types = append(types, deps.Operations.types()...)
	t, err := newTable(types)
	if err != nil {
		return nil, err
	}
	s := &Service{deps: deps, table: t}
	s.plane = &httpx.Plane{
		Name: "arm", Clock: deps.Clock, Audit: deps.Audit, Authorizer: deps.Authorizer,
		Authenticate: s.authenticate, Deny: errDenied, Before: requireVersion, Encode: encodeError,
	}
	return s, nil
}

// ServeHTTP answers one ARM request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op, err := s.route(r)
	if err != nil {
		s.plane.Refuse(w, r, err)
		return
	}
	s.plane.Serve(w, r, op)
}

// Require asks RBAC a further question about the caller of a running request.
func (s *Service) Require(r *Request, check azure.Check, or ...string) error {
	return s.plane.Require(r.Request, check, or...)
}

func (s *Service) route(r *http.Request) (*httpx.Operation, error) {
	version := r.URL.Query().Get("api-version")
	readings, ok := s.table.parsePath(r.URL.EscapedPath())
	if !ok {
		return nil, errBadPath(r.URL.EscapedPath())
	}
	var known *Type
	for _, p := range readings {
		typ, row := s.table.row(r.Method, p)
		if typ != nil && known == nil {
			known = typ
		}
		if row != nil && row.Method == http.MethodPut && !typ.Anywhere && p.namespace != "" && !inGroup(p.id) {
			return nil, errUnknownType(p.typeName, version)
		}
		if row != nil {
			return s.operation(typ, row, p, version), nil
		}
	}
	p := readings[0]
	switch {
	case known != nil:
		return nil, errMethod(r.Method, known.Name)
	case !s.knownNamespace(p.namespace):
		return nil, errUnknownNamespace(p.namespace)
	default:
		return nil, errUnknownType(p.typeName, version)
	}
}

// inGroup reports whether an id is one of a resource directly in a resource
// group, or of a child of one. What is no extension lives nowhere else.
func inGroup(id string) bool {
	segs := strings.Split(strings.Trim(id, "/"), "/")
	return len(segs) > 5 && strings.EqualFold(segs[0], "subscriptions") && strings.EqualFold(segs[2], "resourceGroups") &&
		strings.EqualFold(segs[4], "providers") && !strings.Contains(strings.ToLower(strings.Join(segs[5:], "/")), "/providers/")
}

func (s *Service) knownNamespace(ns string) bool {
	if ns == "" {
		return true
	}
	for key := range s.table {
		if head, _, _ := strings.Cut(key, "/"); strings.EqualFold(head, ns) {
			return true
		}
	}
	return false
}

// operation binds a row to a parsed path.
func (s *Service) operation(typ *Type, row *Row, p path, version string) *httpx.Operation {
	bind := func(r *http.Request) (*Request, error) {
		req := &Request{Request: r, Type: typ, Scope: p.scope, Name: p.name, Namespace: p.namespace, APIVersion: version, row: row, service: s}
		if p.target == Resource {
			id, err := azure.ParseResourceID(p.id)
			if err != nil {
				return nil, errBadPath(p.id).Because(err)
			}
			req.ID = id
		}
		return req, nil
	}
	op := row.Operation
	if row.Filtered {
		op.Action = ""
	}
	op.Scope = func(r *http.Request) string {
		if row.ScopeOf != nil {
			if req, err := bind(r); err == nil {
				return row.ScopeOf(req)
			}
		}
		return p.id
	}
	if row.Attributes != nil {
		op.Describe = func(r *http.Request, c *azure.Check) {
			if req, err := bind(r); err == nil {
				c.Attributes = row.Attributes(req)
			}
		}
	}
	op.Handler = func(w http.ResponseWriter, r *http.Request) error {
		req, err := bind(r)
		if err != nil {
			return err
		}
		if err := s.groupExists(r.Context(), p, row); err != nil {
			return err
		}
		return row.Serve(w, req)
	}
	return &op
}

// groupExists answers ARM's own 404s before a provider is asked: the
// subscription and the resource group of the path.
func (s *Service) groupExists(ctx context.Context, p path, row *Row) error {
	segs := strings.Split(strings.Trim(p.id, "/"), "/")
	if len(segs) < 2 || !strings.EqualFold(segs[0], "subscriptions") {
		return nil
	}
	checkGroup := len(segs) >= 4 && strings.EqualFold(segs[2], "resourceGroups") &&
		!(len(segs) == 4 && p.target == Resource && p.verb == "")
	return s.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		if err := mustExist(tx, "/subscriptions/"+segs[1], errSubscriptionNotFound(segs[1])); err != nil {
			return err
		}
		if checkGroup {
			group, ok, err := Get(tx, "/"+strings.Join(segs[:4], "/"))
			switch {
			case err != nil:
				return err
			case !ok:
				return errGroupNotFound(segs[3])
			case row.Method == http.MethodPut && group.Document.String("properties", "provisioningState") == "Deleting":
				return errGroupDeleting(segs[3])
			}
		}
		return nil
	})
}

func mustExist(tx store.ReadTx, id string, missing error) error {
	_, ok, err := Get(tx, id)
	if err == nil && !ok {
		err = missing
	}
	return err
}

func (s *Service) authenticate(r *http.Request, _ *httpx.Operation) (azure.Caller, error) {
	const none = "Authentication failed. The 'Authorization' header is missing."
	header := strings.Join(r.Header.Values("Authorization"), ",") // two make no token
	if header == "" {
		return azure.Caller{}, errUnauthenticated(s.deps.TenantID, "AuthenticationFailed", none)
	}
	scheme, raw, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return azure.Caller{}, errUnauthenticated(s.deps.TenantID, "AuthenticationFailedInvalidHeader",
			"Authentication failed. The 'Authorization' header is provided in an invalid format.")
	}
	claims, err := s.deps.Verifier.Verify(r.Context(), strings.TrimSpace(raw), audiences)
	if err != nil {
		return azure.Caller{}, s.tokenError(err)
	}
	return azure.Caller{Scheme: azure.Bearer, Principal: claims.Principal}, s.subscriptionExists(r)
}

// subscriptionExists answers for a subscription that is not there before any
// role is asked for: nobody has one in it, and Azure says which it was.
func (s *Service) subscriptionExists(r *http.Request) error {
	first, rest, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	id, _, _ := strings.Cut(rest, "/")
	if !strings.EqualFold(first, "subscriptions") || id == "" {
		return nil
	}
	return s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		return mustExist(tx, "/subscriptions/"+id, errSubscriptionNotFound(id))
	})
}

func (s *Service) tokenError(err error) error {
	code, message := "InvalidAuthenticationToken", "The access token is invalid."
	switch {
	case errors.Is(err, azure.ErrTokenExpired):
		code, message = "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC time."
	case errors.Is(err, azure.ErrTokenAudience):
		code, message = "InvalidAuthenticationTokenAudience",
			"The access token has been obtained for wrong audience or resource. It should exactly match with one of the allowed audiences 'https://management.core.windows.net/','https://management.core.windows.net','https://management.azure.com/','https://management.azure.com'."
	case errors.Is(err, azure.ErrTokenIssuer):
		code, message = "InvalidAuthenticationTokenTenant", "The access token is from the wrong issuer. It must match the tenant associated with this subscription."
	case errors.Is(err, azure.ErrTokenSignature):
		message = "The access token signature is invalid."
	case errors.Is(err, azure.ErrTokenMalformed):
		message = "The access token is malformed."
	}
	return errUnauthenticated(s.deps.TenantID, code, message).Because(err)
}

func requireVersion(r *http.Request, _ *httpx.Operation) error {
	if r.URL.Query().Get("api-version") == "" {
		return errNoVersion()
	}
	return nil
}

// Request is an HTTP request with its ARM target.
type Request struct {
	*http.Request
	Type *Type
	// ID is the addressed resource; zero for collections.
	ID azure.ResourceID
	// Scope is the canonical id of what encloses the target, "/" at the
	// tenant root.
	Scope string
	// Name is the addressed resource's name; Namespace the last provider
	// namespace of the path.
	Name       string
	Namespace  string
	APIVersion string

	row     *Row
	service *Service
}

// Caller is who asks.
func (r *Request) Caller() azure.Principal { return httpx.Caller(r.Context()).Principal }

// Author is the caller as systemData names them.
func (r *Request) Author() Author { return AuthorOf(r.Caller()) }

// Document reads the body tolerantly (see Decode). A missing body is an error.
func (r *Request) Document() (Document, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	doc, err := Decode(raw)
	if err != nil {
		return nil, errBody(err)
	}
	return doc, nil
}

// PeekDocument is Document for what has to know the body before the handler,
// which can read it again. A body that cannot be read is nil: the handler will
// say what is wrong with it.
func (r *Request) PeekDocument() Document {
	raw, err := io.ReadAll(io.LimitReader(r.Body, httpx.DefaultMaxBody))
	r.Request.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(raw), r.Request.Body), r.Request.Body}
	if err != nil {
		return nil
	}
	doc, err := Decode(raw)
	if err != nil {
		return nil
	}
	return doc
}

// OptionalDocument is Document for rows whose body may be absent: nil then.
func (r *Request) OptionalDocument() (Document, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if len(strings.TrimSpace(string(raw))) == 0 {
		return nil, nil
	}
	doc, err := Decode(raw)
	if err != nil {
		return nil, errBody(err)
	}
	return doc, nil
}

// Require asks RBAC a further question about the caller.
func (r *Request) Require(check azure.Check, or ...string) error {
	return r.service.Require(r, check, or...)
}

// Reply writes a JSON answer.
func Reply(w http.ResponseWriter, status int, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the client is gone: nobody to tell
	return nil
}

// ReplyList writes {"value": [...]}; ARM lists never answer null.
func ReplyList(w http.ResponseWriter, items []Document) error {
	if items == nil {
		items = []Document{}
	}
	return Reply(w, http.StatusOK, map[string]any{"value": items})
}

// Ask is Require for callers that shape the refusal themselves: it records the
// decision and reports whether it allows.
func (r *Request) Ask(check azure.Check) (d azure.Decision, allowed bool) {
	entry := httpx.Entry(r.Context())
	d = r.service.deps.Authorizer.Decide(r.Context(), entry.Caller.Principal, check)
	entry.Decide(d)
	return d, d.Allowed
}
