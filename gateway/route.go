package gateway

import (
	"strings"

	"github.com/amlocal/amlocal/internal/httpx"
)

// choose finds the deployment for a request: the one it names, whatever its
// traffic, else one drawn by weight. Names are compared without regard to case
// since clients lower-case the keys of the traffic map.
func (s *Service) choose(e Endpoint, named string) (Deployment, *httpx.Error) {
	if named = strings.TrimSpace(named); named != "" {
		for _, d := range e.Deployments {
			if strings.EqualFold(d.Name, named) {
				return d, nil
			}
		}
		return Deployment{}, errUnknownDeployment()
	}
	weights := make([]int, len(e.Deployments))
	total := 0
	for i, d := range e.Deployments {
		for name, percent := range e.Traffic {
			if percent > 0 && strings.EqualFold(name, d.Name) {
				weights[i] = percent
				total += percent
				break
			}
		}
	}
	if total == 0 {
		return Deployment{}, errNoRoute()
	}
	drawn := s.deps.Pick(total)
	for i, weight := range weights {
		if drawn < weight {
			return e.Deployments[i], nil
		}
		drawn -= weight
	}
	return Deployment{}, errNoRoute()
}
