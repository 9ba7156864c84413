package gateway

import "time"

// Silent is silent.
var Silent = silent

// KeepConnections makes idle connections to instances last, however slow the
// machine: for tests that count them. Nothing may have been served yet.
func (s *Service) KeepConnections(d time.Duration) { s.direct.pool.keep = d }
