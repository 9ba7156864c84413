package conda

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Environment is a conda file as pip and an interpreter search understand it.
type Environment struct {
	Name string
	// Python constrains the interpreter; the zero value allows any.
	Python Python
	// Requirements are lines of a requirements file, in the file's order.
	Requirements []string
	// Variables are set when the environment is activated.
	Variables map[string]string
	// Notes say in sentences how this differs from what conda would make.
	Notes []string
}

// Option changes how strictly Parse translates.
type Option int

// Relax leaves out packages that have no Python counterpart, with a note,
// instead of refusing the file.
const Relax Option = 1

// UnsupportedError is an entry that cannot be translated.
type UnsupportedError struct{ Entry, Reason string }

// Error names the entry and the reason.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("conda dependency %q: %s", e.Entry, e.Reason)
}

// file is the part of a conda file that is read; dependencies hold strings
// and one {pip: [...]}.
type file struct {
	Name         string            `yaml:"name"`
	Channels     []string          `yaml:"channels"`
	Dependencies []any             `yaml:"dependencies"`
	Variables    map[string]string `yaml:"variables"`
	Prefix       string            `yaml:"prefix"`
	Platforms    []string          `yaml:"platforms"`
}

// Parse reads and translates. The error is an *UnsupportedError or says where
// the YAML is wrong.
func Parse(text string, options ...Option) (*Environment, error) {
	relax := false
	for _, o := range options {
		relax = relax || o == Relax
	}
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("the conda file is empty")
	}
	var f file
	if err := yaml.UnmarshalWithOptions([]byte(text), &f, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("the conda file is not valid: %s", strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	env := &Environment{Name: f.Name, Variables: f.Variables}
	for _, d := range f.Dependencies {
		switch d := d.(type) {
		case string:
			if err := env.add(d, relax); err != nil {
				return nil, err
			}
		case map[string]any:
			if err := env.addSection(d); err != nil {
				return nil, err
			}
		default:
			return nil, &UnsupportedError{fmt.Sprint(d), "it is neither a package nor a pip section"}
		}
	}
	return env, nil
}

func (env *Environment) note(format string, args ...any) {
	env.Notes = append(env.Notes, fmt.Sprintf(format, args...))
}

// addSection takes {pip: [...]}.
func (env *Environment) addSection(section map[string]any) error {
	for key, value := range section {
		if key != "pip" {
			return &UnsupportedError{key + ":", "only a pip section is known"}
		}
		if value == nil {
			continue
		}
		lines, ok := value.([]any)
		if !ok {
			return &UnsupportedError{"pip:", "it must hold a list"}
		}
		for _, line := range lines {
			text, ok := line.(string)
			if !ok {
				return &UnsupportedError{fmt.Sprint(line), "a pip requirement must be text"}
			}
			text = strings.TrimSpace(text)
			if err := checkPip(text); err != nil {
				return err
			}
			env.Requirements = append(env.Requirements, text)
		}
	}
	return nil
}

// pipOptions are what a requirements file may say about where packages come
// from; the others would read files that are not there or build from source.
var pipOptions = regexp.MustCompile(`^(--extra-index-url|--index-url|-i|--find-links|-f|--pre)([ =]|$)`)

func checkPip(line string) error {
	lower := strings.ToLower(line)
	_, url, isURL := strings.Cut(lower, "://")
	switch {
	case line == "" || strings.ContainsAny(line, "\n\r"):
		return &UnsupportedError{line, "it is not one requirement"}
	case strings.HasPrefix(line, "-"):
		if !pipOptions.MatchString(line) {
			return &UnsupportedError{line, "this pip option needs files or tools that are not there; index and find-links options are understood"}
		}
	case strings.Contains(lower, "git+"), strings.Contains(lower, "hg+"), strings.Contains(lower, "svn+"), strings.Contains(lower, "bzr+"):
		return &UnsupportedError{line, "packages are installed from wheels only, a repository would have to be built"}
	case strings.HasPrefix(line, "."), strings.HasPrefix(line, "/"), strings.Contains(lower, "file:"):
		return &UnsupportedError{line, "local files are not part of a conda file"}
	case isURL && !strings.Contains(url, ".whl"):
		return &UnsupportedError{line, "packages are installed from wheels only, and this address is none"}
	}
	return nil
}

// spec splits "name op version" of a match specification; channel and
// brackets are gone before.
var spec = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(.*)$`)

// add translates one conda package.
func (env *Environment) add(entry string, relax bool) error {
	text := strings.TrimSpace(entry)
	if i := strings.LastIndex(text, "::"); i >= 0 {
		env.note("%s: the channel %s is ignored, packages come from the Python index", entry, text[:i])
		text = text[i+2:]
	}
	text, err := unbracket(text)
	if err != nil {
		return &UnsupportedError{entry, err.Error()}
	}
	m := spec.FindStringSubmatch(text)
	if m == nil {
		return &UnsupportedError{entry, "it is not a package specification"}
	}
	name, rest := strings.ToLower(m[1]), strings.TrimSpace(m[2])
	constraint, build, err := translateVersion(rest)
	if err != nil {
		return &UnsupportedError{entry, err.Error()}
	}
	if build != "" && name != "python" {
		env.note("%s: the build string %s is ignored", entry, build)
	}
	switch {
	case name == "python":
		env.Python, err = parsePython(rest, constraint)
		if err != nil {
			return &UnsupportedError{entry, err.Error()}
		}
		return nil
	case needless[name]:
		if name != "pip" {
			env.note("%s is left out: installing wheels does not need it", name)
		}
		return nil
	case isForeign(name):
		if relax {
			env.note("%s is left out: it is no Python package", name)
			return nil
		}
		return &UnsupportedError{entry, "it is not a Python package, and only those can be installed without conda"}
	}
	if to, ok := renamed[name]; ok {
		env.note("%s is called %s on the Python index", name, to)
		name = to
	}
	env.Requirements = append(env.Requirements, name+constraint)
	return nil
}

// unbracket turns name[version='>=1',build=x] into name>=1.
func unbracket(text string) (string, error) {
	open := strings.IndexByte(text, '[')
	if open < 0 {
		return text, nil
	}
	if !strings.HasSuffix(text, "]") {
		return "", errors.New("the bracket is not closed at the end")
	}
	out := strings.TrimSpace(text[:open])
	inside := text[open+1 : len(text)-1]
	if m := bracketVersion.FindStringSubmatch(inside); m != nil {
		v := m[1] + m[2] + m[3]
		if v != "" && !strings.ContainsAny(v[:1], "<>=!~") {
			v = "==" + v
		}
		return out + v, nil
	}
	if strings.Contains(inside, "version") {
		return "", errors.New("the version in brackets is not understood")
	}
	return out, nil
}

var bracketVersion = regexp.MustCompile(`version\s*=\s*(?:'([^']*)'|"([^"]*)"|([^,'"\]]+))`)

