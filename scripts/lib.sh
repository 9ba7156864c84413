# Sourced by the other scripts: what they share. Bash 3.2 is enough.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
CACHE=$ROOT/.cache
mkdir -p "$CACHE"
export AMLOCAL_CACHE=${AMLOCAL_CACHE:-$CACHE/amlocal}

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# need_go: Go as new as go.mod asks, or the command that brings it.
need_go() {
	local want have
	command -v go >/dev/null || die "Go is missing. Install Go 1.26 or later: https://go.dev/doc/install"
	want=$(awk '$1 == "go" {print $2; exit}' go.mod)
	# go env reads go.mod too: an older go switches to the version asked for,
	# or fails here where it cannot fetch it.
	have=$(go env GOVERSION 2>/dev/null) || die "This module needs Go $want, and $(GOTOOLCHAIN=local go version) cannot fetch it. Install it: https://go.dev/doc/install"
	version_at_least "${have#go}" "$want" || die "This module needs Go $want; this is $have. Install it: https://go.dev/doc/install"
}

# version_at_least A B: whether A is B or later, by numbers between dots.
version_at_least() {
	local IFS=. i a b
	# shellcheck disable=SC2206
	a=(${1%%[!0-9.]*}) b=($2)
	for i in 0 1 2; do
		[ "${a[i]:-0}" -gt "${b[i]:-0}" ] && return 0
		[ "${a[i]:-0}" -lt "${b[i]:-0}" ] && return 1
	done
	return 0
}

# python_problem: empty if python3 can make environments, else what it lacks.
python_problem() {
	command -v python3 >/dev/null || { echo "python3 is missing"; return; }
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
		{ echo "python3 is older than 3.10"; return; }
	python3 -c 'import venv, ensurepip' 2>/dev/null || echo "python3 has no venv module"
}

# apt_install PACKAGE...: installs after saying so where that is possible: as
# root on a system with apt. Else says which command would.
apt_install() {
	if ! command -v apt-get >/dev/null; then
		say "To install it, use your system's package manager (Debian's names: $*)."
		return 1
	fi
	if [ "$(id -u)" != 0 ]; then
		say "To install it: sudo apt-get install $*"
		return 1
	fi
	say "Installing system packages: apt-get install $*"
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y -qq -o Acquire::Retries=5 --no-install-recommends "$@" >"$CACHE/apt.log" 2>&1 ||
		{ apt-get update -qq >"$CACHE/apt.log" 2>&1 && apt-get install -y -qq -o Acquire::Retries=5 --no-install-recommends "$@" >>"$CACHE/apt.log" 2>&1; } ||
		{ tail -3 "$CACHE/apt.log"; say "apt-get failed; its output is in .cache/apt.log"; return 1; }
}

# ensure_python: true if scoring scripts can run here, installing what lacks
# where that is possible.
ensure_python() {
	local problem
	problem=$(python_problem)
	[ -z "$problem" ] && return 0
	say "$problem: Python scoring scripts need Python 3.10 or later with venv."
	apt_install python3 python3-venv || return 1
	[ -z "$(python_problem)" ]
}

# build: bin/amlocal, and the Go scorer it looks for beside itself.
build() {
	local version stamp=auto
	# Where git refuses the folder (another user's), go build would fail too.
	version=$(git describe --tags --always --dirty 2>/dev/null) || { version=unknown stamp=false; }
	CGO_ENABLED=0 go build -buildvcs=$stamp -trimpath -ldflags "-s -w -X main.version=$version" -o bin/amlocal ./cmd/emulator
	CGO_ENABLED=0 go build -buildvcs=$stamp -trimpath -ldflags "-s -w" -o bin/goscorer ./scenarios/goscorer
}
