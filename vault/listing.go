package vault

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/store"
)

// maxPage is the most a page holds, and what it holds unless asked for less.
const maxPage = 25

// pageOf reads the paging parameters of a list.
func pageOf(r *http.Request) (size int, from []byte, err error) {
	size = maxPage
	q := r.URL.Query()
	if given := q.Get("maxresults"); given != "" {
		if size, err = strconv.Atoi(given); err != nil || size < 1 || size > maxPage {
			return 0, nil, badParameter("The value of maxresults must be a number from 1 to %d.", maxPage)
		}
	}
	if token := q.Get("$skiptoken"); token != "" {
		if from, err = base64.RawURLEncoding.DecodeString(token); err != nil {
			return 0, nil, badParameter("The value of $skiptoken is invalid.")
		}
	}
	return size, from, nil
}

// walk collects a page of what lies below prefix. item returns nil for what is
// not listed.
func (s *Service) walk(w http.ResponseWriter, r *http.Request, bucket string, prefix []byte, item func(tx store.ReadTx, k []byte) (*bundle, error)) error {
	size, from, err := pageOf(r)
	if err != nil {
		return err
	}
	if from != nil && !bytes.HasPrefix(from, prefix) {
		return badParameter("The value of $skiptoken is invalid.")
	}
	items := []bundle{}
	var next any
	err = s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		for k := range tx.Scan(bucket, prefix, from) {
			b, err := item(tx, k)
			if err != nil {
				return err
			}
			if b == nil {
				continue
			}
			if len(items) == size {
				next = nextLink(r, size, k)
				return nil
			}
			items = append(items, *b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"value": items, "nextLink": next})
}

// nextLink is the address of the page that begins at k.
func nextLink(r *http.Request, size int, k []byte) string {
	q := url.Values{"api-version": {r.URL.Query().Get("api-version")}, "maxresults": {strconv.Itoa(size)},
		"$skiptoken": {base64.RawURLEncoding.EncodeToString(k)}}
	host := strings.ToLower(targetOf(r).found.Name) + hostSuffix
	return "https://" + host + r.URL.EscapedPath() + "?" + q.Encode()
}

// latest is a secret in a list: its latest version, without the version in its
// id.
func (s *Service) latest(tx store.ReadTx, v Vault, k []byte, deleted bool) (*bundle, error) {
	rec, _, err := get[secret](tx, secretBucket, k)
	if err != nil || rec.isDeleted() != deleted || s.gone(rec) {
		return nil, err
	}
	ver, _, err := get[version](tx, versionBucket, key(v.Name, rec.Name, rec.Current))
	b := bundleOf(v, rec, "", ver)
	return &b, err
}

func (s *Service) list(w http.ResponseWriter, r *http.Request) error {
	v := targetOf(r).found
	return s.walk(w, r, secretBucket, prefixOf(v.Name), func(tx store.ReadTx, k []byte) (*bundle, error) {
		return s.latest(tx, v, k, false)
	})
}

func (s *Service) listDeleted(w http.ResponseWriter, r *http.Request) error {
	v := targetOf(r).found
	return s.walk(w, r, secretBucket, prefixOf(v.Name), func(tx store.ReadTx, k []byte) (*bundle, error) {
		return s.latest(tx, v, k, true)
	})
}

// listVersions answers an empty list for a secret that is not there;
// unverified.
func (s *Service) listVersions(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	prefix := prefixOf(t.found.Name, t.name)
	return s.walk(w, r, versionBucket, prefix, func(tx store.ReadTx, k []byte) (*bundle, error) {
		rec, ok, err := s.load(tx, t.found.Name, t.name)
		if err != nil || !ok || rec.isDeleted() {
			return nil, err
		}
		ver, _, err := get[version](tx, versionBucket, k)
		b := bundleOf(t.found, rec, string(k[len(prefix):]), ver)
		return &b, err
	})
}
