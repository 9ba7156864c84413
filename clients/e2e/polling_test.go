package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/covers"
)

// polling watches how each client asks after its operations, for
// docs/clients.md. Nothing fails by it: times depend on the machine.
type polling struct {
	stop chan struct{}
	done sync.WaitGroup
	seen map[string]audit.Entry // by request id
}

// pollEvery is often enough that the emulator's memory of requests does not
// run over.
const pollEvery = 500 * time.Millisecond

func watchPolling(e *amlocal.Emulator) *polling {
	p := &polling{stop: make(chan struct{}), seen: map[string]audit.Entry{}}
	p.done.Go(func() {
		for tick := time.NewTicker(pollEvery); ; {
			select {
			case <-p.stop:
				tick.Stop()
				p.take(e)
				return
			case <-tick.C:
				p.take(e)
			}
		}
	})
	return p
}

func (p *polling) take(e *amlocal.Emulator) {
	for _, entry := range e.Requests(2000) {
		if strings.HasPrefix(entry.Operation, "arm.GetOperation") {
			p.seen[entry.RequestID] = entry
		}
	}
}

// record ends the watch and notes, for each client, what it saw.
func (p *polling) record() error {
	if p == nil { // the emulator did not start
		return nil
	}
	close(p.stop)
	p.done.Wait()
	byOperation := map[string][]audit.Entry{}
	for _, entry := range p.seen {
		byOperation[entry.Path] = append(byOperation[entry.Path], entry)
	}
	questions, longest := map[string]int{}, map[string]time.Duration{}
	for _, list := range byOperation {
		slices.SortFunc(list, func(a, b audit.Entry) int { return a.Time.Compare(b.Time) })
		client := clientOf(list[0].Agent)
		questions[client] += len(list)
		for i := 1; i < len(list); i++ {
			answered := list[i-1].Time.Add(list[i-1].Duration)
			longest[client] = max(longest[client], list[i].Time.Sub(answered))
		}
	}
	for _, client := range slices.Sorted(maps.Keys(questions)) {
		value := fmt.Sprintf("%d questions, longest wait %.1f s", questions[client], longest[client].Seconds())
		if client == "" {
			continue
		}
		if err := covers.About(client, "polling", value); err != nil {
			return err
		}
	}
	return nil
}

// clientOf names the client of a User-Agent as the tests do.
func clientOf(agent string) string {
	for _, known := range []struct{ part, name string }{
		{"AZURECLI/", azureCLI}, {"azsdk-js", azureJS}, {"azsdk-java", azureJava}, {"curl/", "curl"}, {"azsdk-go", "azure-sdk-for-go"},
		{"azure-ai-ml", azureAIML}, {"azsdk-python", azureAIML},
	} {
		if strings.Contains(agent, known.part) {
			return known.name
		}
	}
	return ""
}

// recordVersions notes what the clients' own files pin.
func recordVersions() error {
	for _, c := range []struct{ client, file, before string }{
		{azureAIML, "python/requirements.txt", "azure-ai-ml=="},
		{azureCLI, "az/requirements.txt", "azure-cli=="},
		{"azure-identity (Python)", "python/requirements.txt", "azure-identity=="},
		{azureJS, "js/package.json", `"@azure/arm-machinelearning": "`},
		{azureJava, "java/pom.xml", "<artifactId>azure-identity</artifactId><version>"},
	} {
		raw, err := os.ReadFile(script(c.file, ""))
		if err != nil {
			return err
		}
		_, rest, ok := strings.Cut(string(raw), c.before)
		if !ok {
			return fmt.Errorf("%s does not pin %s", c.file, c.before)
		}
		version := rest[:strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune("0123456789.abrc", r) })]
		name := strings.Trim(strings.TrimSuffix(strings.TrimPrefix(c.before, "<artifactId>"), "</artifactId><version>"), `":= `)
		if err := covers.About(c.client, "version", name+" "+version); err != nil {
			return err
		}
	}
	return nil
}
