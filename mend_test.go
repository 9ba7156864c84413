package amlocal

import (
	"bytes"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/httpx"
)

var toAssign = regexp.MustCompile(`(?m)^To assign it:\n  (az role assignment create .*)$`)

// line is the command `amlocal why ID` prints.
func (l *lab) line(t *testing.T, requestID string) string {
	t.Helper()
	var entry audit.Entry
	l.adminDo(t, http.MethodGet, "requests/"+requestID, nil, http.StatusOK, &entry)
	var why bytes.Buffer
	Explain(&why, entry)
	m := toAssign.FindStringSubmatch(why.String())
	if m == nil {
		t.Fatalf("no command to mend it:\n%s", why.String())
	}
	return m[1]
}

// mended calls until it succeeds, applying after each refusal what is printed
// for it. The call has to be refused at first.
func (l *lab) mended(t *testing.T, call func() (why string, err error)) (lines []string) {
	t.Helper()
	for {
		why, err := call()
		if err == nil {
			break
		}
		if why == "" {
			t.Fatalf("refused without %s: %v", httpx.WhyHeader, err)
		}
		line := l.line(t, why)
		if len(lines) > 0 && lines[len(lines)-1] == line || len(lines) == 5 {
			t.Fatalf("applying %q did not help: %v", lines, err)
		}
		lines = append(lines, line)
		l.owner.runLine(t, line)
	}
	if len(lines) == 0 {
		t.Fatal("it was not refused")
	}
	return lines
}

// whyOf is the header of a refusal that the SDK returned.
func whyOf(err error) (string, error) {
	var re *azcore.ResponseError
	if errors.As(err, &re) && re.RawResponse != nil {
		return re.RawResponse.Header.Get(httpx.WhyHeader), err
	}
	return "", err
}

