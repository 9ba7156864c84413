package docker

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

// Where instances find what we bring.
const (
	trustDir   = "/run/amlocal"
	bundleFile = trustDir + "/bundle.pem"
	storeFile  = trustDir + "/truststore.p12"
)

// volumes brings files to instances by the archive API into volumes, never by
// folders of the host: the engine's machine may be another one (Docker Desktop,
// an emulator that is itself a container). Instances mount them read-only.
type volumes struct {
	b *Backend

	mu        sync.Mutex
	trust     string                  // volume, once it is filled
	resolvers map[netip.Prefix]string // path on the engine's machine, once it is there
	sets      map[string]*mountSet
}

// mountSet are the volumes with a revision's mounts, shared by its instances.
type mountSet struct {
	key     string
	targets []volumeMount
	refs    int
	filled  chan struct{} // closed when the content is there, or err is set
	cleared chan struct{} // closed when no courier holds the volumes any more
	err     error
}

// delivery is what an instance mounts.
type delivery struct {
	trust      string
	resolvConf string
	set        *mountSet
	// arrived waits until the content is there; the container may be made
	// meanwhile, not started. It is to be called before the set is released.
	arrived func() error
}

func newVolumes(b *Backend) *volumes {
	return &volumes{b: b, resolvers: map[netip.Prefix]string{}, sets: map[string]*mountSet{}}
}

// parcel is content for one volume.
type parcel struct {
	volume string
	write  func(*tar.Writer) error
}

