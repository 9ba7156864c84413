package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/runner"
)

// raw is an instance of our own hand: answer has each request and writes on the
// connection, and says whether to keep it.
func raw(t *testing.T, answer func(n int, r *http.Request, c net.Conn) (keep bool)) (target runner.Target, connections *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = &atomic.Int32{}
	var requests atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer c.Close()
				reader := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(strings.NewReader(string(body)))
					if !answer(int(requests.Add(1)), r, c) {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return runner.Target{Instance: "raw", URL: "http://" + ln.Addr().String()}, connections
}

// TestBothWaysAreOne: the instance and the caller see the same whether a
// request takes the short way (a known, small length) or the long one.
func TestBothWaysAreOne(t *testing.T) {
	type seen struct {
		Method, URI, Host, Body string
		Header                  http.Header
	}
	last := make(chan seen, 1)
	w := start(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header.Del("Content-Length") // known one way, unknown the other
		last <- seen{r.Method, r.RequestURI, r.Host, string(body), r.Header.Clone()}
		rw.Header().Set("Connection", "X-Private, keep-alive")
		rw.Header().Set("X-Private", "between us")
		rw.Header()["X-Several"] = []string{"a", "b"}
		rw.Header().Set("Server", "mine")
		rw.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(rw, "first")
		_ = http.NewResponseController(rw).Flush()
		_, _ = io.WriteString(rw, "second")
		rw.Header().Set("X-Sum", "42")
		rw.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}))
	ask := func(method, path, body string, known bool) (seen, answer) {
		r := w.request(method, path, body)
		if !known {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
		}
		r.Header["X-Several"] = []string{"1", "2"}
		for name, value := range map[string]string{"X-Forwarded-For": "1.2.3.4", "Forwarded": "for=x", "Keep-Alive": "5", "x-ms-client-request-id": "mine", "Cookie": "a=b", "X-Request-Id": "not mine to say"} {
			r.Header.Set(name, value)
		}
		got := w.send(r)
		s := <-last
		for _, h := range []http.Header{s.Header, got.Header} {
			if h.Get("X-Request-Id") == "" {
				t.Error("no x-request-id")
			}
			h.Del("X-Request-Id")
			h.Del("Date")
		}
		return s, got
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		for _, path := range []string{"/score", "/a%2Fb/%41?x=%20;y&z", "//double"} {
			short, shortAnswer := ask(method, path, `{"data": 1}`, true)
			long, longAnswer := ask(method, path, `{"data": 1}`, false)
			if !reflect.DeepEqual(short, long) {
				t.Errorf("the instance sees\n%+v\nand\n%+v", short, long)
			}
			if short.Header.Get("Authorization") != "" || short.Header.Get("X-Forwarded-For") != "" {
				t.Errorf("the instance sees %v", short.Header)
			}
			if !reflect.DeepEqual(shortAnswer.Header, longAnswer.Header) || !reflect.DeepEqual(shortAnswer.Trailer, longAnswer.Trailer) || shortAnswer.body != longAnswer.body {
				t.Errorf("the caller sees\n%v %v %q\nand\n%v %v %q", shortAnswer.Header, shortAnswer.Trailer, shortAnswer.body, longAnswer.Header, longAnswer.Trailer, longAnswer.body)
			}
			if shortAnswer.Trailer.Get("X-Sum") != "42" || shortAnswer.Trailer.Get("X-Late") != "late" || shortAnswer.Header.Get("X-Private") != "" {
				t.Errorf("the caller sees %v %v", shortAnswer.Header, shortAnswer.Trailer)
			}
		}
	}
}

const kept = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestKeptConnections: they are used again, and not once the instance closed
// them: no request is lost.
func TestKeptConnections(t *testing.T) {
	closed := make(chan struct{}, 1)
	target, connections := raw(t, func(n int, _ *http.Request, c net.Conn) bool {
		_, _ = io.WriteString(c, kept)
		if n%5 == 0 {
			_ = c.Close() // without a word
			closed <- struct{}{}
			return false
		}
		return true
	})
	var last net.Conn
	w := start(t, func(_ *world, d *gateway.Deps) {
		d.DialContext = func(ctx context.Context, network, address string) (c net.Conn, err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, network, address)
			last = c
			return c, err
		}
	})
	w.setTargets("d-blue", target)
	for i := 1; i <= 20; i++ {
		if got := w.score("{}"); got.StatusCode != 200 || got.body != "ok" {
			t.Fatalf("request %d: %d %q", i, got.StatusCode, got.body)
		}
		if i%5 == 0 {
			for <-closed; gateway.Silent(last); { // the end travels by loopback
				time.Sleep(time.Millisecond)
			}
		}
	}
	if n := connections.Load(); n != 4 {
		t.Errorf("%d connections for 20 requests, four times closed", n)
	}
}

