package scenarios

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// pathStep is one step of an override's path: a name or an index in brackets.
var pathStep = regexp.MustCompile(`^(?:\.?([^.\[\]]+)|\[(\d{1,4})\])`)

// override applies PATH=VALUE to a document, as the command line's --set does:
// `a.b[0].c=value`. Members that are missing are made; elements are not.
func override(doc map[string]any, assignment string) error {
	path, value, ok := strings.Cut(assignment, "=")
	if !ok || path == "" {
		return errors.New("it is not of the form path=value")
	}
	var at any = doc
	var put func(any) // puts a new value where at stands
	for rest := path; rest != ""; {
		m := pathStep.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("%q is no path", path)
		}
		rest = rest[len(m[0]):]
		if name := m[1]; name != "" {
			object, ok := at.(map[string]any)
			if !ok {
				if at != nil || put == nil {
					return fmt.Errorf("%s is a %T, which has no member %s", path[:len(path)-len(rest)-len(m[0])], at, name)
				}
				object = map[string]any{}
				put(object)
			}
			at, put = object[name], func(v any) { object[name] = v }
			continue
		}
		index, err := strconv.Atoi(m[2])
		if err != nil {
			return err
		}
		list, ok := at.([]any)
		if !ok || index >= len(list) {
			return fmt.Errorf("there is no element %d", index)
		}
		at, put = list[index], func(v any) { list[index] = v }
	}
	put(typed(at, value))
	return nil
}

// typed keeps a number a number; everything else is a string, whatever it
// looks like: an environment variable must not become a bool.
func typed(old any, value string) any {
	switch old.(type) {
	case int, int64, uint64, float64, bool:
		var v any
		if err := yaml.Unmarshal([]byte(value), &v); err == nil {
			return v
		}
	}
	return value
}
