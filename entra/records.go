package entra

import (
	"encoding/json"
	"fmt"

	"github.com/amlocal/amlocal/store"
)

// Buckets. Values are JSON, but for the two indexes, which hold an object id.
// All keys are lower-case unless said otherwise.
const (
	principalsBucket = "entra.principals"  // object id
	byAppBucket      = "entra.by-app"      // client id
	byResourceBucket = "entra.by-resource" // ARM id
	secretsBucket    = "entra.secrets"     // client id

	certificatesBucket = "entra.certificates" // client id
	federatedBucket    = "entra.federated"    // client id
	passwordsBucket    = "entra.passwords"    // object id
	issuersBucket      = "entra.issuers"      // issuer, as written, to its key set
)

func putRecord(tx store.Tx, bucket string, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("entra: %s %s: %w", bucket, key, err)
	}
	return tx.Put(bucket, key, data)
}

// getRecord treats a record that does not parse as absent: nobody gets a token
// on the strength of a damaged one.
func getRecord[T any](tx store.ReadTx, bucket string, key []byte) (v T, ok bool) {
	data, ok := tx.Get(bucket, key)
	if !ok || json.Unmarshal(data, &v) != nil {
		var none T
		return none, false
	}
	return v, true
}
