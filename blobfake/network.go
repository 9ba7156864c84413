package blobfake

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/amlocal/amlocal/internal/httpx"
)

// Network is from where an account's data may be reached. The zero value lets
// everyone come.
type Network struct {
	// Closed says that public network access is disabled: no address helps.
	Closed bool
	// Deny says that only Addresses may come.
	Deny      bool
	Addresses []netip.Prefix
	// Trusted says that Azure's own services may come all the same; it is an
	// exception from Deny and from Closed.
	Trusted bool
}

// admits says whether a request from a host and port may come in.
func (n Network) admits(remote string) bool {
	if n.Closed || !n.Deny {
		return !n.Closed
	}
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return false
	}
	at, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(n.Addresses, func(p netip.Prefix) bool { return p.Contains(at.Unmap()) })
}

// trusts says whether the platform itself may come in.
func (n Network) trusts() bool { return n.Trusted || !n.Closed && !n.Deny }

// before is what is asked of an authorized request. Where the network stands
// among Azure's checks is unverified; wire/msi-and-tokens.md has it last.
func before(r *http.Request, op *httpx.Operation) error {
	if a := targetOf(r).found; !a.Network.admits(r.RemoteAddr) {
		return errNetwork(a.Network)
	}
	return refuseUnsupported(r, op)
}

// errNetwork is the refusal of who comes from elsewhere, whatever they bring.
func errNetwork(n Network) *httpx.Error {
	why := "networkAcls.defaultAction of the account is Deny, and no rule lets the caller's address in"
	if n.Closed {
		why = "publicNetworkAccess of the account is not Enabled"
	}
	return httpx.Errorf(http.StatusForbidden, "AuthorizationFailure",
		"This request is not authorized to perform this operation.").Because(errors.New(why))
}