var (
	plainVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*$`)
	anyVersion   = regexp.MustCompile(`^[0-9][A-Za-z0-9._+!-]*$`)
	clause       = regexp.MustCompile(`^(===|==|>=|<=|!=|~=|=|<|>)?\s*([0-9][A-Za-z0-9._+!-]*?)(\.?\*)?$`)
)

// translateVersion turns conda's constraint into pip's; build is what follows
// a second "=" or blank.
func translateVersion(rest string) (constraint, build string, err error) {
	if rest == "" || rest == "*" || rest == "=*" {
		return "", "", nil
	}
	if strings.Contains(rest, "|") {
		return "", "", errors.New("alternatives with | cannot be said to pip")
	}
	// "=1.2=py_0" and "1.2 py_0" and "==1.2=py_0" name one exact build.
	if v, b, ok := splitBuild(rest); ok {
		v = strings.TrimSpace(strings.TrimLeft(v, "="))
		if stem, star := strings.CutSuffix(v, "*"); star {
			stem = strings.TrimSuffix(stem, ".")
			return "==" + stem + ".*", b, check(stem)
		}
		if b == "*" || strings.HasPrefix(b, "*") {
			c, _, err := translateVersion("=" + v)
			return c, b, err
		}
		return "==" + v, b, check(v)
	}
	var out []string
	for _, part := range strings.Split(rest, ",") {
		part = strings.TrimSpace(part)
		m := clause.FindStringSubmatch(part)
		if m == nil {
			return "", "", fmt.Errorf("the version %q is not understood", part)
		}
		op, version, star := m[1], m[2], m[3] != ""
		switch {
		case op == "===":
			return "", "", fmt.Errorf("the version %q is not understood", part)
		case (op == "" || op == "=") && (star || op == "="):
			if !plainVersion.MatchString(version) { // 1.0rc1.* is no version
				op = "=="
			} else {
				op, version = "==", version+".*"
			}
		case op == "":
			op = "=="
		case star && (op == "==" || op == "!="):
			version += ".*"
		}
		out = append(out, op+version)
	}
	return strings.Join(out, ","), "", nil
}

func check(version string) error {
	if !anyVersion.MatchString(version) {
		return fmt.Errorf("the version %q is not understood", version)
	}
	return nil
}

// splitBuild finds the build string of an exact specification.
func splitBuild(rest string) (version, build string, ok bool) {
	if strings.ContainsAny(rest, "<>!~,") {
		return "", "", false
	}
	body := strings.TrimLeft(rest, "= ")
	lead := rest[:len(rest)-len(body)]
	if i := strings.IndexAny(body, "= "); i >= 0 {
		b := strings.Trim(body[i:], "= ")
		return lead + body[:i], b, b != ""
	}
	return "", "", false
}

// Python is the file's wish for an interpreter.
type Python struct {
	// Text is as the file has it, e.g. "=3.12"; empty for none.
	Text    string
	clauses []pythonClause
}

type pythonClause struct {
	op     string
	number []int
}

func parsePython(text, constraint string) (Python, error) {
	p := Python{Text: text}
	if constraint == "" {
		return Python{}, nil
	}
	for _, part := range strings.Split(constraint, ",") {
		m := clause.FindStringSubmatch(part)
		if m == nil || !plainVersion.MatchString(m[2]) {
			return p, fmt.Errorf("the Python version %q is not understood", part)
		}
		c := pythonClause{op: m[1]}
		for _, n := range strings.Split(m[2], ".") {
			v, err := strconv.Atoi(n)
			if err != nil {
				return p, fmt.Errorf("the Python version %q is not understood", part)
			}
			c.number = append(c.number, v)
		}
		p.clauses = append(p.clauses, c)
	}
	return p, nil
}

// Allows says whether some interpreter 3.minor can satisfy the wish. Patch
// levels are not compared: the wish "=3.12.4" allows 3.12.
func (p Python) Allows(major, minor int) bool {
	for _, c := range p.clauses {
		want := append(append([]int(nil), c.number...), 0, 0)
		cmp := major - want[0]
		if cmp == 0 && len(c.number) > 1 {
			cmp = minor - want[1]
		}
		prefix := len(c.number) == 1 // "=3" says nothing about the minor
		patch := len(c.number) > 2
		ok := false
		switch c.op {
		case "==":
			ok = cmp == 0
		case "!=":
			ok = cmp != 0 || patch
		case ">=":
			ok = cmp >= 0
		case "<=":
			ok = cmp < 0 || cmp == 0 && (!prefix || minor == 0)
		case ">":
			ok = cmp > 0 || cmp == 0 && (patch || prefix && minor > 0)
		case "<":
			ok = cmp < 0 || cmp == 0 && patch && want[2] > 0
		case "~=":
			if patch {
				ok = cmp == 0
			} else {
				ok = major == want[0] && minor >= want[1]
			}
		}
		if !ok {
			return false
		}
	}
	return true
}
