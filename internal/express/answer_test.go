package express_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestAnswers: a client cannot tell which of the two answered.
func TestAnswers(t *testing.T) {
	big := strings.Repeat("0123456789", 5000)
	for name, h := range map[string]http.HandlerFunc{
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"text":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "some text") },
		"json": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header()["X-Several"] = []string{"1", "2"}
			w.WriteHeader(http.StatusFailedDependency)
			w.Header().Set("X-Late", "1")
			w.Header().Set("Content-Type", "late")
			_, _ = io.WriteString(w, "{}")
		},
		"length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = w.Write([]byte("ab"))
		},
		"no type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			_, _ = w.Write([]byte("ab"))
		},
		"encoded": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "x")
			_, _ = w.Write([]byte("ab"))
		},
		"own date":    func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT") },
		"line breaks": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-A", "1\r\nX-B: 2") },
		"big": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(big)))
			_, _ = io.WriteString(w, big)
		},
		"big in pieces": func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(big); i += 100 {
				_, _ = io.WriteString(w, big[i:i+100])
			}
		},
		"flushed": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "ab")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "cd")
			w.(http.Flusher).Flush()
		},
		"flushed with a length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "abcd")
		},
		"trailer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-After")
			_, _ = io.WriteString(w, "ab")
			_ = http.NewResponseController(w).Flush()
			w.Header().Set("X-After", "1")
			w.Header().Set(http.TrailerPrefix+"X-Unannounced", "2")
		},
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"not modified": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(http.StatusNotModified)
		},
		"odd status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) },
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			if _, err := io.WriteString(w, "abc"); !errors.Is(err, http.ErrContentLength) {
				panic(err)
			}
			_, _ = io.WriteString(w, "ab")
		},
		"too little": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "3")
			_, _ = w.Write([]byte("ab"))
		},
		"close": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = w.Write([]byte("ab"))
		},
		"abort": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"abort later": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "ab")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"names that are none": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X Y"], w.Header()["X-Z "], w.Header()["X-Space"] = []string{"1"}, []string{"1"}, []string{"  1\t"}
			_, _ = io.WriteString(w, "ab")
		},
		"abort with little held": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000")
			_, _ = io.WriteString(w, big[:500])
			panic(http.ErrAbortHandler)
		},
		"bodiless": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			if _, err := io.WriteString(w, "ab"); !errors.Is(err, http.ErrBodyNotAllowed) {
				panic(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			whole := func(address string) string {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				var out strings.Builder
				r := bufio.NewReader(c)
				for range 2 { // the second shows whether the connection goes on
					_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
					var resp *http.Response
					if err == nil {
						resp, err = http.ReadResponse(r, nil)
					}
					if err != nil {
						fmt.Fprintln(&out, "ended")
						break
					}
					body, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					date := resp.Header.Get("Date")
					if _, err := http.ParseTime(date); err != nil {
						t.Error(err)
					}
					if !strings.HasPrefix(date, "Mon, 02 Jan 2006") {
						resp.Header.Set("Date", "now")
					}
					fmt.Fprintln(&out, resp.Status, resp.Header, resp.Trailer, resp.ContentLength, resp.TransferEncoding, resp.Close, bytes.Equal(body, []byte(big)), len(body), err)
				}
				return out.String()
			}
			plain := httptest.NewServer(h)
			plain.Config.ErrorLog = nil
			defer plain.Close()
			want := whole(strings.TrimPrefix(plain.URL, "http://"))
			if got := whole(start(t, h).addr); !reflect.DeepEqual(got, want) {
				t.Errorf("\n%s, net/http\n%s", got, want)
			}
		})
	}
}

// TestBrokenOff: an answer that was on its way is seen to break off.
func TestBrokenOff(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10000")
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
		panic(http.ErrAbortHandler)
	})
	c := f.dial(t).send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if raw, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || len(raw) == 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%s, %d bytes, %v", resp.Status, len(raw), err)
	}
}
