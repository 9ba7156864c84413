package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// post sends a request with a body and decodes the answer; an error status is
// an error.
func (c *client) post(ctx context.Context, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.access.URL()+"/_amlocal/"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.access.AdminToken)
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		var e struct{ Error struct{ Message string } }
		if json.NewDecoder(resp.Body).Decode(&e) != nil || e.Error.Message == "" {
			return fmt.Errorf("the emulator answered %s", resp.Status)
		}
		return errors.New(e.Error.Message)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// textOrJSON checks -o.
func textOrJSON(format string) error {
	if format != "text" && format != "json" {
		return fmt.Errorf("-o %q: the formats are text and json", format)
	}
	return nil
}
