package blobfake

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

const (
	formedCorrectly = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature."
	seeChallenge    = "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
	errorDetail     = "AuthenticationErrorDetail"
)

// withExtra adds an element to the error body.
func withExtra(e *httpx.Error, name, value string) *httpx.Error {
	if e.Extra == nil {
		e.Extra = map[string]string{}
	}
	e.Extra[name] = value
	return e
}

func errAuthenticationFailed(detail string) *httpx.Error {
	e := httpx.Errorf(http.StatusForbidden, "AuthenticationFailed", formedCorrectly).Because(errors.New(detail))
	return withExtra(e, errorDetail, detail)
}

// errBadToken is a rejected bearer token: before 2019-12-12 there was no
// challenge and the answer was that of any failed authentication.
func (s *Service) errBadToken(v version, detail string, cause error) error {
	if v < challengeVersion {
		return errAuthenticationFailed(detail).Because(cause)
	}
	e := httpx.Errorf(http.StatusUnauthorized, "InvalidAuthenticationInfo", seeChallenge).Because(cause)
	e.Header = s.challenge()
	return withExtra(e, errorDetail, detail)
}

// errAnonymous refuses a caller without a credential at a private resource.
func (s *Service) errAnonymous(v version) error {
	if v < challengeVersion {
		return httpx.Errorf(http.StatusNotFound, "ResourceNotFound", "The specified resource does not exist.").
			Because(errors.New("anonymous request to a private resource"))
	}
	e := httpx.Errorf(http.StatusUnauthorized, "NoAuthenticationInformation", seeChallenge).
		Because(errors.New("anonymous request to a private resource"))
	e.Header = s.challenge()
	return e
}

// challenge is unquoted, space-separated and without a final slash, as
// recorded (wire/msi-and-tokens.md section 9).
func (s *Service) challenge() http.Header {
	return http.Header{"Www-Authenticate": {"Bearer authorization_uri=https://login.microsoftonline.com/" +
		s.tenantID + "/oauth2/authorize resource_id=https://storage.azure.com"}}
}

func errInvalidScheme() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidAuthenticationInfo",
		"Authentication information is not given in the correct format. Check the value of Authorization header.")
}

// deny is RBAC's refusal: 403, never 401, and no challenge.
func deny(*http.Request, azure.Decision) error { return errPermissionMismatch() }

func errPermissionMismatch() *httpx.Error {
	return httpx.Errorf(http.StatusForbidden, "AuthorizationPermissionMismatch",
		"This request is not authorized to perform this operation using this permission.")
}

func errMismatch(what, phrase string) *httpx.Error {
	return httpx.Errorf(http.StatusForbidden, "Authorization"+what+"Mismatch",
		"This request is not authorized to perform this operation using this %s.", phrase)
}

func errBlobOverwrite() *httpx.Error {
	return httpx.Errorf(http.StatusForbidden, "UnauthorizedBlobOverwrite",
		"This request is not authorized to perform blob overwrites.")
}

func errKeyAuthForbidden() *httpx.Error {
	return httpx.Errorf(http.StatusForbidden, "KeyBasedAuthenticationNotPermitted",
		"Key based authentication is not permitted on this storage account.")
}

func errPublicAccessForbidden() *httpx.Error {
	return httpx.Errorf(http.StatusConflict, "PublicAccessNotPermitted",
		"Public access is not permitted on this storage account.")
}

func errResourceNotFound() *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "ResourceNotFound", "The specified resource does not exist.")
}

func errContainerNotFound() *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "ContainerNotFound", "The specified container does not exist.")
}

func errContainerExists() *httpx.Error {
	return httpx.Errorf(http.StatusConflict, "ContainerAlreadyExists", "The specified container already exists.")
}

func errBlobNotFound() *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "BlobNotFound", "The specified blob does not exist.")
}

func errBlobExists() *httpx.Error {
	return httpx.Errorf(http.StatusConflict, "BlobAlreadyExists", "The specified blob already exists.")
}

func errInvalidName() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidResourceName",
		"The specified resource name contains invalid characters.")
}

func errNameLength() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "OutOfRangeInput", "The specified resource name length is not within the permissible limits.")
}

func errInvalidURI() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidUri", "The requested URI does not represent any resource on the server.")
}

func errInvalidHeader(name, value string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format.")
	return withExtra(withExtra(e, "HeaderName", name), "HeaderValue", value)
}

func errInvalidQuery(name, value, reason string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "InvalidQueryParameterValue", "Value for one of the query parameters specified in the request URI is invalid.")
	return withExtra(withExtra(withExtra(e, "QueryParameterName", name), "QueryParameterValue", value), "Reason", reason)
}

func errQueryOutOfRange(name, value string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "OutOfRangeQueryParameterValue", "One of the query parameters specified in the request URI is outside the permissible range.")
	return withExtra(withExtra(e, "QueryParameterName", name), "QueryParameterValue", value)
}

