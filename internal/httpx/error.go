package httpx

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is what a client is told: a status, the plane's public code and a
// message. Cause goes to the audit log only.
type Error struct {
	Status  int
	Code    string
	Message string
	Target  string
	Details []Error
	// Header is added to the answer (WWW-Authenticate, Allow).
	Header http.Header
	// Extra are plane-specific body fields, such as the blob store's
	// AuthenticationErrorDetail.
	Extra map[string]string
	Cause error
}

// Errorf makes an Error; the message is what the client reads.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Because attaches the private cause and returns e.
func (e *Error) Because(cause error) *Error { e.Cause = cause; return e }

// Error is "code: message".
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s (%v)", e.Code, e.Message, e.Cause)
	}
	return e.Code + ": " + e.Message
}

// Unwrap gives the private cause.
func (e *Error) Unwrap() error { return e.Cause }

// AsError is the typed error inside err, or the plane's opaque 500 with err as
// its cause. A body over its limit is a 413.
func AsError(err error) *Error {
	var typed *Error
	if errors.As(err, &typed) {
		return typed
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return Errorf(http.StatusRequestEntityTooLarge, "RequestBodyTooLarge",
			"The request body is larger than the maximum permissible limit of %d bytes.", tooLarge.Limit).Because(err)
	}
	return Errorf(http.StatusInternalServerError, "InternalServerError",
		"The server encountered an internal error. Please retry the request.").Because(err)
}
