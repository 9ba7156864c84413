package storage

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/arm"
)

// Network is from where an account's data may be reached.
type Network struct {
	// Closed says that public network access is not enabled.
	Closed bool
	// Deny says that only Addresses may come.
	Deny      bool
	Addresses []netip.Prefix
	// Trusted says that Azure's own services may come all the same.
	Trusted bool
}

// networkOf reads checked properties. A perimeter lets nobody in, as there are
// none; what it is in Azure without one is unverified.
func networkOf(d arm.Document) Network {
	access := d.String("properties", "publicNetworkAccess")
	n := Network{
		Closed: access != "" && !strings.EqualFold(access, "Enabled"),
		Deny:   strings.EqualFold(d.String("properties", "networkAcls", "defaultAction"), "Deny"),
	}
	for _, item := range ipRules(d) {
		if p, ok := ipRule(item); ok {
			n.Addresses = append(n.Addresses, p)
		}
	}
	for service := range strings.SplitSeq(d.String("properties", "networkAcls", "bypass"), ",") {
		n.Trusted = n.Trusted || strings.EqualFold(strings.TrimSpace(service), "AzureServices")
	}
	return n
}

func ipRules(d arm.Document) []any {
	v, _ := d.Get("properties", "networkAcls", "ipRules")
	list, _ := v.([]any)
	return list
}

// ipRule reads a rule: an IPv4 address, or a range of at least four. Azure
// takes no private ones.
func ipRule(item any) (netip.Prefix, bool) {
	rule, _ := item.(map[string]any)
	value, _ := rule["value"].(string)
	p, err := netip.ParsePrefix(value)
	if err == nil && p.Bits() > 30 {
		return p, false
	}
	if err != nil {
		at, err := netip.ParseAddr(value)
		if err != nil {
			return p, false
		}
		p = netip.PrefixFrom(at, at.BitLen())
	}
	return p, p.Addr().Is4() && !p.Addr().IsPrivate()
}

// checkNetwork refuses what would otherwise leave an account open by mistake.
func checkNetwork(d arm.Document) error {
	for _, e := range []struct {
		path    []string
		allowed []string
	}{
		{[]string{"publicNetworkAccess"}, []string{"Enabled", "Disabled", "SecuredByPerimeter"}},
		{[]string{"networkAcls", "defaultAction"}, []string{"Allow", "Deny"}},
	} {
		v, given := d.Get(append([]string{"properties"}, e.path...)...)
		if !given || v == nil {
			continue
		}
		s, _ := v.(string)
		if !oneOf(s, e.allowed...) {
			return errValues(strings.Join(e.path, "."))
		}
	}
	acls, given := d.Get("properties", "networkAcls")
	if given && acls != nil && d.Object("properties", "networkAcls") == nil {
		return errValues("networkAcls")
	}
	if v, given := d.Get("properties", "networkAcls", "bypass"); given && v != nil {
		s, isText := v.(string)
		for service := range strings.SplitSeq(s, ",") {
			if !isText || !oneOf(strings.TrimSpace(service), "None", "Logging", "Metrics", "AzureServices") {
				return errValues("networkAcls.bypass")
			}
		}
	}
	if v, given := d.Get("properties", "networkAcls", "ipRules"); given && v != nil {
		if _, isList := v.([]any); !isList {
			return errValues("networkAcls.ipRules")
		}
	}
	for _, item := range ipRules(d) {
		if _, ok := ipRule(item); !ok {
			return errValues("networkAcls.ipRule[*].value")
		}
	}
	return nil
}

func oneOf(s string, allowed ...string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, s) })
}
