package machinelearning

import (
	"errors"
	"regexp"
	"strings"
)

// secretReference is a secret that an environment variable asks for.
type secretReference struct {
	// text is the reference as it is written.
	text string

	// connection is a connection's name; part is what is wanted of it.
	connection string
	part       connectionPart
	key        string // of partCredential and partMetadata

	// vault, secret and version name a version of a Key Vault secret.
	vault, secret, version string
}

type connectionPart int

const (
	partAll connectionPart = iota
	partCredential
	partMetadata
	partTarget
)

// The documented forms. Braces end a reference, so no part may hold one.
var (
	connectionReference = regexp.MustCompile(`^azureml://connections/([^/{}\s]+)(?:/(?:(target)|(credentials|metadata)/([^{}\x00-\x1f]+)))?$`)
	vaultReference      = regexp.MustCompile(`^keyvault:https://([a-zA-Z](?:-?[a-zA-Z0-9]){2,23})\.vault\.azure\.net/secrets/([0-9a-zA-Z-]{1,127})/([0-9a-fA-F]{32})$`)
	// versionless is recognised to say what is missing.
	versionless = regexp.MustCompile(`^keyvault:https://[^/]+/secrets/[^/]+/?$`)
)

const referenceForms = "${{azureml://connections/NAME}}, ${{azureml://connections/NAME/credentials/KEY}}, ${{azureml://connections/NAME/metadata/KEY}}, ${{azureml://connections/NAME/target}} or ${{keyvault:https://VAULT.vault.azure.net/secrets/SECRET/VERSION}}"

// parseReference reads a variable's value. is says that it asks for a secret:
// every value with "${{" does, so that a misspelt reference fails and is not
// handed to the code as text.
func parseReference(value string) (ref secretReference, is bool, err error) {
	if !strings.Contains(value, "${{") {
		return ref, false, nil
	}
	inner, opened := strings.CutPrefix(value, "${{")
	inner, closed := strings.CutSuffix(inner, "}}")
	if !opened || !closed || strings.Contains(inner, "${{") || strings.Contains(inner, "}}") {
		return ref, true, errors.New("a reference has to be the whole value")
	}
	ref.text = value
	if m := connectionReference.FindStringSubmatch(inner); m != nil {
		ref.connection, ref.key = m[1], m[4]
		switch {
		case m[2] != "":
			ref.part = partTarget
		case m[3] == "credentials":
			ref.part = partCredential
		case m[3] == "metadata":
			ref.part = partMetadata
		}
		return ref, true, nil
	}
	if m := vaultReference.FindStringSubmatch(inner); m != nil {
		ref.vault, ref.secret, ref.version = strings.ToLower(m[1]), m[2], strings.ToLower(m[3])
		return ref, true, nil
	}
	if versionless.MatchString(inner) {
		return ref, true, errors.New("a Key Vault reference has to name a version of the secret")
	}
	return ref, true, errors.New("it is none of " + referenceForms)
}