func errMissingHeader(name string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified.")
	return withExtra(e, "HeaderName", name)
}

func errMissingQuery(name string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "MissingRequiredQueryParameter", "A query parameter that's mandatory for this request is not specified.")
	return withExtra(e, "QueryParameterName", name)
}

func errMissingLength() *httpx.Error {
	return httpx.Errorf(http.StatusLengthRequired, "MissingContentLengthHeader", "Content-Length HTTP header is missing.")
}

func errBodyTooLarge(limit int64) *httpx.Error {
	e := httpx.Errorf(http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit.")
	return withExtra(e, "MaxLimit", strconv.FormatInt(limit, 10))
}

func errConditionNotMet() *httpx.Error {
	return httpx.Errorf(http.StatusPreconditionFailed, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
}

func errNotModified() *httpx.Error {
	return httpx.Errorf(http.StatusNotModified, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
}

func errNoLease(noun string) *httpx.Error {
	return httpx.Errorf(http.StatusPreconditionFailed, "LeaseNotPresentWith"+noun+"Operation", "There is currently no lease on the %s.", lower(noun))
}

func errInvalidRange(size int64) *httpx.Error {
	e := httpx.Errorf(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The range specified is invalid for the current size of the resource.")
	e.Header = http.Header{"Content-Range": {"bytes */" + strconv.FormatInt(size, 10)}}
	return e
}

func errRangeTooLarge() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "OutOfRangeInput", "One of the request inputs is out of range.")
}

func errInvalidMD5(value string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "InvalidMd5", "The MD5 value specified in the request is invalid. MD5 value must be 128 bits and base64 encoded.")
	return withExtra(e, "UserSpecifiedMd5", value)
}

func errMD5Mismatch(user, server string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated by the server.")
	return withExtra(withExtra(e, "UserSpecifiedMd5", user), "ServerCalculatedMd5", server)
}

func errCRCMismatch(user, server string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "Crc64Mismatch", "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.")
	return withExtra(withExtra(e, "UserSpecifiedCrc", user), "ServerCalculatedCrc", server)
}

func errMetadataName() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidMetadata", "The metadata specified is invalid. It has characters that are not permitted.")
}

func errMetadataKeyEmpty() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "EmptyMetadataKey", "The key for one of the metadata key-value pairs is empty.")
}

func errMetadataTooLarge() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "MetadataTooLarge", "The size of the specified metadata exceeds the maximum size permitted.")
}

func errEmptyTagName() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "EmptyTagName", "The name of one of the tag key-value pairs is empty.")
}

func errTagsTooLarge() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "TagsTooLarge", "The tags specified exceed the maximum permissible limit.")
}

func errInvalidTag() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidTag", "The tags specified are invalid. It contains characters that are not permitted.")
}

func errDuplicateTags() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "DuplicateTagNames", "The tags specified contain duplicate names.")
}

func errInvalidBlock() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidBlobOrBlock", "The specified blob or block content is invalid.")
}

func errInvalidBlockList() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidBlockList", "The specified block list is invalid.")
}

func errBlockListTooLong() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "BlockListTooLong", "The block list may not contain more than 50,000 blocks.")
}

func errInvalidXML(cause error) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidXmlDocument", "XML specified is not syntactically valid.").Because(cause)
}

func errXMLNodeValue(name, value string) *httpx.Error {
	e := httpx.Errorf(http.StatusBadRequest, "InvalidXmlNodeValue", "The value for one of the XML nodes is not in the correct format.")
	return withExtra(withExtra(e, "XmlNodeName", name), "XmlNodeValue", value)
}

func errCopySource(status int, code string) *httpx.Error {
	e := httpx.Errorf(status, "CannotVerifyCopySource", "Could not verify the copy source within the specified time.")
	return withExtra(e, "CopySourceErrorCode", code)
}

func errCopyNotPending() *httpx.Error {
	return httpx.Errorf(http.StatusConflict, "NoPendingCopyOperation", "There is currently no pending copy operation.")
}

// errNotImplemented is our own: Azure can do this, we cannot. No SDK retries a
// 501.
func errNotImplemented(what string) *httpx.Error {
	return httpx.Errorf(http.StatusNotImplemented, "NotImplemented", "amlocal does not implement %s. See the limitations in its documentation.", what)
}

func errVerb() *httpx.Error {
	return httpx.Errorf(http.StatusMethodNotAllowed, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.")
}

// unrouted answers what no row of the table takes.
func unrouted(r *http.Request) error {
	q := targetOf(r).query
	switch {
	case q.has("comp"):
		return errInvalidQuery("comp", q.get("comp"), "")
	case q.has("restype"):
		return errInvalidQuery("restype", q.get("restype"), "")
	}
	return errVerb()
}
