package scenarios

import (
	"context"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// requestFile are a deployment's request settings, in milliseconds.
type requestFile struct {
	Timeout       int64 `yaml:"request_timeout_ms"`
	MaxConcurrent int32 `yaml:"max_concurrent_requests_per_instance"`
	MaxQueueWait  int64 `yaml:"max_queue_wait_ms"`
}

// wire is nil where nothing is set: the service has defaults.
func (r *requestFile) wire() *ml.OnlineRequestSettings {
	if r == nil {
		return nil
	}
	out := &ml.OnlineRequestSettings{RequestTimeout: wireDuration(r.Timeout), MaxQueueWait: wireDuration(r.MaxQueueWait)}
	if r.MaxConcurrent != 0 {
		out.MaxConcurrentRequestsPerInstance = &r.MaxConcurrent
	}
	return out
}

// probeFile are a probe's settings, in seconds and counts.
type probeFile struct {
	InitialDelay     int64 `yaml:"initial_delay"`
	Period           int64 `yaml:"period"`
	Timeout          int64 `yaml:"timeout"`
	SuccessThreshold int32 `yaml:"success_threshold"`
	FailureThreshold int32 `yaml:"failure_threshold"`
}

func (p *probeFile) wire() *ml.ProbeSettings {
	if p == nil {
		return nil
	}
	out := &ml.ProbeSettings{InitialDelay: wireDuration(p.InitialDelay * 1000), Period: wireDuration(p.Period * 1000), Timeout: wireDuration(p.Timeout * 1000)}
	if p.SuccessThreshold != 0 {
		out.SuccessThreshold = &p.SuccessThreshold
	}
	if p.FailureThreshold != 0 {
		out.FailureThreshold = &p.FailureThreshold
	}
	return out
}

// wireDuration is a number of milliseconds as the service reads it; nil for none.
func wireDuration(n int64) *string {
	if n == 0 {
		return nil
	}
	return to.Ptr("PT" + strconv.FormatFloat(float64(n)/1000, 'f', -1, 64) + "S")
}

// buildFile is an environment's build context.
type buildFile struct {
	Path       string `yaml:"path"`
	Dockerfile string `yaml:"dockerfile_path"`
}

// uploadContext brings a build context to the default datastore, as a model.
func (c *cloud) uploadContext(ctx context.Context, dir string, b *buildFile) (_ *ml.BuildContext, hash string, err error) {
	f, err := readFolder(dir)
	if err != nil {
		return nil, "", err
	}
	signedURL, err := c.datastoreURL(ctx)
	if err != nil {
		return nil, "", err
	}
	prefix := "LocalUpload/" + f.hash + "/" + f.name
	if err := c.uploadTo(ctx, signedURL, prefix, f, f.hash, "1"); err != nil {
		return nil, "", err
	}
	out := &ml.BuildContext{ContextURI: to.Ptr(datastorePath(prefix) + "/")}
	if b.Dockerfile != "" {
		out.DockerfilePath = &b.Dockerfile
	}
	return out, f.hash, nil
}
