package amlocal

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

// rawTarget sends a path exactly as it is spelled.
func (l *lab) rawTarget(t *testing.T, method, host, target, bearer string, header map[string]string) answer {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	r := &http.Request{Method: method, URL: &url.URL{Scheme: "https", Host: host, Opaque: "//" + host + path, RawQuery: query}, Host: host, Header: http.Header{}}
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("x-ms-version", "2021-12-02")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	return l.do(t, r.WithContext(t.Context()))
}

// TestPathTricks: a role on the sibling container does not reach the box by
// any spelling of a path.
func TestPathTricks(t *testing.T) {
	covers.R(t, "R-1002", "R-1026", "R-311")
	l := newLab(t, nil)
	p := l.principal("trickster")
	l.owner.grant(t, p.oid, "Storage Blob Data Owner", containerID(accountOne, "sibling"))
	storage := p.token(t, forStorage)
	host := accountOne + ".blob.core.windows.net"
	for _, target := range []string{
		"/box/hello.txt", "//box/hello.txt", "/./box/hello.txt", "/sibling/../box/hello.txt", "/sibling/%2e%2e/box/hello.txt", "/sibling/..%2fbox/hello.txt",
		"/sibling%2f..%2fbox/hello.txt", "/box%2fhello.txt", "/%62ox/hello.txt", "/BOX/hello.txt", "/box/hello.txt?restype=container", "/box/hello.txt?container=sibling",
		"/box?restype=container&comp=list", "/?comp=list", "/" + accountOne + "/box/hello.txt", "/sibling/../../" + accountTwo + "/box/hello.txt", "/$root/../box/hello.txt",
		"/box/hello.txt?comp=metadata", "/box/hello.txt?comp=blocklist", "/box/hello.txt?comp=tags",
	} {
		if a := l.rawTarget(t, http.MethodGet, host, target, storage, nil); a.status < 400 || strings.Contains(a.body, helloText) {
			t.Errorf("GET %s: %d %s", target, a.status, a.body)
		}
	}
	for name, source := range map[string]string{"copy": "https://" + host + "/box/hello.txt", "other account": "https://" + accountTwo + ".blob.core.windows.net/box/hello.txt"} {
		a := l.rawTarget(t, http.MethodPut, host, "/sibling/stolen.txt", storage, map[string]string{"x-ms-copy-source": source, "x-ms-blob-type": "BlockBlob", "Content-Length": "0"})
		got := l.rawTarget(t, http.MethodGet, host, "/sibling/stolen.txt", storage, nil)
		if strings.Contains(got.body, helloText) {
			t.Errorf("%s: %d, then read %q", name, a.status, got.body)
		}
	}

	l.owner.endpoint(t, "mine", wish(nil))
	l.owner.endpoint(t, "theirs", wish(nil))
	l.owner.grant(t, p.oid, "Contributor", endpointID("mine"))
	management := p.token(t, forManagement)
	for _, target := range []string{
		"/onlineEndpoints/theirs", "/onlineEndpoints/mine/../theirs", "/onlineEndpoints/mine/%2e%2e/theirs", "/onlineEndpoints/mine%2f..%2ftheirs",
		"//onlineEndpoints/theirs", "/onlineEndpoints//theirs", "/onlineEndpoints/mine/deployments/../../theirs", "/onlineEndpoints/theirs/", "/onlineEndpoints/%74heirs",
		"/onlineEndpoints/mine;/../theirs", "/onlineEndpoints/", "/onlineEndpoints",
	} {
		for _, verb := range []string{"", "/listKeys"} {
			method := http.MethodGet
			if verb != "" {
				method = http.MethodPost
			}
			a := l.rawTarget(t, method, "management.azure.com", seedWorkspace+target+verb+"?api-version=2024-04-01", management, nil)
			if a.status < 400 || strings.Contains(a.body, "primaryKey") {
				t.Errorf("%s %s: %d %s", method, target+verb, a.status, a.body)
			}
		}
	}
	if a := l.rawTarget(t, http.MethodPost, "management.azure.com", endpointID("mine")+"/listKeys?api-version=2024-04-01", management, nil); a.status != 200 {
		t.Errorf("the caller's own endpoint: %d %s", a.status, a.body)
	}
}

// TestAuthorizationHeaders are spelled in ways that mean no credential.
func TestAuthorizationHeaders(t *testing.T) {
	covers.R(t, "R-1016", "R-1030")
	l := newLab(t, nil)
	l.owner.endpoint(t, "headers", wish(nil))
	p := l.principal("bearer")
	l.owner.grant(t, p.oid, "Storage Blob Data Owner", seedSubscription)
	l.owner.grant(t, p.oid, "Owner", seedSubscription)
	key := *l.owner.keys(t, "headers").PrimaryKey
	for host, credential := range map[string]string{
		accountOne + ".blob.core.windows.net": p.token(t, forStorage), "management.azure.com": p.token(t, forManagement), "headers.eastus.inference.ml.azure.com": key,
	} {
		path := map[bool]string{true: "/box/hello.txt", false: seedGroup + "?api-version=2024-04-01"}[strings.Contains(host, ".blob.")]
		method := http.MethodGet
		if strings.HasPrefix(host, "headers.") {
			method, path = http.MethodPost, "/score"
		}
		// The endpoint has no deployment: let in, one finds none.
		if status, body := l.wire(t, method, host, path, []string{"Authorization: Bearer " + credential}); status != 200 && status != 404 {
			t.Errorf("%s with the good header: %d %s", host, status, body)
		}
		for name, lines := range map[string][]string{
			"no scheme": {"Authorization: " + credential}, "Basic": {"Authorization: Basic " + credential}, "empty": {"Authorization:"}, "scheme alone": {"Authorization: Bearer "},
			"two, the good first": {"Authorization: Bearer " + credential, "Authorization: Bearer x"},
			"two, the good last":  {"Authorization: Bearer x", "Authorization: Bearer " + credential},
			"joined by a comma":   {"Authorization: Bearer x, Bearer " + credential},
		} {
			t.Run(host+"/"+name, func(t *testing.T) {
				status, body := l.wire(t, method, host, path, lines)
				if status != 400 && status != 401 && status != 403 && status != 409 || strings.Contains(body, helloText) {
					t.Errorf("%d %s", status, body)
				}
			})
		}
	}
}

// wire writes a request byte by byte: the client library would tidy it.
func (l *lab) wire(t *testing.T, method, host, path string, lines []string) (int, string) {
	t.Helper()
	plain, err := net.Dial("tcp", strings.TrimPrefix(l.e.Access().URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := fmt.Fprintf(plain, "CONNECT %[1]s:443 HTTP/1.1\r\nHost: %[1]s:443\r\n\r\n", host); err != nil {
		t.Fatal(err)
	}
	connected, err := http.ReadResponse(bufio.NewReader(plain), &http.Request{Method: http.MethodConnect})
	if err != nil || connected.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %v %v", connected, err)
	}
	conn := tls.Client(plain, &tls.Config{ServerName: host, RootCAs: l.http.Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12})
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nx-ms-version: 2021-12-02\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n\r\n", method, path, host, strings.Join(lines, "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
