package docker

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/amlocal/amlocal/runner"
)

// answerA is a name server as the emulator's.
func answerA(query []byte, self netip.Addr, exists func(string) bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch {
	case !exists(strings.TrimSuffix(q.Name.String(), ".")):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: self.As4()}}}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// ask calls the probe inside an instance.
func ask(t *testing.T, i runner.Instance, path string, query ...string) string {
	t.Helper()
	values := url.Values{}
	for n := 0; n+1 < len(query); n += 2 {
		values.Set(query[n], query[n+1])
	}
	resp, err := http.Get(i.Target().URL + path + "?" + values.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func failure(err error) *runner.Failure {
	var f *runner.Failure
	errors.As(err, &f)
	return f
}
