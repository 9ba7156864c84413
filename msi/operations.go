package msi

import (
	"net/http"
	"slices"

	"github.com/amlocal/amlocal/internal/httpx"
)

// Path is where the instance's variables point: the shape recorded from a real
// managed deployment, below http://<host>:8911.
const Path = "/v1/token/msi/xds"

// paths are Path and the two seen on compute instances.
var paths = []string{Path, "/MSI/token", "/MSI/auth"}

const imdsPath = "/metadata/identity/oauth2/token"

// maxForm bounds the body of a Cloud Shell request.
const maxForm = 16 << 10

// Operations is the endpoint's table. POST is Cloud Shell's method; the row
// exists so that a missing secret is noticed before a wrong method.
func (s *Service) Operations() []httpx.Operation {
	var ops []httpx.Operation
	for _, path := range paths {
		ops = append(ops,
			httpx.Operation{Name: "msi.Token", Method: http.MethodGet, Pattern: path, Handler: s.token},
			httpx.Operation{Name: "msi.CloudShellToken", Method: http.MethodPost, Pattern: path, MaxBody: maxForm, Handler: s.token},
		)
	}
	return ops
}

// IMDSOperations is the table of IMDS.
func (s *Service) IMDSOperations() []httpx.Operation {
	return []httpx.Operation{
		{Name: "imds.Token", Method: http.MethodGet, Pattern: imdsPath, Handler: s.imdsToken},
	}
}

func (s *Service) unrouted(r *http.Request) error {
	if slices.Contains(paths, r.URL.Path) {
		return errMethod(r.Method)
	}
	return errNotFound(r.URL.Path)
}

func unroutedIMDS(r *http.Request) error {
	if r.URL.Path == imdsPath {
		return errMethod(r.Method)
	}
	return errNotFound(r.URL.Path)
}
