package amlocal

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
)

// Explain writes what `amlocal why` shows of a refused request: who asked for
// what and where, which assignments came near and why each missed, and the
// roles that would do.
func Explain(w io.Writer, entry audit.Entry) {
	var b strings.Builder
	row := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s "+format+"\n", append([]any{label}, args...)...)
	}
	refused := false
	for _, d := range entry.Decisions {
		if d.Allowed {
			continue
		}
		if refused {
			b.WriteByte('\n')
		}
		refused = true
		row("refused", "%s", who(d.Principal))
		if id := d.Principal.ResourceID; id != "" {
			row("", "the identity of %s", id)
		}
		kind := "action"
		if d.Check.Data {
			kind = "data action"
		}
		row("action", "%s (%s)", d.Check.Action, kind)
		row("scope", "%s", d.Check.Scope)
		explainRequest(row, entry)
		explainMisses(&b, d.Misses)
		explainFixes(&b, d)
	}
	if !refused {
		explainRequest(row, entry)
		b.WriteString("No role check refused this request.\n")
		for _, d := range entry.Decisions {
			row("allowed", "%s", who(d.Principal))
			row("action", "%s", d.Check.Action)
			row("scope", "%s", d.Check.Scope)
			row("by", "%s, assignment %s", d.Role, d.Assignment)
		}
		if entry.Cause != "" {
			fmt.Fprintf(&b, "cause: %s\n", entry.Cause)
		}
	}
	_, _ = io.WriteString(w, b.String())
}

// who names a principal by everything an assignment or a log may call it.
func who(p azure.Principal) string {
	kind := string(p.Type)
	switch {
	case p.IsManagedIdentity():
		kind = "managed identity"
	case p.Type == azure.ServicePrincipal:
		kind = "service principal"
	case p.ObjectID == "":
		return "a caller without a principal"
	}
	text := fmt.Sprintf("%s (%s, object id %s", or(p.Name, "unnamed"), kind, p.ObjectID)
	if p.AppID != "" {
		text += ", client id " + p.AppID
	}
	return text + ")"
}

func explainRequest(row func(label, format string, args ...any), e audit.Entry) {
	from := ""
	if e.Instance != "" {
		from = ", asked by " + e.Instance
	}
	target := e.Path
	if e.Host != "" {
		target = "https://" + e.Host + e.Path
	}
	row("request", "%s %s%s", e.Method, target, from)
	answer := fmt.Sprint(e.Status)
	if e.Code != "" {
		answer += " " + e.Code
	}
	row("answer", "%s at %s, request id %s", answer, e.Time.UTC().Format(time.RFC3339), e.RequestID)
}

func explainMisses(b *strings.Builder, misses []azure.Miss) {
	if len(misses) == 0 {
		b.WriteString("It holds no role that comes near.\n")
		return
	}
	b.WriteString("What came near:\n")
	for _, m := range misses {
		fmt.Fprintf(b, "  - %s: %s\n", m.Role, m.Reason)
	}
}

func explainFixes(b *strings.Builder, d azure.Decision) {
	if len(d.Fixes) == 0 {
		b.WriteString("No built-in role grants this.\n")
		return
	}
	names := make([]string, len(d.Fixes))
	for i, f := range d.Fixes {
		names[i] = f.Role
	}
	fmt.Fprintf(b, "What would do, the least first: %s\n", strings.Join(names, "; "))
	fix := d.Fixes[0]
	if fix.Command == "" {
		fmt.Fprintf(b, "Assign %s at %s.\n", fix.Role, fix.Scope)
		return
	}
	fmt.Fprintf(b, "To assign it:\n  %s\n", fix.Command)
}
