// Package archtest holds the rules of this repository that a compiler does not
// check, as tests: which package may import which (levels.go), where the time
// of day may be read, no init functions, a comment for each package, no file
// that has grown past reading, and the committed list of modules in the binary.
//
// The rules read source text with go/parser only, so they run in milliseconds
// and hold for every build tag.
package archtest