// TestPrintedFixesMend: for every refusal that a role would cure, what
// `amlocal why` prints is applied, and the same call succeeds.
func TestPrintedFixesMend(t *testing.T) {
	l := newLab(t, nil)
	l.owner.endpoint(t, "target", wish(nil))
	l.owner.endpoint(t, "doomed", wish(nil))
	l.owner.deploy(t, "target", "blue", l.owner.instance(t))
	uai := l.owner.uai(t, "mine")
	reader := l.principal("reader of nothing")

	cases := []deed{
		{"endpoint with a user-assigned identity", "", func(t *testing.T, s *session) error {
			_, err := s.tryEndpoint(t.Context(), t, "by-uai", wish(asUser(*uai.ID)))
			return err
		}},
		{"show the workspace", "", func(t *testing.T, s *session) error {
			_, err := must(armmachinelearning.NewWorkspacesClient(azure.SeedSubscriptionID, s.cred, l.options()))(t).Get(t.Context(), groupName, wsName, nil)
			return err
		}},
		{"create an account", "", func(t *testing.T, s *session) error {
			poller, err := s.accounts(t).BeginCreate(t.Context(), groupName, "brandnew", armstorage.AccountCreateParameters{
				Kind: to.Ptr(armstorage.KindStorageV2), Location: to.Ptr(azure.SeedLocation), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)}}, nil)
			_, err = finish(t.Context(), poller, err)
			return err
		}},
		{"show an account", "", func(t *testing.T, s *session) error {
			_, err := s.accounts(t).GetProperties(t.Context(), groupName, accountOne, nil)
			return err
		}},
		{"list an account's keys", "", func(t *testing.T, s *session) error {
			_, err := s.accounts(t).ListKeys(t.Context(), groupName, accountOne, nil)
			return err
		}},
		{"create a container by ARM", "", func(t *testing.T, s *session) error {
			_, err := must(armstorage.NewBlobContainersClient(azure.SeedSubscriptionID, s.cred, l.options()))(t).Create(t.Context(), groupName, accountOne, "byarm", armstorage.BlobContainer{}, nil)
			return err
		}},
		{"create an identity", "", func(t *testing.T, s *session) error {
			_, err := s.identities(t).CreateOrUpdate(t.Context(), groupName, "theirs", armmsi.Identity{Location: to.Ptr(azure.SeedLocation)}, nil)
			return err
		}},
		{"assign a role", "", func(t *testing.T, s *session) error {
			_, err := s.tryGrant(t, reader.oid, "Reader", accountID(accountOne))
			return err
		}},
		{"define a role", "", func(t *testing.T, s *session) error {
			_, err := s.definitions(t).CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(), role("theirs", []string{seedGroup}, actions("*/read")), nil)
			return err
		}},
		{"show a role assignment list", "", func(t *testing.T, s *session) error {
			_, err := s.assignments(t).NewListForScopePager(seedWorkspace, &armauthorization.RoleAssignmentsClientListForScopeOptions{}).NextPage(t.Context())
			return err
		}},
		{"read a blob", "", func(t *testing.T, s *session) error {
			_, err := s.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil)
			return err
		}},
		{"write a blob", "", func(t *testing.T, s *session) error {
			_, err := s.blobs(t, accountOne).UploadBuffer(t.Context(), "box", "new.txt", []byte("x"), nil)
			return err
		}},
		{"list blobs", "", func(t *testing.T, s *session) error {
			_, err := s.blobs(t, accountOne).NewListBlobsFlatPager("box", nil).NextPage(t.Context())
			return err
		}},
		{"delete a blob", "", func(t *testing.T, s *session) error {
			_, err := s.blobs(t, accountOne).DeleteBlob(t.Context(), "box", "new.txt", nil)
			return err
		}},
		{"create a container", "", func(t *testing.T, s *session) error {
			_, err := s.blobs(t, accountOne).CreateContainer(t.Context(), "bytoken", nil)
			return err
		}},
		{"read a secret", "", func(t *testing.T, s *session) error {
			_, err := s.secrets(t, azure.SeedKeyVault).GetSecret(t.Context(), "any", "", nil)
			return notFoundIsFine(err)
		}},
		{"list secrets", "", func(t *testing.T, s *session) error {
			_, err := s.secrets(t, azure.SeedKeyVault).NewListSecretPropertiesPager(nil).NextPage(t.Context())
			return err
		}},
		{"set a secret", "", func(t *testing.T, s *session) error {
			_, err := s.secrets(t, azure.SeedKeyVault).SetSecret(t.Context(), "mended", azsecrets.SetSecretParameters{Value: to.Ptr("x")}, nil)
			return err
		}},
		{"list containers", "", func(t *testing.T, s *session) error {
			_, err := s.blobs(t, accountOne).NewListContainersPager(nil).NextPage(t.Context())
			return err
		}},
	}
	for _, d := range append(l.deeds(t), cases...) {
		t.Run(d.name, func(t *testing.T) {
			s := l.principal(d.name)
			lines := l.mended(t, func() (string, error) { return whyOf(d.do(t, s)) })
			for _, line := range lines {
				if strings.Contains(line, `"Owner"`) || strings.Contains(line, `"Contributor"`) {
					t.Errorf("it proposes more than is needed: %s", line)
				}
			}
		})
	}

	t.Run("score by Entra token", func(t *testing.T) {
		l.owner.endpoint(t, "aad", wish(func(e *armmachinelearning.OnlineEndpoint) {
			e.Properties.AuthMode = to.Ptr(armmachinelearning.EndpointAuthModeAADToken)
		}))
		l.owner.deploy(t, "aad", "blue", l.owner.instance(t))
		if err := l.owner.traffic(t, "aad", map[string]int32{"blue": 100}); err != nil {
			t.Fatal(err)
		}
		s := l.principal("caller")
		l.mended(t, func() (string, error) {
			a := l.score(t, "aad", "", s.token(t, forML), envQuestion)
			if a.status == 200 {
				return "", nil
			}
			return a.header.Get(httpx.WhyHeader), errors.New(a.body)
		})
	})

	// A deployment fails later than its request: `amlocal why` without an id.
	t.Run("deploy as an identity without roles", func(t *testing.T) {
		body := l.owner.scorer(t)
		body.Properties.(*armmachinelearning.ManagedOnlineDeployment).EnvironmentID = to.Ptr(l.owner.image(t, "private", azure.SeedRegistry+".azurecr.io/amlocal/goscorer:1"))
		body.Properties.(*armmachinelearning.ManagedOnlineDeployment).EnvironmentVariables["UAI_CLIENT_ID"] = uai.Properties.ClientID
		if _, err := l.owner.tryEndpoint(t.Context(), t, "poor", wish(asUser(*uai.ID))); err != nil {
			t.Fatal(err)
		}
		lines := l.mended(t, func() (string, error) {
			err := l.owner.tryDeploy(t, "poor", "blue", body)
			if err == nil {
				return "", nil
			}
			if err := l.owner.deleteDeployment(t, "poor", "blue"); err != nil {
				t.Fatal(err)
			}
			denial, ok := l.e.LastDenial()
			if !ok || denial.Caller.Principal.ObjectID != *uai.Properties.PrincipalID {
				t.Fatalf("the last refusal is %+v", denial)
			}
			return denial.RequestID, err
		})
		if len(lines) != 3 { // image, model, the script's own blob
			t.Errorf("it took %q", lines)
		}
	})
}

