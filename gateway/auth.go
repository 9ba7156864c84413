package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// schemeAMLToken names callers who hold a token of the endpoint itself. Such a
// token carries its own authority, so RBAC is not asked.
const schemeAMLToken azure.Scheme = "AMLToken"

// scoringAudiences: SDKs ask for the first, the identity endpoint sample for
// the second.
var scoringAudiences = []string{"https://ml.azure.com", "https://ml.azure.com/"}

var errNoAMLTokens = errors.New("no endpoint tokens are issued here")

// authenticate checks the credential the endpoint's mode asks for. A
// credential of another mode is simply a wrong one.
func (s *Service) authenticate(r *http.Request, _ *httpx.Operation) (azure.Caller, error) {
	endpoint := callOf(r.Context()).endpoint
	credential, ok := bearer(r.Header)
	switch endpoint.AuthMode {
	case Key:
		if !ok {
			return azure.Caller{}, errKeyHeader()
		}
		if !isKey(credential, endpoint.Keys) {
			return azure.Caller{}, errKeyDenied()
		}
		return azure.Caller{Scheme: azure.EndpointKey}, nil
	case AMLToken:
		err := errNoAMLTokens
		switch {
		case !ok:
			return azure.Caller{}, errTokenHeader()
		case s.deps.AMLTokens != nil:
			err = s.deps.AMLTokens.VerifyAMLToken(r.Context(), endpoint.ID, credential)
		}
		if err != nil {
			return azure.Caller{}, errTokenDenied(err)
		}
		return azure.Caller{Scheme: schemeAMLToken}, nil
	default: // AADToken
		if !ok {
			return azure.Caller{}, errTokenHeader()
		}
		claims, err := s.deps.Tokens.Verify(r.Context(), credential, scoringAudiences)
		if err != nil {
			return azure.Caller{}, errTokenDenied(err)
		}
		return azure.Caller{Scheme: azure.Bearer, Principal: claims.Principal}, nil
	}
}

// bearer reads `Authorization: Bearer <credential>`.
func bearer(h http.Header) (credential string, ok bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, credential, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	credential = strings.TrimSpace(credential)
	return credential, strings.EqualFold(scheme, "Bearer") && credential != "" && !strings.ContainsAny(credential, " \t,")
}

// isKey compares with both keys in constant time.
func isKey(credential string, keys [2]string) bool {
	got := sha256.Sum256([]byte(credential))
	match := 0
	for _, key := range keys {
		want := sha256.Sum256([]byte(key))
		if key != "" {
			match |= subtle.ConstantTimeCompare(got[:], want[:])
		}
	}
	return match == 1
}
