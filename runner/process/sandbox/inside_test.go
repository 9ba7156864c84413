//go:build linux

package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/amlocal/amlocal/runner/process/sandbox"
)

func actInside(act string) int {
	switch act {
	case "look":
		_ = json.NewEncoder(os.Stdout).Encode(actLook(os.Args[1:]))
	case "exit 7":
		return 7
	case "serve":
		http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "inside "+r.Host) })
		fmt.Println("serving")
		fmt.Println(http.ListenAndServe("127.0.0.1:5001", nil))
	case "count":
		return countInside()
	case "words":
		for { // until its emulator has gone, as the file tells
			if _, err := os.Stat("/tmp/gone"); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		fmt.Println("last words")
	case "sleep":
		fmt.Println("sleeping")
		time.Sleep(time.Minute)
	case "hoard":
		hoard := make([]byte, 1<<30)
		for i := 0; i < len(hoard); i += 4096 {
			hoard[i] = 1
		}
		fmt.Println("got it", len(hoard))
	}
	return 0
}

// countInside prints numbers, dials for whoever connects to port 5001, and ends
// with code 7 when someone writes to port 5002. (Were connecting enough, it could
// end before the agent has handed the connection over.)
func countInside() int {
	end := make(chan struct{})
	dialler, err := net.Listen("tcp", "127.0.0.1:5001")
	ender, err2 := net.Listen("tcp", "127.0.0.1:5002")
	if err != nil || err2 != nil {
		fmt.Println(err, err2)
		return 1
	}
	go func() {
		c, err := ender.Accept()
		if err != nil {
			return
		}
		_, _ = c.Read(make([]byte, 1))
		close(end)
	}()
	go func() {
		for {
			c, err := dialler.Accept()
			if err != nil {
				return
			}
			address, _ := io.ReadAll(c)
			if to, err := net.Dial("tcp", string(address)); err == nil {
				_, _ = io.WriteString(to, "from inside")
				_ = to.Close()
			}
			_ = c.Close()
		}
	}()
	for n := 0; ; n++ {
		select {
		case <-end:
			return 7
		case <-time.After(time.Millisecond):
			fmt.Println(n)
		}
	}
}

func try(f func() (string, error)) outcome {
	text, err := f()
	o := outcome{Text: text}
	if err != nil {
		o.Error = err.Error()
		var errno syscall.Errno
		if errors.As(err, &errno) {
			o.Error = errno.Error()
		}
	}
	return o
}

func actLook(args []string) map[string]outcome {
	got := map[string]outcome{}
	read := func(path string) func() (string, error) {
		return func() (string, error) { raw, err := os.ReadFile(path); return string(raw), err }
	}
	write := func(path string) func() (string, error) {
		return func() (string, error) { return "", os.WriteFile(path, []byte("x"), 0o600) }
	}
	bind := func(address string) func() (string, error) {
		return func() (string, error) {
			ln, err := net.Listen("tcp", address)
			if err == nil {
				_ = ln.Close()
			}
			return "", err
		}
	}
	dial := func(address string) func() (string, error) {
		return func() (string, error) {
			c, err := net.DialTimeout("tcp", address, 5*time.Second)
			if err == nil {
				_ = c.Close()
			}
			return "", err
		}
	}
	for name, f := range map[string]func() (string, error){
		"status": read("/proc/self/status"), "passwd": read("/etc/passwd"), "shadow": read("/etc/shadow"),
		"environ of 1": read("/proc/1/environ"), "maps of 1": read("/proc/1/maps"),
		"root of 1": func() (string, error) { return "", errOf(os.ReadDir("/proc/1/root/")) },
		"fd of 1":   func() (string, error) { return "", errOf(os.ReadDir("/proc/1/fd")) },
		"kill 1":    func() (string, error) { return "", syscall.Kill(1, syscall.SIGKILL) },
		"write /":   write("/x"), "write /usr": write("/usr/x"), "write /etc": write("/etc/x"), "write /var": write("/var/azureml-app/x"),
		"write /etc/resolv.conf": write("/etc/resolv.conf"), "write /dev": write("/dev/x"),
		"write /tmp": write("/tmp/x"), "write home": write(sandbox.Home + "/x"), "write /dev/shm": write("/dev/shm/x"),
		"mount": func() (string, error) { return "", syscall.Mount("tmpfs", "/tmp", "tmpfs", 0, "") },
		"unshare": func() (string, error) {
			cmd := exec.Command("/bin/true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
			return "", cmd.Run()
		},
		"bind :80":   bind("127.0.0.1:80"),
		"bind :5003": bind("127.0.0.1:5003"),
		"setuid 0":   func() (string, error) { return "", syscall.Setuid(0) },
		"outside":    dial("192.0.2.1:80"), "outside by IPv6": dial("[2001:db8::1]:80"),
		"fds": func() (string, error) {
			entries, err := os.ReadDir("/proc/self/fd")
			var names []string
			for _, e := range entries {
				to, _ := os.Readlink("/proc/self/fd/" + e.Name())
				names = append(names, e.Name()+"="+to)
			}
			return strings.Join(names, " "), err
		},
		"folders": func() (string, error) {
			entries, err := os.ReadDir("/")
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return strings.Join(names, " "), err
		},
		"pids": func() (string, error) {
			entries, err := os.ReadDir("/proc")
			var pids []string
			for _, e := range entries {
				if strings.Trim(e.Name(), "0123456789") == "" {
					pids = append(pids, e.Name())
				}
			}
			return strings.Join(pids, " "), err
		},
		"hostname": os.Hostname,
	} {
		got[name] = try(f)
	}
	for _, arg := range args {
		kind, rest, _ := strings.Cut(arg, "=")
		switch kind {
		case "dial":
			got[arg] = try(dial(rest))
		case "read":
			got[arg] = try(read(rest))
		case "write":
			got[arg] = try(write(rest))
		}
	}
	return got
}
