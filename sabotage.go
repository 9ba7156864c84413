package amlocal

import (
	"github.com/amlocal/amlocal/entra"
	"github.com/amlocal/amlocal/rbac"
)

// sabotage switches checks off so that the sabotage run can prove that the
// tests of refusals notice. Nothing outside this module's tests can set it.
type sabotage struct {
	rbac  rbac.Sabotage
	entra entra.Sabotage
}

// SabotageEnv is read by this module's end-to-end tests alone.
const sabotageEnv = "AMLOCAL_SABOTAGE"

// sabotageFor is the switch of a name as the sabotage run spells it.
func sabotageFor(name string) (s sabotage, ok bool) {
	switch name {
	case "allow-all":
		s.rbac.AllowAll = true
	case "ignore-scope":
		s.rbac.IgnoreScope = true
	case "pool-data-actions":
		s.rbac.PoolDataActions = true
	case "no-signature-check":
		s.entra.NoSignatureCheck = true
	case "no-audience-check":
		s.entra.NoAudienceCheck = true
	default:
		return s, false
	}
	return s, true
}
