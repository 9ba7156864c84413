package gateway

import (
	"net/http"

	"github.com/amlocal/amlocal/internal/httpx"
)

// scoreAction is an action, not a data action, although it guards the data
// plane.
const scoreAction = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"

// Operations are the rows: one for each auth mode (Key, AMLToken, AADToken),
// since they differ in what RBAC is asked. None has a method or pattern: any
// method and path is passed to the deployment.
func (s *Service) Operations() []httpx.Operation {
	return []httpx.Operation{
		{Name: "gateway.ScoreWithKey", MaxBody: -1, Handler: s.score},
		{Name: "gateway.ScoreWithAMLToken", MaxBody: -1, Handler: s.score},
		{
			Name: "gateway.ScoreWithAADToken", MaxBody: -1, Handler: s.score,
			Action: scoreAction,
			Scope:  func(r *http.Request) string { return callOf(r.Context()).endpoint.ID },
		},
	}
}