// prepare begins to bring everything an instance on the network needs that is
// not there yet; delivery.arrived sees the end of it. The mounts are counted: release
// them.
func (v *volumes) prepare(ctx context.Context, spec runner.InstanceSpec, prefix netip.Prefix) (d delivery, err error) {
	var parcels []parcel
	trust, content, err := v.trustContent()
	if err != nil {
		return d, err
	}
	v.mu.Lock()
	known := v.trust == trust
	d.resolvConf = v.resolvers[prefix]
	set, mine := v.setLocked(spec)
	v.mu.Unlock()
	d.trust, d.set = trust, set
	shipping := false
	defer func() {
		if err == nil {
			return
		}
		if mine && !shipping {
			set.err = err
			close(set.filled)
			close(set.cleared)
		}
		v.release(set)
	}()
	if !known {
		if _, err := v.b.eng.createVolume(ctx, trust, v.b.labels("trust")); err != nil {
			return d, fmt.Errorf("docker: %w", err)
		}
		parcels = append(parcels, parcel{trust, content})
	}
	resolvConf := d.resolvConf
	if resolvConf == "" {
		name := v.b.thing("dns")
		mountpoint, err := v.b.eng.createVolume(ctx, name, v.b.labels("dns"))
		if err != nil {
			return d, fmt.Errorf("docker: %w", err)
		}
		if mountpoint == "" {
			return d, errors.New("docker: the engine does not say where its volumes are")
		}
		leaf := strings.ReplaceAll(prefix.String(), "/", "_")
		resolvConf = path.Join(mountpoint, leaf)
		parcels = append(parcels, parcel{name, func(w *tar.Writer) error {
			return file(w, leaf, 0o444, []byte("nameserver "+relay.Host(prefix, relay.AgentHost).String()+"\noptions attempts:3 timeout:2\n"))
		}})
	}
	if mine {
		for i, m := range spec.Mounts {
			name := set.targets[i].volume
			if _, err := v.b.eng.createVolume(ctx, name, v.b.labels("mount", nameLabel, spec.Name)); err != nil {
				return d, fmt.Errorf("docker: %w", err)
			}
			parcels = append(parcels, parcel{name, func(w *tar.Writer) error { return folder(w, m.Source) }})
		}
	}
	first := d.resolvConf == ""
	d.resolvConf = resolvConf
	shipped := make(chan error, 1)
	shipping = true
	v.b.cleanup.Go(func() {
		courier, err := v.deliver(ctx, parcels)
		if err == nil {
			v.mu.Lock()
			v.trust = trust
			v.resolvers[prefix] = resolvConf
			v.mu.Unlock()
		}
		if mine {
			set.err = err
			close(set.filled)
		}
		shipped <- err
		v.dismiss(courier)
		if mine {
			close(set.cleared)
		}
	})
	d.arrived = sync.OnceValue(func() error {
		if err := <-shipped; err != nil || mine {
			return err
		}
		select {
		case <-set.filled:
			return set.err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if first { // the engine looks for a file bound by path when it makes a container
		return d, d.arrived()
	}
	return d, nil
}

// setLocked finds or begins the set of a revision and counts its user; mine
// says that the caller has to fill it.
func (v *volumes) setLocked(spec runner.InstanceSpec) (set *mountSet, mine bool) {
	words := []string{spec.ID, spec.Revision}
	for _, m := range spec.Mounts {
		words = append(words, m.Source, m.Target)
	}
	key := digest(words...)
	set = v.sets[key]
	if set == nil {
		mine = true
		set = &mountSet{key: key, filled: make(chan struct{}), cleared: make(chan struct{})}
		for i, m := range spec.Mounts {
			set.targets = append(set.targets, volumeMount{volume: v.b.thing("mount", key, strconv.Itoa(i)), target: m.Target, readOnly: true})
		}
		v.sets[key] = set
	}
	set.refs++
	return set, mine
}

// release removes the volumes nobody uses any more.
func (v *volumes) release(set *mountSet) {
	v.mu.Lock()
	set.refs--
	last := set.refs == 0
	if last {
		// A new set of the same name may begin only when this one's
		// volumes are gone; hence the lock stays.
		defer v.mu.Unlock()
		delete(v.sets, set.key)
	} else {
		v.mu.Unlock()
		return
	}
	<-set.cleared
	ctx, cancel := cleaning()
	defer cancel()
	for _, t := range set.targets {
		if err := v.b.eng.removeVolume(ctx, t.volume); err != nil && !errors.Is(err, errNotFound) {
			v.b.cfg.Logf("docker: remove volume %s: %v", t.volume, err)
		}
	}
}

// trustContent is the trust files' volume, named by their content.
func (v *volumes) trustContent() (name string, write func(*tar.Writer) error, err error) {
	bundle, err := os.ReadFile(v.b.cfg.CABundle)
	if err != nil {
		return "", nil, fmt.Errorf("docker: certificates: %w", err)
	}
	var store []byte
	if v.b.cfg.TrustStore != "" {
		if store, err = os.ReadFile(v.b.cfg.TrustStore); err != nil {
			return "", nil, fmt.Errorf("docker: certificates: %w", err)
		}
	}
	sum := sha256.Sum256(slices.Concat(bundle, store))
	return v.b.thing("trust", hex.EncodeToString(sum[:])[:12]), func(w *tar.Writer) error {
		if err := file(w, path.Base(bundleFile), 0o444, bundle); err != nil || store == nil {
			return err
		}
		return file(w, path.Base(storeFile), 0o444, store)
	}, nil
}

// deliver fills volumes by way of a container that is never started. It is to
// be dismissed, whatever became of it; "" for none.
func (v *volumes) deliver(ctx context.Context, parcels []parcel) (courier string, err error) {
	if len(parcels) == 0 {
		return "", nil
	}
	image, err := v.b.agentImage(ctx)
	if err != nil {
		return "", err
	}
	spec := containerSpec{image: image, cmd: []string{agentProgram}, labels: v.b.labels("courier")}
	for i, p := range parcels {
		spec.volumes = append(spec.volumes, volumeMount{volume: p.volume, target: "/v/" + strconv.Itoa(i)})
	}
	if courier, err = v.b.createFromAgent(ctx, spec); err != nil {
		return "", fmt.Errorf("docker: deliver files: %w", err)
	}
	for i, p := range parcels {
		content := archive(p.write)
		err := v.b.eng.copyTo(ctx, courier, spec.volumes[i].target, content)
		_ = content.Close()
		if err != nil {
			return courier, fmt.Errorf("docker: deliver files: %w", err)
		}
	}
	return courier, nil
}

func (v *volumes) dismiss(courier string) {
	if courier == "" {
		return
	}
	ctx, cancel := cleaning()
	defer cancel()
	if err := v.b.eng.remove(ctx, courier); err != nil {
		v.b.cfg.Logf("docker: remove a courier: %v", err)
	}
}

// folder archives a folder of ours: readable by every user of the image, owned
// by root.
func folder(w *tar.Writer, source string) error {
	root, err := os.OpenRoot(source)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only read
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		head := &tar.Header{Name: filepath.ToSlash(name), ModTime: info.ModTime(), Mode: 0o644}
		switch {
		case info.IsDir():
			head.Name, head.Typeflag, head.Mode = head.Name+"/", tar.TypeDir, 0o755
			return w.WriteHeader(head)
		case info.Mode()&fs.ModeSymlink != 0:
			head.Typeflag = tar.TypeSymlink
			if head.Linkname, err = root.Readlink(name); err != nil {
				return err
			}
			return w.WriteHeader(head)
		case !info.Mode().IsRegular():
			return nil // a socket or device is no file of a model
		}
		if info.Mode()&0o111 != 0 {
			head.Mode = 0o755
		}
		head.Typeflag, head.Size = tar.TypeReg, info.Size()
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		_, err = io.CopyN(w, f, info.Size())
		return err
	})
}
