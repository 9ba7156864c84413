package entra

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// aadstsField is the Error.Extra entry that holds the AADSTS number.
const aadstsField = "aadsts"

// aadsts makes an Entra error. code is the OAuth word (`error`), number the
// AADSTS number.
func aadsts(status int, code string, number int, format string, args ...any) *httpx.Error {
	return &httpx.Error{
		Status: status, Code: code,
		Message: fmt.Sprintf("AADSTS%d: ", number) + fmt.Sprintf(format, args...),
		Extra:   map[string]string{aadstsField: strconv.Itoa(number)},
	}
}

// errUnknownTenant: the OpenID document says invalid_tenant, the token
// endpoint invalid_request, as recorded.
func errUnknownTenant(code, tenant string) *httpx.Error {
	return aadsts(http.StatusBadRequest, code, 90002,
		"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. "+
			"Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenant)
}

// errNoTenant is for grants that need one tenant and got /common (unverified).
func errNoTenant() *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 90019,
		"No tenant-identifying information found in either the request or implied by any provided credentials.")
}

func errMissingField(name string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 900144,
		"The request body must contain the following parameter: '%s'.", name)
}

func errUnreadableBody(cause error) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 90014,
		"The request body is not a form that can be read.").Because(cause)
}

func errDuplicateField(name string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 9002313,
		"Invalid request. Request is malformed or invalid: '%s' occurs more than once.", name)
}

func errUnsupportedGrant(grant string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "unsupported_grant_type", 70003,
		"The app requested an unsupported grant type '%s'.", grant)
}

func errPostOnly(method string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 900561,
		"The endpoint only accepts POST requests. Received a %s request.", method)
}

func errUnknownApp(appID, tenant string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "unauthorized_client", 700016,
		"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application "+
			"has not been installed by the administrator of the tenant or consented to by any user in the tenant. "+
			"You may have sent your authentication request to the wrong tenant.", appID, tenant)
}

func errNoCredential() *httpx.Error {
	return aadsts(http.StatusUnauthorized, "invalid_client", 7000216,
		"'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
}

func errWrongSecret(appID string) *httpx.Error {
	return aadsts(http.StatusUnauthorized, "invalid_client", 7000215,
		"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "+
			"not the client secret ID, for a secret added to app '%s'.", appID)
}

func errExpiredSecret(appID string) *httpx.Error {
	return aadsts(http.StatusUnauthorized, "invalid_client", 7000222,
		"The provided client secret keys for app '%s' are expired. Create new keys for your app.", appID)
}

func errAssertionMalformed(cause error) *httpx.Error {
	return aadsts(http.StatusUnauthorized, "invalid_client", 50027,
		"JWT token is invalid or malformed.").Because(cause)
}

func errScopeForm(scope string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_scope", 1002012,
		"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default "+
			"suffixed to the resource identifier (application ID URI).", scope)
}

func errSeveralResources(scope string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_scope", 28000,
		"Provided value for the input parameter scope is not valid because it contains more than one resource. Scope %s is not valid.", scope)
}

func errUnknownResource(resource, tenant string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_resource", 500011,
		"The resource principal named %s was not found in the tenant named %s. This can happen if the application has not "+
			"been installed by the administrator of the tenant or consented to by any user in the tenant. "+
			"You might have sent your authentication request to the wrong tenant.", resource, tenant)
}

func errInstance(endpoint string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_instance", 50049, "Unknown or invalid instance. '%s'", endpoint)
}

// errScopeInvalid refuses a scope on a user's behalf that cannot be read.
func errScopeInvalid(scope string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_scope", 70011,
		"The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope %s is not valid.", scope)
}

// errNoSuchPermission refuses a permission the resource does not have.
func errNoSuchPermission(permission, resource string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_client", 650053,
		"The application asked for scope '%s' that doesn't exist on the resource '%s'. Contact the app vendor.", permission, resource)
}

// errNoPrincipal: the identity was deleted. The wording is ours.
func errNoPrincipal(p azure.Principal) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 700016,
		"The identity '%s' (object '%s') was not found in the directory.", p.AppID, p.ObjectID).Because(azure.ErrTokenPrincipal)
}

// unrouted answers for everything the operation table does not list.
func (s *Service) unrouted(r *http.Request) error {
	if tokenPath(r.URL.Path) {
		return errPostOnly(r.Method)
	}
	return httpx.Errorf(http.StatusNotFound, "not_found",
		"amlocal does not imitate %s %s of the sign-in service.", r.Method, r.URL.Path)
}

type errorBody struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
	ErrorCodes       []int  `json:"error_codes"`
	Timestamp        string `json:"timestamp"`
	TraceID          string `json:"trace_id"`
	CorrelationID    string `json:"correlation_id"`
	ErrorURI         string `json:"error_uri,omitempty"`
}

// encodeError is the plane's one error encoder.
func (s *Service) encodeError(w http.ResponseWriter, r *http.Request, e *httpx.Error) {
	body := errorBody{
		Error: e.Code, ErrorCodes: []int{},
		Timestamp:     s.deps.Clock.Now().UTC().Format("2006-01-02 15:04:05Z"),
		TraceID:       httpx.RequestID(r.Context()),
		CorrelationID: correlationID(r),
	}
	if number, err := strconv.Atoi(e.Extra[aadstsField]); err == nil {
		body.ErrorCodes = append(body.ErrorCodes, number)
		body.ErrorURI = fmt.Sprintf("https://%s/error?code=%d", publicHost, number)
	}
	body.ErrorDescription = fmt.Sprintf("%s\r\nTrace ID: %s\r\nCorrelation ID: %s\r\nTimestamp: %s",
		e.Message, body.TraceID, body.CorrelationID, body.Timestamp)
	noStore(w)
	writeJSON(w, e.Status, body)
}

// correlationID is the client's own, when it is a GUID: msal sends it as a
// header, MSAL.js as a query parameter.
func correlationID(r *http.Request) string {
	for _, id := range []string{r.Header.Get("client-request-id"), r.URL.Query().Get("client-request-id")} {
		if parsed, err := uuid.Parse(id); err == nil {
			return parsed.String()
		}
	}
	return uuid.NewString()
}
