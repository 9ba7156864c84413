package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/amlocal/amlocal"
)

// client talks to the admin API of a running emulator, never by a proxy.
type client struct {
	access amlocal.Access
	http   *http.Client
}

func newClient(a amlocal.Access) *client {
	return &client{access: a, http: &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}}
}

// connect finds the emulator of a state folder.
func connect(state string) (*client, error) {
	a, err := amlocal.ReadAccess(state)
	if err != nil {
		return nil, err
	}
	c := newClient(a)
	if !c.alive() {
		return nil, fmt.Errorf("%w (its record names process %d, which does not answer on port %d)", amlocal.ErrNotRunning, a.PID, a.Port)
	}
	return c, nil
}

// connect finds the emulator a command is about: by its address where one is
// given, else by its state folder.
func (g *globals) connect() (*client, error) {
	address, err := g.address()
	if err != nil {
		return nil, err
	}
	if address == "" {
		return connect(g.state)
	}
	a, err := amlocal.FetchAccess(context.Background(), address, os.Getenv(amlocal.AdminTokenVar), "")
	if err != nil {
		return nil, err
	}
	return newClient(a), nil
}

// alive asks for the status with the folder's own token, so that another
// program on the port is not taken for the emulator.
func (c *client) alive() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var s amlocal.Status
	return c.get(ctx, "status", nil, &s) == nil && s.PID == c.access.PID
}

func (c *client) get(ctx context.Context, path string, query url.Values, into any) error {
	body, err := c.open(ctx, http.MethodGet, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(into)
}

// open sends a request and answers its body; an error status is an error.
func (c *client) open(ctx context.Context, method, path string, query url.Values) (io.ReadCloser, error) {
	u := c.access.URL() + "/_amlocal/" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.access.AdminToken)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		var e struct{ Error struct{ Message string } }
		if json.NewDecoder(resp.Body).Decode(&e) != nil || e.Error.Message == "" {
			return nil, fmt.Errorf("the emulator answered %s", resp.Status)
		}
		return nil, errors.New(e.Error.Message)
	}
	return resp.Body, nil
}
