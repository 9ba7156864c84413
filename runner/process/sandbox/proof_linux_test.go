package sandbox

import "testing"

// FuzzHello: whatever someone says first, a challenge has its size or is not
// there, and nothing but the key makes a proof.
func FuzzHello(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"challenge":"AAAA"}`, `{"challenge":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","proof":"AA=="}`, "x", `{"proof":null}`} {
		f.Add([]byte(seed))
	}
	own := challenge()
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := parseHello(raw)
		if err != nil {
			return
		}
		if n := len(h.Challenge); n != 0 && n != challengeSize {
			t.Errorf("a challenge of %d bytes", n)
		}
		if string(h.Proof) == string(proof("the key", "emulator", h.Challenge, own)) {
			t.Error("a proof without the key")
		}
	})
}
