package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"
	"strings"
)

// secretVariables names, with commas between, the variables a deployment has
// its secrets in. Where it is set they are what is shown, instead of a blob.
const secretVariables = "SECRET_VARIABLES"

// showSecrets logs of each secret how long it is and how its hash begins: enough
// to compare it, and not the secret.
func showSecrets(names string, getenv func(string) string, logger *log.Logger) error {
	for name := range strings.SplitSeq(names, ",") {
		value := getenv(name)
		if value == "" {
			return fmt.Errorf("not set: %s", name)
		}
		if strings.Contains(value, "${{") {
			return fmt.Errorf("%s holds the reference itself", name)
		}
		sum := sha256.Sum256([]byte(value))
		logger.Printf("Secret %s: %d characters, sha256 %s", name, len([]rune(value)), hex.EncodeToString(sum[:6]))
	}
	return nil
}
