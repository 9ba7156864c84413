package storage_test

import (
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/arm/storage"
)

func TestNetworkSettings(t *testing.T) {
	s, p, _ := start(t)
	owner, path := s.Owner(), armtest.Group+under+"/acct"
	s.Want(http.StatusOK, owner, http.MethodPut, path, plain)
	for _, tt := range []struct {
		properties string
		want       storage.Network
	}{
		{`"accessTier":"Hot"`, storage.Network{Trusted: true}},
		{`"networkAcls":{"defaultAction":"deny"}`, storage.Network{Deny: true, Trusted: true}},
		{`"networkAcls":{"defaultAction":"Deny","bypass":"None"}`, storage.Network{Deny: true}},
		{`"networkAcls":{"defaultAction":"Deny","bypass":"Logging, AzureServices"}`, storage.Network{Deny: true, Trusted: true}},
		{`"networkAcls":{"defaultAction":"Deny","bypass":"Logging,Metrics","ipRules":[{"value":"20.1.2.3","action":"Allow"},{"value":"40.0.0.0/30"}]}`,
			storage.Network{Deny: true, Addresses: []netip.Prefix{netip.MustParsePrefix("20.1.2.3/32"), netip.MustParsePrefix("40.0.0.0/30")}}},
		{`"publicNetworkAccess":"disabled"`, storage.Network{Closed: true, Deny: true, Addresses: []netip.Prefix{netip.MustParsePrefix("20.1.2.3/32"), netip.MustParsePrefix("40.0.0.0/30")}}},
		{`"publicNetworkAccess":"SecuredByPerimeter","networkAcls":null`, storage.Network{Closed: true, Trusted: true}},
		{`"publicNetworkAccess":"Enabled"`, storage.Network{Trusted: true}},
	} {
		s.Want(http.StatusOK, owner, http.MethodPatch, path, `{"properties":{`+tt.properties+`}}`)
		if a, _, _ := p.Account(t.Context(), "acct"); !reflect.DeepEqual(a.Network, tt.want) {
			t.Errorf("%s: %+v", tt.properties, a.Network)
		}
	}
	for properties, says := range map[string]string{
		`"publicNetworkAccess":"Off"`:                                               "publicNetworkAccess",
		`"publicNetworkAccess":false`:                                               "publicNetworkAccess",
		`"networkAcls":[]`:                                                          "networkAcls",
		`"networkAcls":{"defaultAction":"Block"}`:                                   "networkAcls.defaultAction",
		`"networkAcls":{"defaultAction":"Deny","bypass":"Everyone"}`:                "networkAcls.bypass",
		`"networkAcls":{"defaultAction":"Deny","bypass":["AzureServices"]}`:         "networkAcls.bypass",
		`"networkAcls":{"defaultAction":"Deny","ipRules":"20.1.2.3"}`:               "networkAcls.ipRules",
		`"networkAcls":{"defaultAction":"Deny","ipRules":["20.1.2.3"]}`:             "networkAcls.ipRule[*].value",
		`"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"nowhere"}]}`:    "networkAcls.ipRule[*].value",
		`"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"::1"}]}`:        "networkAcls.ipRule[*].value",
		`"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"10.0.0.1"}]}`:   "networkAcls.ipRule[*].value",
		`"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"4.0.0.0/31"}]}`: "networkAcls.ipRule[*].value",
	} {
		a := s.Do(owner, http.MethodPatch, path, `{"properties":{`+properties+`}}`)
		if a.Status != http.StatusBadRequest || a.Code() != "InvalidValuesForRequestParameters" || !strings.Contains(a.Message(), says+".") {
			t.Errorf("%s: %d %s", properties, a.Status, a.Raw)
		}
	}
	if a, _, _ := p.Account(t.Context(), "acct"); !reflect.DeepEqual(a.Network, storage.Network{Trusted: true}) {
		t.Errorf("refused settings changed the account: %+v", a.Network)
	}
}
