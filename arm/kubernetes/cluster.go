package kubernetes

import (
	"regexp"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

// namePattern is AKS's rule, which is also within Arc's.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?$`)

func checkName(name string, _ arm.Document) error {
	if !namePattern.MatchString(name) {
		return errName(name)
	}
	return nil
}

func errName(name string) *httpx.Error { // code unverified
	return arm.BadRequest("InvalidResourceName",
		"The cluster name '%s' is not valid: it must have 1 to 63 letters, digits, hyphens and underscores, and start and end with a letter or digit.", name)
}
