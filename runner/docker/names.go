package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Labels on everything we make. The sweep goes by stateLabel, and by
// emulatorLabel for what nobody has the state of any more; the others are for
// people.
const (
	stateLabel    = "io.amlocal.state"
	emulatorLabel = "io.amlocal.emulator" // the emulator's own container, where it is one
	roleLabel     = "io.amlocal.role"
	nameLabel     = "io.amlocal.deployment"
	instanceLabel = "io.amlocal.instance"
)

// labels marks a thing as this state folder's.
func (b *Backend) labels(role string, more ...string) map[string]string {
	out := map[string]string{stateLabel: b.cfg.StateUUID, roleLabel: role}
	if self := b.selfID(); self != "" {
		out[emulatorLabel] = self
	}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

func (b *Backend) ours() string { return stateLabel + "=" + b.cfg.StateUUID }

// thing names something of this state folder's.
func (b *Backend) thing(parts ...string) string {
	id := strings.ReplaceAll(b.cfg.StateUUID, "-", "")
	return "amlocal-" + id[:min(12, len(id))] + "-" + strings.Join(parts, "-")
}

// digest is short and the same for the same words.
func digest(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		_, _ = h.Write([]byte(w))
		_, _ = h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