// TestWhyHeader: it names a refusal for want of a role, and nothing else.
func TestWhyHeader(t *testing.T) {
	l := newLab(t, nil)
	s := l.principal("nobody")
	refused := l.readRaw(t, s.token(t, forStorage), "2024-11-04")
	if id := refused.header.Get(httpx.WhyHeader); refused.status != 403 || id == "" || id != refused.header.Get("x-ms-request-id") || strings.Contains(strings.ToLower(refused.body), "amlocal-why") {
		t.Errorf("%d, %v", refused.status, refused.header)
	}
	for name, a := range map[string]answer{
		"allowed":        l.readRaw(t, l.owner.token(t, forManagement), "2024-11-04"),
		"no credential":  l.readRaw(t, "", "2024-11-04"),
		"wrong audience": l.readRaw(t, s.token(t, forVault), "2024-11-04"),
		"not there":      l.armRaw(t, http.MethodGet, accountID("nothing"), l.owner.token(t, forManagement), ""),
	} {
		if got := a.header.Get(httpx.WhyHeader); got != "" {
			t.Errorf("%s: %d with %s: %s", name, a.status, httpx.WhyHeader, got)
		}
	}
}

// TestWhyOfWhatWasAllowed: the same command tells which assignment let a
// request pass.
func TestWhyOfWhatWasAllowed(t *testing.T) {
	l := newLab(t, nil)
	s := l.principal("reader")
	assignment := l.owner.grant(t, s.oid, "Storage Blob Data Reader", accountID(accountOne))
	a := l.readRaw(t, s.token(t, forStorage), "2024-11-04")
	var entry audit.Entry
	l.adminDo(t, http.MethodGet, "requests/"+a.header.Get("x-ms-request-id"), nil, http.StatusOK, &entry)
	var why bytes.Buffer
	Explain(&why, entry)
	for _, part := range []string{"No role check refused", "allowed   reader (service principal", "Storage Blob Data Reader, assignment " + assignment, "blobs/read"} {
		if !strings.Contains(why.String(), part) {
			t.Errorf("it lacks %q:\n%s", part, why.String())
		}
	}
	var list struct{ Value []audit.Entry }
	l.adminDo(t, http.MethodGet, "decisions?last=1&all=true", nil, http.StatusOK, &list)
	if len(list.Value) != 1 || list.Value[0].Denied() {
		t.Errorf("decisions %+v", list)
	}
}