// TestNothingIsAskedTwice: an instance that takes a request on a kept
// connection and closes it unanswered may have acted on it. What has no effects
// is asked again.
func TestNothingIsAskedTwice(t *testing.T) {
	for method, want := range map[string]struct{ status, asked int }{"POST": {424, 1}, "GET": {200, 2}} {
		t.Run(method, func(t *testing.T) {
			var asked atomic.Int32
			target, _ := raw(t, func(n int, r *http.Request, c net.Conn) bool {
				if r.URL.Path == "/second" && asked.Add(1) == 1 {
					return false
				}
				_, _ = io.WriteString(c, kept)
				return true
			})
			w := start(t, nil)
			w.setTargets("d-blue", target)
			if got := w.score("{}"); got.StatusCode != 200 {
				t.Fatal(got.Status)
			}
			body := "{}"
			if method == "GET" {
				body = ""
			}
			got := w.send(w.request(method, "/second", body))
			if got.StatusCode != want.status || int(asked.Load()) != want.asked {
				t.Errorf("%d after %d requests, want %d after %d", got.StatusCode, asked.Load(), want.status, want.asked)
			}
		})
	}
}

// TestOddAnswers: what instances may say, and what they may not.
func TestOddAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		answer, body string
		status       int
	}{
		"until the connection ends": {"HTTP/1.1 200 OK\r\n\r\nall of it", "all of it", 200},
		"HTTP/1.0":                  {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 200},
		"informational first":       {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + kept, "ok", 200},
		"more than the answer":      {kept + "HTTP/1.1 500 Unasked\r\nContent-Length: 0\r\n\r\n", "ok", 200},
		"no HTTP":                   {"hello\r\n\r\n", "", 424},
		"nothing":                   {"", "", 424},
		"half a head":               {"HTTP/1.1 200 OK\r\nContent-Le", "", 424},
		"another protocol":          {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "", 424},
		"two lengths":               {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "", 424},
	} {
		t.Run(name, func(t *testing.T) {
			target, _ := raw(t, func(_ int, _ *http.Request, c net.Conn) bool {
				_, _ = io.WriteString(c, tt.answer)
				return false
			})
			w := start(t, nil)
			w.setTargets("d-blue", target)
			for range 2 {
				got := w.score("{}")
				if got.StatusCode != tt.status || tt.status == 200 && got.body != tt.body {
					t.Errorf("%d %q", got.StatusCode, got.body)
				}
				if got.Header.Get("Server") != "azureml-frontdoor" || got.Header.Get("Link") != "" {
					t.Errorf("%v", got.Header)
				}
			}
		})
	}
}

// TestAnswerToHead has a length and no body, and the connection goes on.
func TestAnswerToHead(t *testing.T) {
	target, connections := raw(t, func(_ int, r *http.Request, c net.Conn) bool {
		if r.Method == "HEAD" {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
		} else {
			fmt.Fprint(c, kept)
		}
		return true
	})
	w := start(t, nil)
	w.setTargets("d-blue", target)
	for range 3 {
		if got := w.send(w.request("HEAD", "/score", "")); got.StatusCode != 200 || got.ContentLength != 1234 || got.body != "" {
			t.Errorf("%d %d %q", got.StatusCode, got.ContentLength, got.body)
		}
		if got := w.score("{}"); got.body != "ok" {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestBodyThatStopsShort: a body of known length that is not sent on has the
// request's time, too.
func TestBodyThatStopsShort(t *testing.T) {
	w := start(t, func(w *world, _ *gateway.Deps) {
		w.endpoint.Deployments[0].RequestTimeout = 200 * time.Millisecond
	}, http.HandlerFunc(scorer))
	for _, leave := range []bool{false, true} {
		c, err := net.Dial("tcp", w.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /score HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\nhalf", host, primary)
		if !leave {
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != 408 {
				t.Errorf("%v, %v", resp, err)
			} else {
				_ = resp.Body.Close()
			}
		}
		_ = c.Close()
		w.quiet()
	}
}
