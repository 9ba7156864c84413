package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
)

// mismatch is Azure's word for a token whose owner has no role.
const mismatch = "AuthorizationPermissionMismatch"

// refuse takes the role away and shows what a new deployment meets then.
func (f *flow) refuse(ctx context.Context) error {
	err := f.out.step("remove the role on "+f.scenario.account, func() error {
		_, err := f.cloud.assignments.DeleteByID(ctx, f.assignment, nil)
		return err
	})
	if err != nil {
		return err
	}
	err = f.out.step("create deployment "+f.green+": must fail", func() error {
		err := f.deploy(ctx, f.green)
		if err == nil {
			return errors.New("it succeeded, without a role on the storage account")
		}
		code, message := serviceError(err)
		f.out.quote(code + ": " + scriptsOwn(message))
		if !strings.Contains(message, mismatch) {
			return fmt.Errorf("it failed for another reason: %w", err)
		}
		state, err := f.cloud.provisioningState(ctx, f.endpoint, f.green)
		if err == nil && state != ml.DeploymentProvisioningStateFailed {
			err = fmt.Errorf("its provisioning state is %s", state)
		}
		return err
	})
	if err != nil {
		return err
	}
	// blue read the blob when it started: what it holds it keeps.
	return f.scoreStep(ctx, "score "+f.blue+", which still answers", f.blue)
}

// scriptsOwn is the part of a deployment's error that the scoring script wrote:
// its traceback without the server's frames around it, or else the end.
func scriptsOwn(message string) string {
	const begins, caused = "Traceback (most recent call last):", "The above exception was the direct cause of the following exception:"
	if i := strings.LastIndex(message, caused); i >= 0 {
		message = message[:i]
	}
	if i := strings.LastIndex(message, begins); i >= 0 {
		message = message[i:]
	}
	lines := strings.Split(strings.TrimSpace(message), "\n")
	if len(lines) > 20 { // where it began and what it was; the SDK's frames between tell little
		lines = slices.Concat(lines[:8], []string{"  ..."}, lines[len(lines)-8:])
	}
	return strings.Join(lines, "\n")
}

// denial is the refusal the scenario provoked, and its nearest fix.
func (f *flow) denial(ctx context.Context) (azure.Fix, error) {
	entry, ok, err := f.lastDenial(ctx)
	if err != nil {
		return azure.Fix{}, err
	}
	if !ok {
		return azure.Fix{}, errors.New("nothing was refused")
	}
	if want := f.endpoint + "/" + f.green; entry.Instance != want {
		return azure.Fix{}, fmt.Errorf("the last refusal was of %q, not of %s", entry.Instance, want)
	}
	var why bytes.Buffer
	amlocal.Explain(&why, entry)
	f.out.quote(why.String())
	for _, d := range entry.Decisions {
		if d.Allowed {
			continue
		}
		if d.Principal.ObjectID != f.principal {
			return azure.Fix{}, fmt.Errorf("%s was refused, not the endpoint's identity", d.Principal.ObjectID)
		}
		if len(d.Fixes) > 0 {
			return d.Fixes[0], nil
		}
	}
	return azure.Fix{}, errors.New("it names no role that would do")
}

// mend applies what `why` proposes and deploys again.
func (f *flow) mend(ctx context.Context) error {
	var fix azure.Fix
	err := f.out.step("amlocal why", func() (err error) {
		fix, err = f.denial(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if err := f.grantStep(ctx, fix.Role, fix.Scope); err != nil {
		return err
	}
	err = f.out.step("delete deployment "+f.green, func() error { return f.cloud.deleteDeployment(ctx, f.endpoint, f.green) })
	if err != nil {
		return err
	}
	if err := f.out.step("create deployment "+f.green+" again", func() error { return f.deploy(ctx, f.green) }); err != nil {
		return err
	}
	if err := f.readLog(ctx, f.green); err != nil {
		return err
	}
	return f.scoreStep(ctx, "score "+f.green, f.green)
}

// cleanUp deletes what the scenario made and looks that it is gone.
func (f *flow) cleanUp(ctx context.Context) error {
	err := f.out.step("delete endpoint "+f.endpoint, func() error {
		if err := f.cloud.deleteEndpoint(ctx, f.endpoint); err != nil {
			return err
		}
		_, err := f.cloud.endpoints.Get(ctx, group, workspace, f.endpoint, nil)
		return gone(err)
	})
	if err != nil {
		return err
	}
	err = f.out.step("delete storage account "+f.scenario.account, func() error {
		_, err := f.cloud.accounts.Delete(ctx, group, f.scenario.account, nil)
		return err
	})
	if err != nil || f.identityID == "" {
		return err
	}
	return f.out.step("delete identity "+f.scenario.identity, func() error {
		if _, err := f.cloud.identities.Get(ctx, group, f.scenario.identity, nil); err != nil {
			return fmt.Errorf("it did not outlive its endpoint: %w", err)
		}
		if _, err := f.cloud.identities.Delete(ctx, group, f.scenario.identity, nil); err != nil {
			return err
		}
		_, err := f.cloud.identities.Get(ctx, group, f.scenario.identity, nil)
		return gone(err)
	})
}

// gone turns the answer to a GET after a deletion around.
func gone(err error) error {
	switch {
	case err == nil:
		return errors.New("it is still there")
	case notFound(err):
		return nil
	}
	return err
}
