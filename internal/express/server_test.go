package express_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amlocal/amlocal/internal/express"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// front is a listener whose connections the express server has first and
// net/http after it, as the emulator does.
type front struct {
	express *express.Server
	addr    string
}

func start(t *testing.T, h http.HandlerFunc) *front {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{express: &express.Server{Handler: h, Logf: t.Logf}, addr: ln.Addr().String()}
	rest := express.NewFeed()
	second := &http.Server{Handler: h}
	var running sync.WaitGroup
	running.Go(func() { _ = second.Serve(rest) })
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				if left := f.express.Serve(context.WithValue(context.Background(), http.ServerContextKey, second), c, nil); left != nil {
					rest.Push(left)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		f.express.Close(ctx)
		serving.Wait()
		_ = second.Close()
		running.Wait()
	})
	return f
}

// talk sends a text and reads answers: as many as are asked for.
type talker struct {
	net.Conn
	*bufio.Reader
	t *testing.T
}

func (f *front) dial(t *testing.T) *talker {
	t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &talker{c, bufio.NewReader(c), t}
}

func (c *talker) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (c *talker) send(text string) *talker {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
	return c
}

func (c *talker) answer() (status int, header http.Header, body string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

func (c *talker) want(body string) {
	c.t.Helper()
	if _, _, got := c.answer(); got != body {
		c.t.Errorf("%q, want %q", got, body)
	}
}

func (c *talker) wantEnd() {
	c.t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		c.t.Errorf("%d bytes, %v; want the end", n, err)
	}
}

// echo says who serves, and repeats the request.
func echo(w http.ResponseWriter, r *http.Request) {
	by := "express"
	if r.Context().Value(http.LocalAddrContextKey) != nil {
		by = "net/http"
	}
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %s %q %v", by, r.Method, r.Host, r.RequestURI, body, err)
}

