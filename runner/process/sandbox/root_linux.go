package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// systemFolders are programs and libraries. Where one is a link, as on systems
// with a merged /usr, the link is copied.
var systemFolders = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"}

// settings are what of /etc libraries read; nothing in it is private.
var settings = []string{
	"alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "debian_version", "fonts", "gai.conf", "host.conf",
	"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "os-release", "pki", "protocols", "services", "ssl", "timezone",
}

// ownSettings are written instead of the host's.
var ownSettings = map[string]string{
	"/etc/passwd": fmt.Sprintf("root:x:0:0:root:/nonexistent:/usr/sbin/nologin\ndockeruser:x:%d:%d::%s:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		InsideUser, InsideUser, Home),
	"/etc/group":         fmt.Sprintf("root:x:0:\ndockeruser:x:%d:\nnogroup:x:65534:\n", InsideUser),
	"/etc/hosts":         "127.0.0.1 localhost instance\n::1 localhost\n",
	"/etc/hostname":      "instance\n",
	"/etc/resolv.conf":   "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// makeRoot builds the instance's file system and makes it this process's.
func makeRoot(c *Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return step("make mounts private", err)
	}
	r := root{dir: filepath.Join(c.Folder, "root")}
	if err := unix.Mount("tmpfs", r.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=16m"); err != nil {
		return step("mount tmpfs", err)
	}
	for _, build := range []func() error{
		r.system,
		func() error { return r.binds(c) },
		func() error { return r.files(c.Files) },
		r.devices,
		r.proc,
	} {
		if err := build(); err != nil {
			return err
		}
	}
	if err := unix.Chdir(r.dir); err != nil {
		return step("enter the root", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return step("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return step("leave the host's root", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return step("enter the root", err)
	}
	// No further user namespaces: they open much of the kernel to their owner.
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return step("forbid user namespaces", err)
	}
	return step("make the root read-only", unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
}

// root is the file system being built at dir.
type root struct {
	dir  string
	same []string // paths that show what the host has there
}

func (r *root) path(inside string) string { return filepath.Join(r.dir, filepath.Clean("/"+inside)) }

func (r *root) system() error {
	for _, folder := range systemFolders {
		if err := r.copyOrBind(folder); err != nil {
			return err
		}
	}
	names := settings
	// Debian's Java has its configuration there, one folder a version.
	if java, err := filepath.Glob("/etc/java*"); err == nil {
		for _, path := range java {
			names = append(slices.Clip(names), filepath.Base(path))
		}
	}
	for _, name := range names {
		if err := r.copyOrBind("/etc/" + name); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/tmp", "/run", "/var/azureml-app", "/var/log", Home, "/etc"} {
		if err := os.MkdirAll(r.path(dir), 0o755); err != nil {
			return step("make "+dir, err)
		}
	}
	return step("make /var/tmp", os.Symlink("/tmp", r.path("/var/tmp")))
}

// copyOrBind shows a host's path at the same place, a link as a link; what the
// host does not have is left out.
func (r *root) copyOrBind(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return step("look at "+path, err)
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return r.bind(Bind{path, path}, readOnly)
	}
	target, err := os.Readlink(path)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(r.path(path)), 0o755)
	}
	if err == nil {
		err = os.Symlink(target, r.path(path))
	}
	return step("link "+path, err)
}

func (r *root) binds(c *Config) error {
	all := make([]mount, 0, len(c.Binds)+len(c.Writable))
	for _, b := range c.Binds {
		all = append(all, mount{b, readOnly})
	}
	for _, b := range c.Writable {
		all = append(all, mount{b, unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV})
	}
	// Folders before what lies in them.
	slices.SortStableFunc(all, func(a, b mount) int { return len(a.Target) - len(b.Target) })
	for _, m := range all {
		if m.Source == m.Target && r.covers(m.Target) {
			continue
		}
		if err := r.bind(m.Bind, m.attributes); err != nil {
			return err
		}
	}
	return nil
}

type mount struct {
	Bind
	attributes uint64
}

// covers says that a host's path is visible at its own place already.
func (r *root) covers(target string) bool {
	return slices.ContainsFunc(r.same, func(b string) bool { return target == b || strings.HasPrefix(target, b+"/") })
}

const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// bind mounts with all that is mounted below; mount_setattr, unlike a remount,
// keeps flags that a namespace may not take away.
func (r *root) bind(b Bind, attributes uint64) error {
	info, err := os.Stat(b.Source)
	if err != nil {
		return step("look at "+b.Source, err)
	}
	at := r.path(b.Target)
	if info.IsDir() {
		err = os.MkdirAll(at, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(at), 0o755); err == nil {
		var f *os.File
		if f, err = os.OpenFile(at, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o644); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return step("make a place for "+b.Target, err)
	}
	if err := unix.Mount(b.Source, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return step("bind "+b.Source, err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, at, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return step("mount_setattr "+b.Target, err)
	}
	if b.Source == b.Target {
		r.same = append(r.same, b.Target)
	}
	return nil
}

func (r *root) files(extra map[string][]byte) error {
	all := maps.Clone(extra)
	if all == nil {
		all = map[string][]byte{}
	}
	for path, text := range ownSettings {
		if _, ok := all[path]; !ok {
			all[path] = []byte(text)
		}
	}
	for path, content := range all {
		at := r.path(path)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if err == nil {
			err = os.WriteFile(at, content, 0o644)
		}
		if err != nil {
			return step("write "+path, err)
		}
	}
	return nil
}

func (r *root) devices() error {
	for _, name := range devices {
		if _, err := os.Stat("/dev/" + name); err != nil {
			continue
		}
		if err := r.bind(Bind{"/dev/" + name, "/dev/" + name}, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, r.path("/dev/"+name)); err != nil {
			return step("link /dev/"+name, err)
		}
	}
	shm := r.path("/dev/shm")
	if err := os.Mkdir(shm, 0o755); err != nil {
		return step("make /dev/shm", err)
	}
	return step("mount /dev/shm", unix.Mount("tmpfs", shm, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=512m"))
}

func (r *root) proc() error {
	at := r.path("/proc")
	if err := os.Mkdir(at, 0o555); err != nil {
		return step("make /proc", err)
	}
	return step("mount proc", unix.Mount("proc", at, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
}
