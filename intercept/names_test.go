package intercept_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/amlocal/amlocal/intercept"
)

func nameServer(p *proxy) intercept.NameServer {
	return intercept.NameServer{Known: p.Known, Address: netip.MustParseAddr("127.0.0.1")}
}

// TestNames asks as Go's own resolver does, over UDP and TCP.
func TestNames(t *testing.T) {
	p := startProxy(t, nil)
	n := nameServer(p)
	unknown := make(chan string, 10)
	n.Unknown = func(host string) {
		select {
		case unknown <- host:
		default: // a resolver that lost patience asks again
		}
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- n.ServePacket(ctx, pc) }()
	go func() { done <- n.ServeStream(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
	for _, network := range []string{"udp", "tcp"} {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if network == "udp" {
				return (&net.Dialer{}).DialContext(ctx, network, pc.LocalAddr().String())
			}
			return (&net.Dialer{}).DialContext(ctx, network, ln.Addr().String())
		}}
		for name, found := range map[string]bool{
			"acct.blob.core.windows.net.": true, "ACCT.blob.core.windows.net.": true, "fancy.azure.com.": true,
			"nobody.blob.core.windows.net.": false, "example.com.": false,
		} {
			got, err := r.LookupHost(t.Context(), name)
			var missing *net.DNSError
			switch {
			case found && (err != nil || len(got) != 1 || got[0] != "127.0.0.1"):
				t.Errorf("%s by %s: %v %v", name, network, got, err)
			case !found && (!errors.As(err, &missing) || !missing.IsNotFound):
				t.Errorf("%s by %s: %v %v, want no such host", name, network, got, err)
			}
		}
	}
	if got := <-unknown; got != "nobody.blob.core.windows.net" && got != "example.com" {
		t.Errorf("unknown name %q", got)
	}
}

func nameRequest(t testing.TB, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("acct.blob.core.windows.net."),
			Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET}},
	}
	if change != nil {
		change(&m)
	}
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestNameAnswers(t *testing.T) {
	n := nameServer(startProxy(t, nil))
	for name, c := range map[string]struct {
		request []byte
		code    dnsmessage.RCode
		answers int
	}{
		"an address of the other family": {nameRequest(t, nil), dnsmessage.RCodeSuccess, 0},
		"an address":                     {nameRequest(t, func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA }), dnsmessage.RCodeSuccess, 1},
		"another class":                  {nameRequest(t, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), dnsmessage.RCodeNameError, 0},
		"no question":                    {nameRequest(t, func(m *dnsmessage.Message) { m.Questions = nil }), dnsmessage.RCodeFormatError, 0},
		"two questions":                  {nameRequest(t, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), dnsmessage.RCodeFormatError, 0},
		"an update":                      {nameRequest(t, func(m *dnsmessage.Message) { m.OpCode = 5 }), dnsmessage.RCodeNotImplemented, 0},
	} {
		var got dnsmessage.Message
		if err := got.Unpack(n.Answer(c.request)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.Response || got.ID != 7 || got.RCode != c.code || len(got.Answers) != c.answers {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := n.Answer(nameRequest(t, func(m *dnsmessage.Message) { m.Response = true })); got != nil {
		t.Errorf("an answer was answered: %x", got)
	}
}

func FuzzNameAnswer(f *testing.F) {
	f.Add(nameRequest(f, nil))
	f.Add([]byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Add([]byte{})
	n := intercept.NameServer{Known: func(string) bool { return true }, Address: netip.MustParseAddr("127.0.0.1")}
	f.Fuzz(func(t *testing.T, request []byte) {
		answer := n.Answer(request)
		if answer == nil {
			return
		}
		var got dnsmessage.Message
		if err := got.Unpack(answer); err != nil || !got.Response {
			t.Errorf("%x is answered %x: %v", request, answer, err)
		}
	})
}
