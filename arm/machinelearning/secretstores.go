package machinelearning

import (
	"strings"

	"github.com/amlocal/amlocal/arm"
)

// enforceMember is the endpoint's property that makes the creator's own
// permission decide over its identity's. It is in properties.properties, as
// azure-ai-ml sends it.
const enforceMember = "enforce_access_to_default_secret_stores"

// enforcesAccess reads the property; "disabled" is the default.
func enforcesAccess(doc arm.Document) (bool, error) {
	raw, _ := doc.Get("properties", "properties", enforceMember)
	if raw == nil {
		return false, nil
	}
	text, _ := raw.(string)
	value, ok := oneOf(text, "enabled", "disabled")
	if !ok {
		return false, errInvalid("properties.properties.%s must be enabled or disabled.", enforceMember)
	}
	return value == "enabled", nil
}

// checkSecretStores is asked when an endpoint is made: with the property, its
// creator has to be allowed to read the secrets of the workspace's connections,
// and the identity must be the system-assigned one, which then gets that role.
// The status of either refusal is not published; for want of a permission it is
// ARM's own 403 here.
func checkSecretStores(r *arm.Request, ws *arm.Record, doc arm.Document, wish identityWish) (enforced bool, err error) {
	enforced, err = enforcesAccess(doc)
	if err != nil || !enforced {
		return enforced, err
	}
	if strings.Contains(wish.kind, "UserAssigned") {
		return true, errInvalid("The property %s is only allowed for endpoints with a system-assigned identity. A user-assigned identity has to be given the role %s by hand.", enforceMember, secretsReaderName)
	}
	return true, r.Require(secretsCheck(ws.ID))
}

// keepsSecretStores refuses to change the property: the role that comes with it
// is given when the endpoint is created. Whether Azure does is not published.
func keepsSecretStores(doc, old arm.Document) error {
	if raw, _ := doc.Get("properties", "properties", enforceMember); raw == nil {
		return nil // what a body leaves out stays
	}
	want, err := enforcesAccess(doc)
	if err != nil {
		return err
	}
	if have, err := enforcesAccess(old); err == nil && have != want {
		return errInvalid("The property %s cannot be changed after creation. Delete the endpoint and create it again.", enforceMember)
	}
	return nil
}

// mayDeploy asks for every deployment's creator what checkSecretStores asks for
// the endpoint's.
func mayDeploy(r *arm.Request, endpoint *arm.Record) error {
	enforced, err := enforcesAccess(endpoint.Document)
	if err != nil || !enforced {
		return err
	}
	ws, _ := endpoint.ResourceID().Parent()
	return r.Require(secretsCheck(ws.String()))
}
