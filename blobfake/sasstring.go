package blobfake

import "strings"

// The strings that signatures are made of, by the SAS's own version. Sources:
// the REST reference's pages on account, service and user-delegation SAS, and
// azblob's sas package for the newest form.

func (t *sasToken) fields(names ...string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = t.get(name)
	}
	return out
}

func accountString(account string, t *sasToken) string {
	parts := append([]string{account}, t.fields("sp", "ss", "srt", "st", "se", "sip", "spr", "sv")...)
	if t.version >= scopeVersion {
		parts = append(parts, t.get("ses"))
	}
	return strings.Join(parts, "\n") + "\n"
}

func serviceString(resource string, t *sasToken) string {
	parts := append(t.fields("sp", "st", "se"), resource, t.get("si"))
	if t.version >= sasIPVersion {
		parts = append(parts, t.fields("sip", "spr")...)
	}
	parts = append(parts, t.get("sv"))
	parts = append(parts, t.resourceFields()...)
	if t.version >= sasOverridesVersion {
		parts = append(parts, t.fields(overrides...)...)
	}
	return strings.Join(parts, "\n")
}

var overrides = []string{"rscc", "rscd", "rsce", "rscl", "rsct"}

// resourceFields are the resource, the snapshot time (never one of ours) and
// the encryption scope.
func (t *sasToken) resourceFields() []string {
	var parts []string
	if t.version >= sasResourceVersion {
		parts = append(parts, t.get("sr"), "")
	}
	if t.version >= scopeVersion {
		parts = append(parts, t.get("ses"))
	}
	return parts
}

// delegationStrings gives more than one candidate where it is not documented
// at which version a field joined. Fields hold no line ends, so that strings of
// different forms cannot be mistaken for one another.
func delegationStrings(resource string, t *sasToken) []string {
	form := func(userBound, requestBound bool) string {
		parts := append(t.fields("sp", "st", "se"), resource)
		parts = append(parts, t.fields("skoid", "sktid", "skt", "ske", "sks", "skv")...)
		if t.version >= delegationIDVersion {
			parts = append(parts, t.fields("saoid", "suoid", "scid")...)
		}
		if userBound {
			parts = append(parts, t.fields("skdutid", "sduoid")...)
		}
		parts = append(parts, t.fields("sip", "spr", "sv")...)
		parts = append(parts, t.resourceFields()...)
		if requestBound {
			parts = append(parts, "", "")
		}
		return strings.Join(append(parts, t.fields(overrides...)...), "\n")
	}
	if t.version < userBoundVersion {
		return []string{form(false, false)}
	}
	return []string{form(true, true), form(true, false)}
}
