package main

import (
	"strings"
	"testing"
)

func TestSecretsAreShownByHash(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"STORAGE_ACCOUNT_NAME", "MSI_ENDPOINT", "MSI_SECRET"} {
		delete(w.env, name) // none of them is needed
	}
	w.env["SECRET_VARIABLES"], w.env["ONE"], w.env["TWO"] = "ONE,TWO", "the first secret", "zweiter Schlüssel"
	_, log, err := w.start(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Secret ONE: 16 characters, sha256 5c2f1ab85121", "Secret TWO: 17 characters, sha256 ", "Model loaded"} {
		if !strings.Contains(log, part) {
			t.Errorf("the log lacks %q:\n%s", part, log)
		}
	}
	if strings.Contains(log, "the first secret") {
		t.Error("the log shows a secret")
	}
	for what, value := range map[string]string{"empty": "", "a reference": "${{azureml://connections/x/target}}"} {
		w.env["TWO"] = value
		if _, _, err := w.start(t); err == nil || !strings.Contains(err.Error(), "TWO") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
