// Package conda translates a conda environment file into requirements for pip,
// for back ends that have no conda.
//
// What is translated: names (with a rename table), version constraints (conda's
// single "=" is a prefix match, so numpy=1.26 becomes numpy==1.26.*), the pip
// section, the Python version. What has no Python package (openjdk, r-base,
// CUDA) is refused, because a deployment that came up without it would be a
// false success. Every change is listed in Notes for the deployment's log.
//
// Source of the grammar: conda's documentation of environment files and of
// package match specifications. Channels, platforms and build strings have no
// counterpart and are noted.
package conda
