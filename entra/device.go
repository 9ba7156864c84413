package entra

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/azure"
)

// How long a device code lasts, how often clients ask for its fate, and how
// many may wait at a time.
const (
	deviceLife     = 15 * time.Minute
	deviceInterval = 5
	maxDevices     = 1000
)

// Errors of ApproveDevice, to be tested with errors.Is.
var (
	// ErrUserCode says that no sign-in waits for that code.
	ErrUserCode = errors.New("no sign-in waits for this code; codes last 15 minutes")
	// ErrNotAUser refuses to sign anyone in but a user.
	ErrNotAUser = errors.New("only a user signs in with a device code")
)

// device is a sign-in that waits for a user to say yes elsewhere.
type device struct {
	userCode string
	client   client
	wish     wish
	expires  time.Time
	user     azure.Principal
	declined bool
}

// devices are the waiting sign-ins by device code. They are in memory: one that
// waits when the emulator ends has to begin again.
type devices struct {
	mu      sync.Mutex
	waiting map[string]*device
}

// userCodeLetters leave out what is misread.
const userCodeLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

func newUserCode() string {
	raw := make([]byte, 9)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	for i, b := range raw {
		raw[i] = userCodeLetters[int(b)%len(userCodeLetters)]
	}
	return string(raw)
}

func (d *devices) add(one *device, now time.Time) (code string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for code, old := range d.waiting {
		// One that ended is kept a little, for its client to be told so.
		if now.After(old.expires.Add(deviceLife)) {
			delete(d.waiting, code)
		}
	}
	if len(d.waiting) >= maxDevices {
		return "", false
	}
	one.userCode = newUserCode()
	code = "B" + rand.Text() + rand.Text()
	d.waiting[code] = one
	return code, true
}

func (s *Service) deviceCodeV2(w http.ResponseWriter, r *http.Request) error {
	return s.deviceCode(w, r, dialectV2)
}

func (s *Service) deviceCodeV1(w http.ResponseWriter, r *http.Request) error {
	return s.deviceCode(w, r, dialectV1)
}

// deviceCode begins a sign-in that a user finishes at the page of
// Deps.DevicePage.
func (s *Service) deviceCode(w http.ResponseWriter, r *http.Request, d dialect) error {
	if _, ok := s.tenant(r); !ok {
		return errUnknownTenant("invalid_request", segment(r))
	}
	form, err := readForm(r)
	if err != nil {
		return err
	}
	c, err := s.authenticateClient(r, form)
	if err != nil {
		return err
	}
	if form.Get(d.field) == "" {
		return errMissingField(d.field)
	}
	asked, err := wishOf(form, d)
	if err != nil {
		return err
	}
	if asked = asked.orElse(wish{}); !knownResource(asked.resource) {
		return errUnknownResource(asked.resource, s.deps.TenantID)
	}
	now := s.deps.Clock.Now()
	one := &device{client: c, wish: asked, expires: now.Add(deviceLife)}
	code, ok := s.devices.add(one, now)
	if !ok {
		return errTooMany()
	}
	page := s.deps.DevicePage()
	noStore(w)
	body := deviceAnswer{
		UserCode: one.userCode, DeviceCode: code, ExpiresIn: int(deviceLife / time.Second), Interval: deviceInterval,
		Message: fmt.Sprintf("To sign in, use a web browser to open the page %s and enter the code %s to authenticate.", page, one.userCode),
	}
	if d.v1 {
		writeJSON(w, http.StatusOK, deviceAnswerV1{body, page})
	} else {
		writeJSON(w, http.StatusOK, deviceAnswerV2{body, page})
	}
	return nil
}

// deviceGrant is a client that asks whether the user has agreed.
func (s *Service) deviceGrant(form url.Values, given *delegation) error {
	code := form.Get("device_code")
	if code == "" {
		code = form.Get("code")
	}
	if code == "" {
		return errMissingField("device_code")
	}
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	one, ok := s.devices.waiting[code]
	switch {
	case !ok || one.client.id != given.client.id:
		return errDeviceCode()
	case one.declined:
		return errDeviceDeclined()
	case !s.deps.Clock.Now().Before(one.expires):
		return errDeviceExpired()
	case one.user.ObjectID == "":
		return errDevicePending()
	}
	delete(s.devices.waiting, code)
	asked := given.wish
	if given.wish = asked.orElse(one.wish); asked.resource == "" {
		given.wish = one.wish
	}
	given.user, given.methods = one.user, []string{"pwd"}
	return nil
}

// DeviceClient is the name of the client that waits for a user code.
func (s *Service) DeviceClient(userCode string) (string, error) {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	one, err := s.waitingLocked(userCode)
	if err != nil {
		return "", err
	}
	if name := publicClients[one.client.id]; name != "" {
		return name, nil
	}
	return one.client.principal.Name, nil
}

// ApproveDevice signs a user in where the user code is waited for; the caller
// has made sure who it is.
func (s *Service) ApproveDevice(userCode string, user azure.Principal) error {
	if user.Type != azure.User {
		return ErrNotAUser
	}
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	one, err := s.waitingLocked(userCode)
	if err == nil {
		one.user = user
	}
	return err
}

// DeclineDevice refuses the sign-in that waits for the user code.
func (s *Service) DeclineDevice(userCode string) error {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	one, err := s.waitingLocked(userCode)
	if err == nil {
		one.declined = true
	}
	return err
}

func (s *Service) waitingLocked(userCode string) (*device, error) {
	userCode = strings.ToUpper(strings.TrimSpace(userCode))
	for _, one := range s.devices.waiting {
		if one.userCode == userCode && one.user.ObjectID == "" && !one.declined && s.deps.Clock.Now().Before(one.expires) {
			return one, nil
		}
	}
	return nil, ErrUserCode
}
