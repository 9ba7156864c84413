package entra

import (
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/internal/httpx"
)

// The errors of the grants. Numbers and OAuth words are those of the public
// AADSTS reference and of clients' sources; statuses are unverified where
// msi-and-tokens names none, and texts are close to the public ones.

func invalidGrant(number int, format string, args ...any) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_grant", number, format, args...)
}

func invalidClient(number int, format string, args ...any) *httpx.Error {
	return aadsts(http.StatusUnauthorized, "invalid_client", number, format, args...)
}

// errNotPublic: an application has to prove itself also where a user signs in.
func errNotPublic() *httpx.Error {
	return invalidClient(7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
}

// errPublicClient: one that has no secret must not send any.
func errPublicClient() *httpx.Error {
	return invalidClient(700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
}

// errGrantShared refuses a grant where the tenant cannot be told from the user.
func errGrantShared() *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 9001023,
		"The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.")
}

// Certificates.

func errAssertionKey(appID, reason, thumbprint string) *httpx.Error {
	return invalidClient(700027, "The certificate with identifier used to sign the client assertion is not registered on application. "+
		"[Reason - %s, Thumbprint of key used by client: '%s', Client application ID '%s'.]", reason, thumbprint, appID)
}

func errAssertionSubject(subject, appID string) *httpx.Error {
	return invalidClient(700021, "Client assertion application identifier '%s' doesn't match 'client_id' parameter '%s'.", subject, appID)
}

func errAssertionAudience(audience []string) *httpx.Error {
	return invalidClient(700023, "Client assertion audience claim '%s' does not match Realm issuer.", strings.Join(audience, ", "))
}

func errAssertionTime(now time.Time, c jwt.RegisteredClaims) *httpx.Error {
	show := func(d *jwt.NumericDate) string {
		if d == nil {
			return "none"
		}
		return d.UTC().Format(time.RFC3339)
	}
	return invalidClient(700024, "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.",
		now.UTC().Format(time.RFC3339), show(c.NotBefore), show(c.ExpiresAt))
}

// Federated credentials.

func errFederation(issuer, subject string, audience []string) *httpx.Error {
	return invalidClient(70021, "No matching federated identity record found for presented assertion. Assertion Issuer: '%s'. Assertion Subject: '%s'. Assertion Audience: '%s'.",
		issuer, subject, strings.Join(audience, ", "))
}

func errFederationPart(number int, part, value string) *httpx.Error {
	return invalidClient(number, "No matching federated identity record found for presented assertion %s '%s'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion.", part, value)
}

// errOwnTokens: a tenant's own applications and users do not vouch for another.
func errOwnTokens(issuer string) *httpx.Error {
	return invalidClient(700236, "Entra ID tokens issued by issuer '%s' may not be used for federated identity credential flows for applications or managed identities registered in this tenant.", issuer)
}

func errAssertionSignature(kid string) *httpx.Error {
	return invalidClient(50013, "Assertion failed signature validation. [Reason - The key was not found or does not verify the signature., kid: '%s'.]", kid)
}

// errIssuerKeys is the answer to an issuer whose keys cannot be had (its number
// is unverified).
func errIssuerKeys(issuer string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 50166,
		"Request to External OIDC endpoint failed: the keys of '%s' are not known here.", issuer)
}

// Users.

func errUnknownUser(name, tenant string) *httpx.Error {
	return invalidGrant(50034, "The user account %s does not exist in the %s directory. To sign into this application, the account must be added to the directory.", name, tenant)
}

func errWrongPassword() *httpx.Error {
	return invalidGrant(50126, "Error validating credentials due to invalid username or password.")
}

func errUserDeleted(objectID string) *httpx.Error {
	return invalidGrant(500341, "The user account %s has been deleted from the directory. To sign into this application, the account must be added to the directory.", objectID)
}

// Refresh tokens.

func errRefreshMalformed() *httpx.Error {
	return invalidGrant(9002313, "Invalid request. Request is malformed or invalid.")
}

func errRefreshClient(appID string) *httpx.Error {
	return invalidGrant(70000, "Provided grant is invalid or malformed: the refresh token was not issued to client '%s'.", appID)
}

func errRefreshExpired(issued time.Time) *httpx.Error {
	return invalidGrant(700082, "The refresh token has expired due to inactivity. The token was issued on %s and was inactive for 90.00:00:00.", issued.UTC().Format(time.RFC3339))
}

func errGrantRevoked(issued, since time.Time) *httpx.Error {
	return invalidGrant(50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. "+
		"The grant was issued on '%s' and the TokensValidFrom date (before which tokens are not valid) for this user is '%s'.", issued.UTC().Format(time.RFC3339), since.UTC().Format(time.RFC3339))
}

// Device codes.

func errDevicePending() *httpx.Error {
	return aadsts(http.StatusBadRequest, "authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
}

func errDeviceDeclined() *httpx.Error {
	return aadsts(http.StatusBadRequest, "authorization_declined", 65004, "User declined to consent to access the app.")
}

func errDeviceExpired() *httpx.Error {
	return aadsts(http.StatusBadRequest, "expired_token", 70020, "The provided value for the input parameter 'device_code' is not valid. This device code has expired.")
}

func errDeviceCode() *httpx.Error {
	return aadsts(http.StatusBadRequest, "bad_verification_code", 70018, "Invalid verification code due to User typing in wrong user code for device code flow, or a device code that is not known.")
}

// errTooMany bounds what waits in memory.
func errTooMany() *httpx.Error {
	return aadsts(http.StatusTooManyRequests, "temporarily_unavailable", 90033, "A transient error has occurred: too many sign-ins wait to be finished.")
}

// Authorization codes.

func errResponseType(kind string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "unsupported_response_type", 700051, "response_type '%s' is not enabled for the application.", kind)
}

func errRedirect(uri, appID string) *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 50011,
		"The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'.", uri, appID)
}

func errChallengeMethod() *httpx.Error {
	return aadsts(http.StatusBadRequest, "invalid_request", 501481, "The Code_Challenge_Method has to be 'S256' or 'plain'.")
}

func errCodeInvalid() *httpx.Error {
	return invalidGrant(70000, "The provided value for the input parameter 'code' is not valid.")
}

func errCodeRedeemed() *httpx.Error {
	return invalidGrant(54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
}

func errCodeExpired() *httpx.Error {
	return invalidGrant(70008, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.")
}

func errCodeRedirect() *httpx.Error {
	return invalidGrant(500112, "The reply address does not match the reply address provided when requesting Authorization code.")
}

func errCodeVerifier() *httpx.Error {
	return invalidGrant(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
}