func TestConnection(t *testing.T) {
	f := start(t, echo)
	post := func(body string) string {
		return fmt.Sprintf("POST /score HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	t.Run("one after the other", func(t *testing.T) {
		c := f.dial(t)
		for i := range 3 {
			c.send(post(fmt.Sprint(i))).want(fmt.Sprintf(`express POST h /score "%d" <nil>`, i))
		}
	})
	t.Run("in one go", func(t *testing.T) {
		c := f.dial(t).send(post("a") + post("b") + "GET / HTTP/1.1\r\nHost: h\r\n\r\n" + post("c"))
		for _, want := range []string{`express POST h /score "a" <nil>`, `express POST h /score "b" <nil>`, `express GET h / "" <nil>`, `express POST h /score "c" <nil>`} {
			c.want(want)
		}
	})
	t.Run("the body after its head", func(t *testing.T) {
		c := f.dial(t).send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n")
		time.Sleep(5 * time.Millisecond)
		text := strings.Repeat("x", 20000)
		c.send(text)
		if _, _, got := c.answer(); !strings.HasSuffix(got, fmt.Sprintf("POST h / %q <nil>", text)) {
			t.Errorf("%.60q", got)
		}
		c.send(post("again"))
		if _, _, got := c.answer(); !strings.HasSuffix(got, `"again" <nil>`) {
			t.Errorf("%.60q", got)
		}
	})
	for name, test := range map[string]struct{ first, second, want string }{
		"a body that lingers": {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab", "cd", `net/http POST h / "abcd" <nil>`},
		"a head that lingers": {"POST / HTTP/1.1\r\nHo", "st: h\r\nContent-Length: 2\r\n\r\nab", `net/http POST h / "ab" <nil>`},
		"chunks":              {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "0\r\n\r\n", `net/http POST h / "ab" <nil>`},
		"much":                {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n", strings.Repeat("x", 40000), fmt.Sprintf(`net/http POST h / %q <nil>`, strings.Repeat("x", 40000))},
	} {
		t.Run(name, func(t *testing.T) {
			var c *talker
			for wait := 100 * time.Millisecond; ; wait *= 4 {
				c = f.dial(t).send(post("before"))
				c.want(`express POST h /score "before" <nil>`)
				c.send(test.first)
				time.Sleep(wait)
				_, _, got := c.send(test.second).answer()
				if strings.HasPrefix(got, "express ") && wait < 5*time.Second {
					continue // a busy machine may have seen both parts at once
				}
				if got != test.want {
					t.Errorf("%q, want %q", got, test.want)
				}
				break
			}
			c.send(post("after")).want(`net/http POST h /score "after" <nil>`) // for good
		})
	}
	t.Run("line ends behind a body", func(t *testing.T) {
		c := f.dial(t).send(post("a") + "\r\n")
		c.want(`express POST h /score "a" <nil>`)
		time.Sleep(5 * time.Millisecond)
		c.send("\r\n" + post("b")).want(`express POST h /score "b" <nil>`)
		c.send("\r\n\r\n\r\n" + post("c"))
		if status, _, _ := c.answer(); status != http.StatusBadRequest {
			t.Errorf("more of them: %d, want net/http's 400", status)
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		if status, _, _ := f.dial(t).send("NONSENSE\r\n\r\n").answer(); status != http.StatusBadRequest {
			t.Errorf("%d, want net/http's 400", status)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		c := f.dial(t)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		c.wantEnd()
	})
}

func TestPanic(t *testing.T) {
	f := start(t, func(http.ResponseWriter, *http.Request) { panic("a defect") })
	f.dial(t).send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").wantEnd()
}

// TestCallerLeaves: its request's context ends, as soon as it takes its time.
func TestCallerLeaves(t *testing.T) {
	ended := make(chan error, 1)
	begun := make(chan struct{}, 1)
	f := start(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- r.Context().Err()
	})
	c := f.dial(t).send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
	<-begun
	_ = c.Conn.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestHalfClosed: a caller who only ends what it sends gets its answer.
func TestHalfClosed(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		_, _ = io.WriteString(w, "all the same")
	})
	c := f.dial(t).send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.want("all the same")
	c.wantEnd()
}

// TestAnswerKept: who keeps a writer for longer than its request writes nowhere.
func TestAnswerKept(t *testing.T) {
	var kept http.ResponseWriter
	f := start(t, func(w http.ResponseWriter, _ *http.Request) {
		if kept == nil {
			kept = w
			return
		}
		if _, err := io.WriteString(kept, "LATE"); err == nil {
			t.Error("no error")
		}
		_, _ = io.WriteString(w, "ok")
	})
	c := f.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").want("")
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").want("ok")
}

// TestSentDuringARequest: what arrives while the caller is watched is not lost.
func TestSentDuringARequest(t *testing.T) {
	proceed := make(chan struct{})
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-proceed
		}
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
		echo(w, r)
	})
	for _, wait := range []time.Duration{0, 150 * time.Millisecond} {
		c := f.dial(t).send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
		time.Sleep(wait)
		c.send("POST /next HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\ny")
		time.Sleep(150 * time.Millisecond)
		proceed <- struct{}{}
		for _, want := range []string{`POST h /slow "x" <nil>`, `POST h /next "y" <nil>`} {
			if _, _, got := c.answer(); !strings.HasSuffix(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		// And a request that takes its time with nothing sent goes on, too.
		c.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
		time.Sleep(150 * time.Millisecond)
		proceed <- struct{}{}
		if _, _, got := c.answer(); !strings.HasSuffix(got, `GET h /slow "" <nil>`) {
			t.Errorf("%q", got)
		}
	}
}

func TestClose(t *testing.T) {
	t.Run("waits for requests", func(t *testing.T) {
		begun, proceed := make(chan struct{}), make(chan struct{})
		f := start(t, func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-proceed
			echo(w, r)
		})
		unused := f.dial(t)
		c := f.dial(t).send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-begun
		closed := make(chan struct{})
		go func() { f.express.Close(context.Background()); close(closed) }()
		unused.wantEnd()
		select {
		case <-closed:
			t.Error("closed over a request")
		default:
		}
		close(proceed)
		if _, header, body := c.answer(); body != `express GET h / "" <nil>` || header.Get("Connection") != "" {
			t.Errorf("%v %q", header, body)
		}
		c.wantEnd()
		<-closed
		f.dial(t).wantEnd() // one that comes too late
	})
	t.Run("ends requests with its context", func(t *testing.T) {
		begun := make(chan struct{})
		f := start(t, func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
		})
		c := f.dial(t).send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-begun
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		f.express.Close(ctx)
		if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
	})
}

// TestBodyKept: who keeps a body for longer than its request has nothing of it.
func TestBodyKept(t *testing.T) {
	kept := make(chan io.ReadCloser, 2)
	f := start(t, func(_ http.ResponseWriter, r *http.Request) { kept <- r.Body })
	c := f.dial(t)
	for range 2 {
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nsecret").answer()
	}
	if raw, err := io.ReadAll(<-kept); len(raw) != 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("%q, %v", raw, err)
	}
}

// TestManyClients: answers never reach another's caller.
func TestManyClients(t *testing.T) {
	f := start(t, echo)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := range 100 {
				text := fmt.Sprintf("%d-%d-%s", i, n, strings.Repeat("z", n*50))
				resp, err := client.Post("http://"+f.addr+"/"+fmt.Sprint(i), "text/plain", strings.NewReader(text))
				if err != nil {
					t.Error(err)
					return
				}
				raw, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if want := fmt.Sprintf("POST %s /%d %q <nil>", f.addr, i, text); err != nil || !strings.HasSuffix(string(raw), want) {
					t.Errorf("%.80q, %v", raw, err)
				}
			}
		})
	}
	wg.Wait()
}
