package images

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/amlocal/amlocal/runner"
)

// failure turns a broken build into what a user should read: package, pin,
// Python and the installer's reason.
func failure(r recipe, python interpreter, broken *stepError, out *transcript) *runner.Failure {
	f := &runner.Failure{Kind: runner.BuildFailed, Cause: broken, Log: out.tail(40)}
	text := strings.Join(out.lines, "\n")
	lower := strings.ToLower(text + "\n" + broken.message)
	switch {
	case strings.Contains(lower, "no space left on device"):
		f.Message = "the container engine's disk is full: " + broken.message
	case strings.Contains(out.step, `"pip","install"`):
		why := pipReason(out.lines)
		if problem := networkProblem(text); problem != "" {
			f.Message = fmt.Sprintf("the package index cannot be reached from the build, so %s cannot be installed for Python %s: %s",
				strings.Join(blamed(r.Requirements, why), ", "), python.minor, problem)
			break
		}
		f.Message = fmt.Sprintf("%s cannot be installed for Python %s from wheels: %s",
			strings.Join(blamed(r.Requirements, why), ", "), python.minor, why)
	case strings.Contains(out.step, `"venv"`):
		f.Message = fmt.Sprintf("Python %s of base image %s cannot make a virtual environment: %s", python.minor, r.Base.name, out.tail(3))
	default:
		f.Message = fmt.Sprintf("the environment's image cannot be built on %s: %s", r.Base.name, broken.message)
	}
	return f
}

// unreached matches what pip says when it never got an answer. It goes on to say
// that there is no such package, which is not true.
var unreached = regexp.MustCompile(`(?i)(CERTIFICATE_VERIFY_FAILED[^)]*|Name or service not known|Temporary failure in name resolution|` +
	`Connection refused|Network is unreachable|No route to host|ConnectTimeoutError|Read timed out|ProxyError[^)]*|Connection reset by peer)`)

// networkProblem is why the index was not reached, empty if it was.
func networkProblem(text string) string {
	if !strings.Contains(text, "(from versions: none)") && !strings.Contains(text, "Max retries exceeded") &&
		!strings.Contains(text, "Read timed out") {
		return ""
	}
	return unreached.FindString(text)
}

// longestReason bounds the reason in a message; the log has the rest.
const longestReason = 600

// versions are all that an index has; the newest say enough.
var versions = regexp.MustCompile(`\(from versions: ([^()]*)\)`)

const shownVersions = 5

// pipReason is pip's own explanation: its errors, and the lines that follow
// the first of them.
func pipReason(lines []string) string {
	var kept, ignored []string
	explaining := false
	for _, line := range lines {
		text, isError := strings.CutPrefix(line, "ERROR: ")
		switch {
		case isError:
			explaining = true
		case !explaining, strings.HasPrefix(line, "WARNING: "), strings.HasPrefix(line, "Step "), strings.HasPrefix(line, "[notice]"):
			continue
		}
		if isError && strings.HasPrefix(text, "Ignored the following ") {
			ignored = append(ignored, text) // long, and not the reason itself
			continue
		}
		kept = append(kept, strings.TrimSpace(text))
	}
	kept = append(kept, ignored...)
	if len(kept) == 0 {
		kept = lines[max(0, len(lines)-3):]
	}
	reason := versions.ReplaceAllStringFunc(strings.Join(kept, " "), func(all string) string {
		list := strings.Split(versions.FindStringSubmatch(all)[1], ", ")
		if len(list) <= shownVersions {
			return all
		}
		return "(from versions: ..., " + strings.Join(list[len(list)-shownVersions:], ", ") + ")"
	})
	if len(reason) > longestReason {
		reason = strings.ToValidUTF8(reason[:longestReason], "") + "..."
	}
	return reason
}

var (
	nameOf     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*`)
	separators = regexp.MustCompile(`[-_.]+`)
	// mentioned finds what may be package names, in text made normal.
	mentioned = regexp.MustCompile(`[a-z0-9]+(?:-[a-z0-9]+)*`)
)

// normal is a package name as indexes compare it.
func normal(name string) string {
	return separators.ReplaceAllString(strings.ToLower(name), "-")
}

func provides(requirements []string, name string) bool {
	for _, r := range requirements {
		if normal(nameOf.FindString(r)) == name {
			return true
		}
	}
	return false
}

// blamed are the requirements whose package the reason names, all if it names
// none.
func blamed(requirements []string, reason string) []string {
	words := map[string]bool{}
	for _, word := range mentioned.FindAllString(normal(reason), -1) {
		words[word] = true
	}
	var named, all []string
	for _, r := range requirements {
		name := normal(nameOf.FindString(r))
		if name == "" {
			continue
		}
		all = append(all, r)
		if words[name] {
			named = append(named, r)
		}
	}
	if len(named) == 0 {
		return all
	}
	return named
}
