// Package crash holds the crash matrix: deployments that cannot work, each on
// every back end, checked for what their owner is told. See crash_test.go.
package crash
