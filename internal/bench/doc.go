// Command bench measures what a user waits for and pays: how long `up` with
// warm state takes to its first answer, what an idle emulator holds in memory,
// how long deployments take from
// their PUT to their first score, how long a scenario takes; and it gathers the packages' own benchmarks. It
// writes docs/performance.md. Nothing here is asserted in a test: the figures
// belong to a machine, which the document names.
package main
