package archtest

import "strings"

// Module is the import path all packages begin with.
const Module = "github.com/amlocal/amlocal"

// levels gives each package, by its path in the module, the level it stands on.
// A package may import lower levels only; a parent may also import its own
// subfolders. A subfolder that is not listed stands where its parent does.
//
// Packages to come are listed too: where one belongs is decided before it is
// written.
var levels = map[string]int{
	"azure":             0,
	"internal/clock":    0,
	"internal/seal":     0,
	"internal/sabotage": 0,

	"store":            1,
	"internal/express": 1,
	"internal/fault":   1,

	"internal/audit": 2,
	"rbac":           2,
	"runner":         2,

	"internal/httpx": 3,

	"arm": 4,

	"acr":                   5,
	"arm/authorization":     5,
	"arm/containerregistry": 5,
	"arm/keyvault":          5,
	"arm/kubernetes":        5,
	"arm/machinelearning":   5,
	"arm/managedidentity":   5,
	"arm/monitor":           5,
	"arm/resources":         5,
	"arm/storage":           5,
	"blobfake":              5,
	"dashboard":             5,
	"entra":                 5,
	"gateway":               5,
	"intercept":             5,
	"msi":                   5,
	"runner/docker":         5,
	"runner/kube":           5,
	"runner/process":        5,
	"vault":                 5,

	".": 6,

	"amlocaltest": 7,
	"scenarios":   7,
	"tcamlocal":   7,

	"cmd": 8,

	// Programs and helpers of the tests: nothing that ships imports them.
	"arm/armtest":       testOnly,
	"clients":           testOnly,
	"e2e":               testOnly,
	"internal/archtest": testOnly,
	"internal/bench":    testOnly,
	"internal/covers":   testOnly,
	"runner/runnertest": testOnly,
	"store/storetest":   testOnly,
}

// testOnly is the level of what only tests may import.
const testOnly = 9

// levelOf finds the level of a package by its longest listed prefix.
func levelOf(pkg string) (int, bool) {
	for path := pkg; ; {
		if level, ok := levels[path]; ok {
			return level, true
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return 0, false
		}
		path = path[:i]
	}
}

// mayImport decides one edge and, where it is refused, says why.
func mayImport(from, to string) (bool, string) {
	lf, ok := levelOf(from)
	if !ok {
		return false, from + " has no level: give it one in internal/archtest/levels.go"
	}
	lt, ok := levelOf(to)
	switch {
	case !ok:
		return false, to + " has no level: give it one in internal/archtest/levels.go"
	case lt < lf:
		return true, ""
	case strings.HasPrefix(to, from+"/") && lt == lf:
		return true, ""
	case lf == testOnly && strings.HasPrefix(from, to+"/"):
		return true, ""
	case lt == testOnly:
		return false, "only tests may import it"
	case lt == lf:
		return false, "both stand on one level: the consumer declares the interface it needs"
	default:
		return false, "it stands on a higher level"
	}
}
