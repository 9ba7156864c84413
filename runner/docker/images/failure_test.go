package images

import (
	"strings"
	"testing"

	"github.com/amlocal/amlocal/runner"
)

func TestFailure(t *testing.T) {
	const pip = `Step 7/19 : RUN ["/azureml-envs/amlocal/bin/python","-m","pip","install","--no-cache-dir","-r","/build/requirements.txt"]`
	r := recipe{Base: &found{name: "b:1"}, Requirements: []string{"numpy==1.2", "scikit_learn==9.9", "requests"}}
	for _, tt := range []struct {
		name   string
		lines  []string
		error  string
		has    []string
		hasNot []string
	}{
		{"no such pin", []string{pip, "Collecting numpy==1.2",
			"ERROR: Could not find a version that satisfies the requirement scikit-learn==9.9 (from versions: 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)",
			"ERROR: No matching distribution found for scikit-learn==9.9"}, "returned a non-zero code: 1",
			[]string{"scikit_learn==9.9 cannot be installed for Python 3.11 from wheels", "(from versions: ..., 1.1, 1.2, 1.3, 1.4, 1.5)"},
			[]string{"numpy", "requests"}},
		{"another Python's", []string{pip,
			"ERROR: Ignored the following versions that require a different python version: 1.2 Requires-Python >=3.7,<3.10",
			"ERROR: Could not find a version that satisfies the requirement numpy==1.2 (from versions: 2.0)",
			"ERROR: No matching distribution found for numpy==1.2"}, "1",
			[]string{"numpy==1.2 cannot be installed for Python 3.11", "wheels: Could not find", "Requires-Python >=3.7,<3.10"}, nil},
		{"conflict", []string{pip, "INFO: pip is looking at multiple versions", "ERROR: Cannot install numpy==1.2 and scikit_learn==9.9 because these package versions have conflicting dependencies.",
			"The conflict is caused by:", "    The user requested numpy==1.2", "    scikit-learn 9.9 depends on numpy>=1.9", "[notice] A new release of pip"}, "1",
			[]string{"numpy==1.2, scikit_learn==9.9 cannot", "depends on numpy>=1.9"}, []string{"requests", "new release", "INFO"}},
		{"the index is out of reach", []string{pip,
			"WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution)': /simple/numpy/",
			"ERROR: Could not find a version that satisfies the requirement numpy==1.2 (from versions: none)",
			"ERROR: No matching distribution found for numpy==1.2"}, "1",
			[]string{"package index cannot be reached", "Temporary failure in name resolution", "numpy==1.2"}, []string{"from wheels"}},
		{"the index is not trusted", []string{pip,
			"WARNING: Retrying (Retry(total=4)) after connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:992)'))'",
			"ERROR: Could not find a version that satisfies the requirement numpy==1.2 (from versions: none)"}, "1",
			[]string{"CERTIFICATE_VERIFY_FAILED"}, []string{"from wheels"}},
		{"pip died", []string{pip, "Collecting numpy==1.2", "Killed"}, "returned a non-zero code: 137",
			[]string{"Killed"}, nil},
		{"disk", []string{pip, "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"}, "returned a non-zero code: 1",
			[]string{"disk is full"}, []string{"numpy"}},
		{"venv", []string{`Step 6/19 : RUN ["/usr/bin/python3","-m","venv","/azureml-envs/amlocal"]`, "Error: ensurepip"}, "1",
			[]string{"cannot make a virtual environment", "ensurepip"}, nil},
		{"anything else", []string{"Step 11/19 : COPY --from=build /a /a"}, "COPY failed: no such file", []string{"cannot be built on b:1: COPY failed"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var messages []string
			for _, l := range tt.lines {
				messages = append(messages, said(l))
			}
			var log strings.Builder
			out, err := follow(strings.NewReader(strings.Join(append(messages, broke(tt.error)), "\n")), &log)
			var broken *stepError
			if !asStep(err, &broken) {
				t.Fatalf("%v", err)
			}
			f := failure(r, interpreter{"/usr/bin/python3", "3.11"}, broken, out)
			if f.Kind != runner.BuildFailed || f.Log == "" {
				t.Errorf("%+v", f)
			}
			for _, want := range tt.has {
				if !strings.Contains(f.Message, want) {
					t.Errorf("no %q in %s", want, f.Message)
				}
			}
			for _, not := range tt.hasNot {
				if strings.Contains(f.Message, not) {
					t.Errorf("%q in %s", not, f.Message)
				}
			}
		})
	}
}

func TestFollow(t *testing.T) {
	var log strings.Builder
	out, err := follow(strings.NewReader(strings.Join([]string{
		`{"stream":"Step 1/2 : FROM x\n"}`, `{"stream":" ---\u003e 123\n"}`, `{"stream":"half "}`, `{"stream":"a line\nand another\n"}`,
		`{"stream":"\u001b[91mred\n\u001b[0m"}`, `{"stream":"10%\r20%\r100%\n"}`, `{"aux":{"ID":"sha256:1"}}`,
		`{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"aa"}`, `{"status":"Pull complete","progressDetail":{},"id":"aa"}`,
		`{"stream":"no end"}`,
	}, "\n")), &log)
	if err != nil {
		t.Fatal(err)
	}
	want := "Step 1/2 : FROM x\nhalf a line\nand another\nred\n100%\naa: Pull complete\nno end\n"
	if log.String() != want || out.tail(99)+"\n" != want || out.step != "FROM x" {
		t.Errorf("step %q, log:\n%s", out.step, log.String())
	}
	if _, err := follow(strings.NewReader(`{"stream":"x\n"}{"str`), &log); err == nil {
		t.Error("a stream that breaks off passes for a whole one")
	}
}

func FuzzFollow(f *testing.F) {
	f.Add(`{"stream":"Step 1/2 : RUN x\n"}` + "\n" + `{"errorDetail":{"message":"m"}}`)
	f.Add(`{"status":"Pulling","progressDetail":{}}`)
	f.Fuzz(func(t *testing.T, stream string) {
		var log strings.Builder
		out, _ := follow(strings.NewReader(stream), &log)
		if len(out.lines) > keptLines {
			t.Errorf("%d lines kept", len(out.lines))
		}
		if log.Len() > 0 && !strings.HasSuffix(log.String(), "\n") {
			t.Errorf("the log ends in half a line: %q", log.String())
		}
		_ = failure(recipe{Base: &found{}, Requirements: []string{"a"}}, interpreter{}, &stepError{}, out)
	})
}
