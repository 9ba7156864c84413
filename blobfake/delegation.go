package blobfake

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// maxDelegation is the longest life of a user delegation key.
const maxDelegation = 7 * 24 * time.Hour

// delegationSecret is what user delegation keys are derived from, made at the
// first start.
func delegationSecret(tx store.Tx) ([]byte, error) {
	k := []byte("secret")
	if secret, ok := tx.Get(delegationBucket, k); ok {
		return secret, nil
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	if err := tx.Put(delegationBucket, k, secret); err != nil {
		return nil, fmt.Errorf("store the delegation secret: %w", err)
	}
	return secret, nil
}

type keyInfo struct {
	Start                 string `xml:"Start"`
	Expiry                string `xml:"Expiry"`
	DelegatedUserTenantID string `xml:"DelegatedUserTid"`
}

type userDelegationKey struct {
	XMLName       xml.Name `xml:"UserDelegationKey"`
	SignedOid     string
	SignedTid     string
	SignedStart   string
	SignedExpiry  string
	SignedService string
	SignedVersion string
	Value         string
}

func (s *Service) getUserDelegationKey(w http.ResponseWriter, r *http.Request) error {
	t, who := targetOf(r), httpx.Caller(r.Context()).Principal
	if who.ObjectID == "" { // an account SAS got this far
		return errAuthenticationFailed("Only authentication scheme Bearer is supported.")
	}
	var info keyInfo
	if err := xml.NewDecoder(r.Body).Decode(&info); err != nil {
		return errInvalidXML(err)
	}
	if info.DelegatedUserTenantID != "" {
		return errNotImplemented("user delegation keys bound to a user's tenant")
	}
	expiry, err := parseSASTime(info.Expiry)
	if err != nil || !expiry.After(s.now()) || expiry.After(s.now().Add(maxDelegation+maxSkew)) {
		return errXMLNodeValue("Expiry", info.Expiry)
	}
	start := s.now()
	if info.Start != "" {
		if start, err = parseSASTime(info.Start); err != nil {
			return errXMLNodeValue("Start", info.Start)
		}
	}
	if !start.Before(expiry) || expiry.Sub(start) > maxDelegation {
		return errXMLNodeValue("Expiry", info.Expiry)
	}
	// The signer's name and type must be known when the signature comes back.
	if err := s.docs.Update(r.Context(), func(tx store.Tx) error {
		return put(tx, delegationBucket, key("oid", who.ObjectID), who)
	}); err != nil {
		return err
	}
	k := userDelegationKey{
		SignedOid: who.ObjectID, SignedTid: who.TenantID,
		SignedStart: sasTime(start), SignedExpiry: sasTime(expiry),
		SignedService: "b", SignedVersion: t.version.String(),
	}
	k.Value = base64.StdEncoding.EncodeToString(s.deriveKey(t.found.Name,
		k.SignedOid, k.SignedTid, k.SignedStart, k.SignedExpiry, k.SignedService, k.SignedVersion))
	body, err := xml.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode the user delegation key: %w", err)
	}
	return writeXML(w, append([]byte(xmlHeader), body...))
}

func (s *Service) deriveKey(account string, fields ...string) []byte {
	return mac(s.delegationSecret, account+"\n"+strings.Join(fields, "\n"))
}

// delegationKey is the key a SAS claims to be signed with, and whose it is.
func (s *Service) delegationKey(ctx context.Context, account string, tok *sasToken) ([]byte, azure.Principal, error) {
	var who azure.Principal
	if tok.get("sduoid") != "" || tok.get("srh") != "" || tok.get("srq") != "" {
		return nil, who, errAuthenticationFailed("amlocal does not support signatures bound to a user or to request headers.")
	}
	start, err1 := parseSASTime(tok.get("skt"))
	expiry, err2 := parseSASTime(tok.get("ske"))
	if now := s.now(); err1 != nil || err2 != nil || now.Before(start) || !now.Before(expiry) {
		return nil, who, errAuthenticationFailed("Signed key is not valid in the specified time frame.")
	}
	var known bool
	if err := s.docs.View(ctx, func(tx store.ReadTx) (err error) {
		who, known, err = get[azure.Principal](tx, delegationBucket, key("oid", tok.get("skoid")))
		return err
	}); err != nil {
		return nil, who, err
	}
	if !known || who.TenantID != tok.get("sktid") || tok.get("sks") != "b" {
		return nil, who, errAuthenticationFailed("The signed key was not issued by this account.")
	}
	return s.deriveKey(account, tok.fields("skoid", "sktid", "skt", "ske", "sks", "skv")...), who, nil
}
