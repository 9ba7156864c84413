package amlocal

import "strings"

// javaQuote keeps an option with blanks in one piece: the JVM splits
// JAVA_TOOL_OPTIONS at them, but for what stands in quotes.
func javaQuote(option string) string {
	if !strings.ContainsAny(option, " \t") {
		return option
	}
	if strings.Contains(option, `"`) {
		return "'" + option + "'"
	}
	return `"` + option + `"`
}

// withoutJavaOptions takes our options out of a JAVA_TOOL_OPTIONS value: from
// javaMarker to the last option we add.
func withoutJavaOptions(options string) string {
	before, after, found := strings.Cut(options, javaMarker)
	if !found {
		return strings.TrimSpace(options)
	}
	const last = "-Djavax.net.ssl.trustStoreType=PKCS12"
	if _, rest, ok := strings.Cut(after, last); ok {
		before = strings.TrimSpace(before) + " " + strings.TrimSpace(rest)
	}
	return strings.TrimSpace(before)
}
