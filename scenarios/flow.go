package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
)

// The names the how-to's shell variables hold.
const (
	containerName = "hello-world-container"
	fileName      = "hello.txt"
)

// flow is one scenario under way: what the how-to keeps in shell variables.
type flow struct {
	*session
	scenario    Scenario
	scorer      string // python or go
	variant     string
	blue, green string // the deployments' names

	endpoint    string
	principal   string // object id of the endpoint's identity
	identityID  string // ARM id of the user-assigned identity
	clientID    string // its client id
	accountID   string
	accountBlob string // the account's blob endpoint
	assignment  string // of the role on the account
	registry    string // ARM id of the workspace's registry
	wsStorage   string // ARM id of the workspace's storage account
	text        string // what hello.txt says
}

// play is the whole scenario.
func (f *flow) play(ctx context.Context) error {
	for _, part := range []func(context.Context) error{f.prepare, f.permit, f.serve, f.refuse, f.mend, f.cleanUp} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// file is a file of the scenario's own folder.
func (f *flow) file(name string) string {
	return filepath.Join(f.files, filepath.FromSlash(contentRoot), "managed", "managed-identities", name)
}

// prepare makes what the deployment needs: identity, storage, endpoint.
func (f *flow) prepare(ctx context.Context) error {
	if f.scenario.identity != "" {
		err := f.out.step("create user-assigned identity "+f.scenario.identity, func() error {
			made, err := f.cloud.identities.CreateOrUpdate(ctx, group, f.scenario.identity, armmsi.Identity{Location: to.Ptr(location)}, nil)
			if err != nil {
				return err
			}
			f.identityID, f.clientID = *made.ID, *made.Properties.ClientID
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := f.prepareStorage(ctx); err != nil {
		return err
	}
	var set []string
	if f.identityID != "" {
		set = append(set, "identity.user_assigned_identities[0].resource_id="+f.identityID)
	}
	definition, err := loadEndpoint(f.file(f.scenario.endpointFile), set...)
	if err != nil {
		return err
	}
	f.endpoint = definition.Name
	return f.out.step("create endpoint "+f.endpoint, func() error {
		made, err := f.cloud.createEndpoint(ctx, definition)
		if err != nil {
			return err
		}
		f.principal, err = f.principalOf(made)
		return err
	})
}

func (f *flow) prepareStorage(ctx context.Context) error {
	account := f.scenario.account
	err := f.out.step("create storage account "+account, func() (err error) {
		f.accountID, f.accountBlob, err = f.cloud.createAccount(ctx, account)
		return err
	})
	if err != nil {
		return err
	}
	return f.out.step("create container "+containerName+" and upload "+fileName, func() error {
		raw, err := os.ReadFile(f.file(fileName))
		if err != nil {
			return err
		}
		f.text = strings.TrimSpace(string(raw))
		if _, err := f.cloud.containers.Create(ctx, group, account, containerName, armstorage.BlobContainer{}, nil); err != nil {
			return err
		}
		return f.cloud.upload(ctx, account, f.accountBlob, containerName, fileName, raw)
	})
}

// principalOf reads the identity a new endpoint has, as one reads
// identity.principal_id from `az ml online-endpoint show`.
func (f *flow) principalOf(e *ml.OnlineEndpoint) (string, error) {
	if f.identityID == "" {
		if e.Identity == nil || e.Identity.PrincipalID == nil {
			return "", errors.New("the endpoint has no system-assigned identity")
		}
		return *e.Identity.PrincipalID, nil
	}
	for id, u := range e.Identity.UserAssignedIdentities {
		if strings.EqualFold(id, f.identityID) && u.PrincipalID != nil {
			return *u.PrincipalID, nil
		}
	}
	return "", errors.New("the endpoint does not have the user-assigned identity")
}

// permit gives the identity its roles.
func (f *flow) permit(ctx context.Context) error {
	if err := f.permitPlatform(ctx); err != nil {
		return err
	}
	if err := f.grantStep(ctx, blobReader, f.accountID); err != nil {
		return err
	}
	return f.out.step("read the identity's roles", func() error {
		roles, err := f.cloud.held(ctx, f.principal)
		if err == nil && len(roles) == 0 {
			err = errors.New("it has none")
		}
		f.out.quote(strings.Join(roles, "\n"))
		return err
	})
}

// permitPlatform gives the roles with which image, model and code are fetched;
// a system-assigned identity has them already.
func (f *flow) permitPlatform(ctx context.Context) error {
	ws, err := f.cloud.workspaces.Get(ctx, group, workspace, nil)
	if err != nil {
		return err
	}
	f.registry, f.wsStorage = *ws.Properties.ContainerRegistry, *ws.Properties.StorageAccount
	if f.identityID == "" {
		return nil
	}
	if err := f.grantStep(ctx, "AcrPull", f.registry); err != nil {
		return err
	}
	return f.grantStep(ctx, blobReader, f.wsStorage)
}

func (f *flow) grantStep(ctx context.Context, role, scope string) error {
	return f.out.step("assign "+role+" on "+scope[strings.LastIndexByte(scope, '/')+1:], func() (err error) {
		f.assignment, err = f.cloud.grant(ctx, f.principal, role, scope)
		return err
	})
}

// definition is the deployment's, with the placeholders filled in.
func (f *flow) definition(name string, more ...string) (*deploymentFile, error) {
	set := []string{
		"name=" + name,
		"environment_variables.STORAGE_ACCOUNT_NAME=" + f.scenario.account,
		"environment_variables.STORAGE_CONTAINER_NAME=" + containerName,
		"environment_variables.FILE_NAME=" + fileName,
	}
	if f.clientID != "" {
		set = append(set, "environment_variables.UAI_CLIENT_ID="+f.clientID)
	}
	file := f.scenario.deploymentFile
	if f.scorer == "go" {
		file = "2-go-deployment.yml"
	} else {
		set = append(set, "code_configuration.scoring_script="+scripts[f.variant])
	}
	return loadDeployment(f.file(file), append(set, more...)...)
}

// deploy creates a deployment; the state it ends in is checked with the error.
func (f *flow) deploy(ctx context.Context, name string) error {
	d, err := f.definition(name)
	if err != nil {
		return err
	}
	made, err := f.cloud.deploy(ctx, f.endpoint, d)
	if err != nil {
		return err
	}
	if state := *made.Properties.GetOnlineDeploymentProperties().ProvisioningState; state != ml.DeploymentProvisioningStateSucceeded {
		return fmt.Errorf("its provisioning state is %s", state)
	}
	return nil
}

// serve is the documented flow's end: deployment, traffic, log, score.
func (f *flow) serve(ctx context.Context) error {
	if err := f.out.step("create deployment "+f.blue, func() error { return f.deploy(ctx, f.blue) }); err != nil {
		return err
	}
	if err := f.out.step("send all traffic to "+f.blue, func() error { return f.cloud.allTraffic(ctx, f.endpoint, f.blue) }); err != nil {
		return err
	}
	if err := f.readLog(ctx, f.blue); err != nil {
		return err
	}
	return f.scoreStep(ctx, "score", "")
}

// logPatience is how often a log is read again until it is whole.
const logPatience = 50

// readLog shows what a deployment's own code wrote and checks that it read the
// blob.
func (f *flow) readLog(ctx context.Context, deployment string) error {
	return f.out.step("read the log of "+deployment, func() error {
		// What a container writes comes by another way than its readiness.
		log, err := f.cloud.logs(ctx, f.endpoint, deployment, "")
		for again := logPatience; err == nil && !strings.Contains(log, "Init complete") && again > 0; again-- {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
			log, err = f.cloud.logs(ctx, f.endpoint, deployment, "")
		}
		if err != nil {
			return err
		}
		var told []string
		for _, line := range strings.Split(log, "\n") {
			for _, word := range []string{"Token acquired", "Reading blob", "Blob contains: ", "Model loaded", "Init complete"} {
				if strings.Contains(line, word) {
					told = append(told, line)
					break
				}
			}
		}
		if !strings.Contains(log, "Blob contains: "+f.text) {
			f.out.quote(lastLines(log, 20))
			return errors.New("the blob's text is not in it")
		}
		f.out.quote(strings.Join(told, "\n"))
		return nil
	})
}

func (f *flow) scoreStep(ctx context.Context, title, deployment string) error {
	return f.out.step(title, func() error {
		request, err := os.ReadFile(filepath.Join(f.files, filepath.FromSlash(contentRoot), "model-1", "sample-request.json"))
		if err != nil {
			return err
		}
		status, answer, err := f.cloud.score(ctx, f.endpoint, deployment, request)
		if err != nil {
			return err
		}
		f.out.quote(answer)
		var predictions []float64
		if err := json.Unmarshal([]byte(answer), &predictions); status != 200 || err != nil || len(predictions) != 2 {
			return fmt.Errorf("status %d, and not two predictions", status)
		}
		return nil
	})
}
