package images

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// dockerfile is a user's, read as far as we have to know it: which images it
// begins from and copies from, and which stages run commands. Everything else
// is the engine's to judge.
type dockerfile struct {
	lines  []string
	stages []*stage
	copies []copyFrom
}

// stage is what follows one FROM.
type stage struct {
	instruction
	flags string // of FROM
	image string // what it begins from; "" for scratch and earlier stages
	base  *stage // the earlier stage it begins from
	name  string
	runs  bool // has a RUN
	began bool // a later stage begins from it
}

// copyFrom is a COPY --from= of an image.
type copyFrom struct {
	instruction
	image string
}

// instruction is one of a Dockerfile's, over one line or more.
type instruction struct {
	first, last int
	word        string
	args        string
}

var (
	escapeDirective = regexp.MustCompile("(?i)^#\\s*escape\\s*=\\s*([\\\\`])\\s*$")
	anyDirective    = regexp.MustCompile(`(?i)^#\s*[a-z]+\s*=`)
	fromFlag        = regexp.MustCompile(`--from=(\S+)`)
	variable        = regexp.MustCompile(`\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::-([^}]*))?\})`)
)

// readDockerfile takes a Dockerfile apart.
func readDockerfile(text string) (*dockerfile, error) {
	d := &dockerfile{lines: strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")}
	args := map[string]string{} // those before the first FROM
	var now *stage
	for _, in := range instructions(d.lines) {
		switch {
		case in.word == "ARG" && now == nil:
			name, value, _ := strings.Cut(in.args, "=")
			args[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
		case in.word == "FROM":
			s, err := d.from(in, args)
			if err != nil {
				return nil, err
			}
			d.stages = append(d.stages, s)
			now = s
		case in.word == "RUN" && now != nil:
			now.runs = true
		case in.word == "COPY":
			if m := fromFlag.FindStringSubmatch(in.args); m != nil && !d.isStage(m[1]) {
				d.copies = append(d.copies, copyFrom{in, m[1]})
			}
		}
	}
	if len(d.stages) == 0 {
		return nil, fmt.Errorf("it has no FROM instruction")
	}
	return d, nil
}

// instructions joins lines to instructions and leaves out comments.
func instructions(lines []string) []instruction {
	escape, directives := `\`, true
	var out []instruction
	var open *instruction
	for n, line := range lines {
		line = strings.TrimSpace(line)
		if directives {
			if m := escapeDirective.FindStringSubmatch(line); m != nil {
				escape = m[1]
			}
			directives = anyDirective.MatchString(line)
		}
		if strings.HasPrefix(line, "#") || line == "" {
			continue // also within an instruction
		}
		goesOn := strings.HasSuffix(line, escape)
		line = strings.TrimSpace(strings.TrimSuffix(line, escape))
		if open == nil {
			word, args, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
			open = &instruction{first: n, word: strings.ToUpper(word), args: strings.TrimSpace(args)}
		} else {
			open.args += " " + line
		}
		open.last = n
		if !goesOn {
			out = append(out, *open)
			open = nil
		}
	}
	if open != nil {
		out = append(out, *open)
	}
	return out
}

// from reads one FROM.
func (d *dockerfile) from(in instruction, args map[string]string) (*stage, error) {
	s := &stage{instruction: in}
	words := strings.Fields(in.args)
	for len(words) > 0 && strings.HasPrefix(words[0], "--") {
		s.flags += words[0] + " "
		words = words[1:]
	}
	switch {
	case len(words) == 3 && strings.EqualFold(words[1], "as"):
		s.name = words[2]
	case len(words) != 1:
		return nil, fmt.Errorf("line %d: FROM names no image", in.first+1)
	}
	image := variable.ReplaceAllStringFunc(words[0], func(all string) string {
		m := variable.FindStringSubmatch(all)
		if value := args[m[1]+m[2]]; value != "" {
			return value
		}
		return m[3]
	})
	if image == "" {
		return nil, fmt.Errorf("line %d: FROM %s names no image: its variable has no value", in.first+1, words[0])
	}
	if earlier := d.stage(image); earlier != nil {
		s.base, earlier.began = earlier, true
		return s, nil
	}
	if image != "scratch" {
		s.image = image
	}
	return s, nil
}

func (d *dockerfile) stage(name string) *stage {
	for _, s := range slices.Backward(d.stages) {
		if s.name != "" && strings.EqualFold(s.name, name) {
			return s
		}
	}
	return nil
}

// isStage also knows stages by number.
func (d *dockerfile) isStage(name string) bool {
	_, err := strconv.Atoi(name)
	return err == nil || d.stage(name) != nil
}

// final is the stage that becomes the image.
func (d *dockerfile) final() *stage { return d.stages[len(d.stages)-1] }

// images are those it needs, each once.
func (d *dockerfile) images() []string {
	var out []string
	for _, s := range d.stages {
		out = append(out, s.image)
	}
	for _, c := range d.copies {
		out = append(out, c.image)
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(name string) bool { return name == "" })
}

// text is the Dockerfile with other images in the place of those it names, and
// with lines of ours at the beginning of stages.
func (d *dockerfile) text(images map[string]string, begin func(*stage) []string) string {
	out := slices.Clone(d.lines)
	for _, c := range d.copies {
		if to := images[c.image]; to != c.image {
			for n := c.first; n <= c.last; n++ {
				out[n] = strings.Replace(out[n], "--from="+c.image, "--from="+to, 1)
			}
		}
	}
	for _, s := range d.stages {
		var lines []string
		if to := images[s.image]; s.image != "" {
			line := "FROM " + s.flags + to
			if s.name != "" {
				line += " AS " + s.name
			}
			lines = []string{line}
		} else {
			lines = slices.Clone(out[s.first : s.last+1])
		}
		lines = append(lines, begin(s)...)
		for n := s.first; n <= s.last; n++ {
			out[n] = ""
		}
		out[s.first] = strings.Join(lines, "\n")
	}
	return strings.Join(out, "\n")
}
