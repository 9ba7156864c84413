package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
)

// BenchmarkScore compares scoring through the gateway with asking the instance
// itself, in the same run: 1 KiB each way, one and 64 clients.
func BenchmarkScore(b *testing.B) {
	w := start(b, nil, http.HandlerFunc(scorer))
	direct := w.Targets("d-blue")[0].URL
	body := bytes.Repeat([]byte("x"), 1<<10)
	for _, clients := range []int{1, 64} {
		for _, way := range []struct{ name, url string }{{"direct", direct}, {"gateway", w.URL}} {
			b.Run(fmt.Sprintf("c=%d/%s", clients, way.name), func(b *testing.B) {
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
				defer client.CloseIdleConnections()
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				var wg sync.WaitGroup
				for i := range clients {
					n := b.N / clients
					if i < b.N%clients {
						n++
					}
					wg.Go(func() {
						for range n {
							r, err := http.NewRequest("POST", way.url+"/score", bytes.NewReader(body))
							if err != nil {
								b.Error(err)
								return
							}
							r.Host = host
							r.Header.Set("Authorization", "Bearer "+primary)
							resp, err := client.Do(r)
							if err != nil {
								b.Error(err)
								return
							}
							_, _ = io.Copy(io.Discard, resp.Body)
							_ = resp.Body.Close()
							if resp.StatusCode != 200 {
								b.Error(resp.Status)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
