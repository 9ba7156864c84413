package machinelearning

import (
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

const aVersion = "0123456789abcdef0123456789ABCDEF"

func TestParseReference(t *testing.T) {
	covers.R(t, "R-704", "R-705", "R-706", "R-707", "R-708", "R-1055")
	for value, want := range map[string]secretReference{
		"${{azureml://connections/multi_langchain}}":                                  {connection: "multi_langchain"},
		"${{azureml://connections/aoai/credentials/key}}":                             {connection: "aoai", part: partCredential, key: "key"},
		"${{azureml://connections/aoai/credentials/OPENAI_API_KEY}}":                  {connection: "aoai", part: partCredential, key: "OPENAI_API_KEY"},
		"${{azureml://connections/aoai/metadata/OPENAI_API_BASE}}":                    {connection: "aoai", part: partMetadata, key: "OPENAI_API_BASE"},
		"${{azureml://connections/aoai/metadata/a/b c}}":                              {connection: "aoai", part: partMetadata, key: "a/b c"},
		"${{azureml://connections/aoai/target}}":                                      {connection: "aoai", part: partTarget},
		"${{keyvault:https://My-Vault.vault.azure.net/secrets/s-1/" + aVersion + "}}": {vault: "my-vault", secret: "s-1", version: strings.ToLower(aVersion)},
	} {
		got, is, err := parseReference(value)
		want.text = value
		if !is || err != nil || got != want {
			t.Errorf("%s: %+v, %v, %v; want %+v", value, got, is, err, want)
		}
	}
	for _, literal := range []string{"", "plain", "azureml://connections/aoai/target", "https://v.vault.azure.net/secrets/s/" + aVersion, "$ {{x}}", "{{x}}", "${x}"} {
		if _, is, err := parseReference(literal); is || err != nil {
			t.Errorf("%q is taken for a reference: %v", literal, err)
		}
	}
	for value, says := range map[string]string{
		"${{azureml://connections/}}":                                              "none of",
		"${{azureml://connections//target}}":                                       "none of",
		"${{azureml://connections/aoai/}}":                                         "none of",
		"${{azureml://connections/aoai/credentials}}":                              "none of",
		"${{azureml://connections/aoai/credentials/}}":                             "none of",
		"${{azureml://connections/aoai/target/x}}":                                 "none of",
		"${{azureml://connections/aoai/Target}}":                                   "none of",
		"${{azureml://connections/aoai/secrets/key}}":                              "none of",
		"${{azureml://datastores/aoai/target}}":                                    "none of",
		"${{azureml:connections/aoai/target}}":                                     "none of",
		"${{ azureml://connections/aoai/target }}":                                 "none of",
		"${{something}}":                                                           "none of",
		"${{}}":                                                                    "none of",
		"${{azureml://connections/aoai/target}":                                    "whole value",
		"${{azureml://connections/aoai/target}} ":                                  "whole value",
		"https://${{azureml://connections/aoai/target}}/v1":                        "whole value",
		"${{azureml://connections/a/target}}${{azureml://connections/b/target}}":   "whole value",
		"${{keyvault:https://v-1.vault.azure.net/secrets/s}}":                      "a version",
		"${{keyvault:https://v-1.vault.azure.net/secrets/s/}}":                     "a version",
		"${{keyvault:https://v-1.vault.azure.net/secrets/s/1}}":                    "none of",
		"${{keyvault:http://v-1.vault.azure.net/secrets/s/" + aVersion + "}}":      "none of",
		"${{keyvault:https://v-1.vault.azure.net:443/secrets/s/" + aVersion + "}}": "none of",
		"${{keyvault:https://v-1.vault.azure.com/secrets/s/" + aVersion + "}}":     "none of",
		"${{keyvault:https://v-1.vault.azure.net/keys/s/" + aVersion + "}}":        "none of",
		"${{keyvault:https://v--1.vault.azure.net/secrets/s/" + aVersion + "}}":    "none of",
		"${{keyvault:https://v-1.vault.azure.net/secrets/s/" + aVersion + "/}}":    "none of",
	} {
		if got, is, err := parseReference(value); !is || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %+v, %v, %v; want an error with %q", value, got, is, err, says)
		}
	}
}

// FuzzParseReference: what is no reference stays literal, what is one names
// something, and no part of it can hold a brace.
func FuzzParseReference(f *testing.F) {
	for _, seed := range []string{"", "plain", "${{azureml://connections/a/credentials/k}}", "${{keyvault:https://v-1.vault.azure.net/secrets/s/" + aVersion + "}}", "a${{b}}", "${{azureml://connections/a}}}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		ref, is, err := parseReference(value)
		if is != strings.Contains(value, "${{") || !is && err != nil {
			t.Fatalf("%q: reference %v, %v", value, is, err)
		}
		if !is || err != nil {
			return
		}
		if ref.text != value || (ref.connection == "") == (ref.vault == "") || (ref.vault != "") != (ref.version != "") {
			t.Errorf("%q: %+v", value, ref)
		}
		for _, part := range []string{ref.connection, ref.key, ref.vault, ref.secret, ref.version} {
			if strings.ContainsAny(part, "{}\x00\n") {
				t.Errorf("%q: part %q", value, part)
			}
		}
	})
}
