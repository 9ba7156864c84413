package machinelearning

import (
	"regexp"
	"strings"
)

// namePattern is the published rule for endpoint and deployment names: a
// letter, then letters, digits and single dashes, ending in a letter or digit.
var namePattern = regexp.MustCompile(`^[a-zA-Z](-?[a-zA-Z0-9])*$`)

func checkName(kind, name string) error {
	if len(name) < 3 || len(name) > 32 || !namePattern.MatchString(name) {
		return errInvalid("The %s name '%s' is invalid. It must be between 3 and 32 characters long, begin with a letter, consist of letters, digits and single dashes, and end with a letter or digit.", kind, name)
	}
	return nil
}

// oneOf finds the canonical spelling of an enumeration's value.
func oneOf(value string, allowed ...string) (string, bool) {
	for _, a := range allowed {
		if strings.EqualFold(a, value) {
			return a, true
		}
	}
	return "", false
}
