package entra

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// openIDDocument is the v2 document; the v1 one leaves out what is empty.
type openIDDocument struct {
	TokenEndpoint         string   `json:"token_endpoint"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	JWKSURI               string   `json:"jwks_uri"`
	ResponseModes         []string `json:"response_modes_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	SigningAlgs           []string `json:"id_token_signing_alg_values_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	Scopes                []string `json:"scopes_supported"`
	Issuer                string   `json:"issuer"`
	RequestURIParameter   bool     `json:"request_uri_parameter_supported"`
	UserInfoEndpoint      string   `json:"userinfo_endpoint"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint"`
	HTTPLogout            bool     `json:"http_logout_supported"`
	FrontChannelLogout    bool     `json:"frontchannel_logout_supported"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	Claims                []string `json:"claims_supported"`
	KerberosEndpoint      string   `json:"kerberos_endpoint"`
	TenantRegionScope     *string  `json:"tenant_region_scope"`
	CloudInstanceName     string   `json:"cloud_instance_name"`
	CloudGraphHostName    string   `json:"cloud_graph_host_name"`
	GraphHost             string   `json:"msgraph_host"`
	RBACURL               string   `json:"rbac_url"`
}

func (s *Service) openIDConfigurationV2(w http.ResponseWriter, r *http.Request) error {
	return s.openIDConfiguration(w, r, "v2.0")
}

func (s *Service) openIDConfigurationV1(w http.ResponseWriter, r *http.Request) error {
	return s.openIDConfiguration(w, r, "")
}

func (s *Service) openIDConfiguration(w http.ResponseWriter, r *http.Request, version string) error {
	t, ok := s.tenant(r)
	if !ok {
		return errUnknownTenant("invalid_tenant", segment(r))
	}
	base := "https://" + authorityHost(r) + "/" + t.segment
	// join puts the version between two parts of a path, if there is one.
	join := func(before, after string) string {
		if version == "" {
			return base + before + after
		}
		return base + before + "/" + version + after
	}
	doc := openIDDocument{
		TokenEndpoint:         join("/oauth2", "/token"),
		TokenAuthMethods:      []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		JWKSURI:               join("/discovery", "/keys"),
		ResponseModes:         []string{"query", "fragment", "form_post"},
		SubjectTypes:          []string{"pairwise"},
		SigningAlgs:           []string{"RS256"},
		ResponseTypes:         []string{"code", "id_token", "code id_token", "id_token token"},
		Scopes:                []string{"openid", "profile", "email", "offline_access"},
		UserInfoEndpoint:      "https://graph.microsoft.com/oidc/userinfo",
		AuthorizationEndpoint: join("/oauth2", "/authorize"),
		DeviceEndpoint:        join("/oauth2", "/devicecode"),
		HTTPLogout:            true,
		FrontChannelLogout:    true,
		EndSessionEndpoint:    join("/oauth2", "/logout"),
		Claims: []string{"sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host",
			"aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"},
		KerberosEndpoint:   base + "/kerberos",
		CloudInstanceName:  "microsoftonline.com",
		CloudGraphHostName: "graph.windows.net",
		GraphHost:          "graph.microsoft.com",
		RBACURL:            "https://pas.windows.net",
	}
	// The shared names have the literal template as issuer, as in Azure.
	tid := s.deps.TenantID
	if t.shared {
		tid = "{tenantid}"
	} else {
		region := "NA"
		doc.TenantRegionScope = &region
	}
	if doc.Issuer = "https://" + stsHost + "/" + tid + "/"; version != "" {
		doc.Issuer = "https://" + publicHost + "/" + tid + "/" + version
	} else {
		doc.JWKSURI = "https://" + authorityHost(r) + "/common/discovery/keys"
	}
	w.Header().Set("Cache-Control", "max-age=86400, private")
	writeJSON(w, http.StatusOK, doc)
	return nil
}

// instanceDocument is the answer of /common/discovery/instance.
type instanceDocument struct {
	TenantDiscoveryEndpoint string         `json:"tenant_discovery_endpoint"`
	APIVersion              string         `json:"api-version"`
	Metadata                []instanceHost `json:"metadata"`
}

type instanceHost struct {
	PreferredNetwork string   `json:"preferred_network"`
	PreferredCache   string   `json:"preferred_cache"`
	Aliases          []string `json:"aliases"`
}

// instanceDiscovery tells a client which hosts are one authority. The real
// service refuses hosts it does not know; here any https host is listed as its
// own alias, because clients of a private authority ask login.microsoftonline.com
// about it.
func (s *Service) instanceDiscovery(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	raw := q.Get("authorization_endpoint")
	if raw == "" {
		return errMissingField("authorization_endpoint")
	}
	endpoint, err := url.Parse(raw)
	if err != nil || endpoint.Scheme != "https" || endpoint.Host == "" {
		return errInstance(raw)
	}
	name, rest, ok := strings.Cut(strings.TrimPrefix(endpoint.Path, "/"), "/")
	if !ok || name == "" {
		return errInstance(raw)
	}
	public := instanceHost{
		PreferredNetwork: publicHost, PreferredCache: "login.windows.net",
		Aliases: []string{publicHost, "login.windows.net", "login.microsoft.com", stsHost},
	}
	version := "1.1"
	if v := q.Get("api-version"); v == "1.0" || v == "1.1" {
		version = v
	}
	doc := instanceDocument{APIVersion: version, Metadata: []instanceHost{public}}
	host := strings.ToLower(endpoint.Host)
	if !slices.Contains(public.Aliases, host) {
		doc.Metadata = append(doc.Metadata, instanceHost{PreferredNetwork: host, PreferredCache: host, Aliases: []string{host}})
	} else if host == stsHost {
		host = publicHost
	}
	infix := ""
	if strings.HasPrefix(rest, "oauth2/v2.0/") {
		infix = "/v2.0"
	}
	doc.TenantDiscoveryEndpoint = "https://" + host + "/" + url.PathEscape(name) + infix + "/.well-known/openid-configuration"
	w.Header().Set("Cache-Control", "max-age=86400, private")
	writeJSON(w, http.StatusOK, doc)
	return nil
}
