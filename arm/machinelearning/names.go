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

// assetPattern is the published rule for names of assets and datastores, with
// the dots that versions have.
var assetPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$`)

func checkAssetName(names ...string) error {
	for _, name := range names {
		if !assetPattern.MatchString(name) {
			return errInvalid("The name '%s' is invalid. It must begin with a letter or digit, consist of letters, digits, dashes, underscores and dots, and have at most 255 characters.", name)
		}
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
