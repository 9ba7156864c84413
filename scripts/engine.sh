# Sourced after lib.sh by the scripts that fill a container engine.

# need_engine: a docker command whose engine answers and runs Linux; sets
# ENGINE_ARCH.
need_engine() {
	command -v docker >/dev/null || die "The docker command is missing. Debian: apt-get install docker.io; others: https://docs.docker.com/engine/install/"
	local answer
	answer=$(docker version --format '{{.Server.Os}} {{.Server.Arch}}' 2>&1) ||
		die "No container engine answers: $(printf '%s' "$answer" | tail -1)"
	answer=$(printf '%s' "$answer" | tail -1) # above it may stand warnings
	[ "${answer%% *}" = linux ] || die "The engine runs ${answer%% *} containers; Linux ones are needed."
	ENGINE_ARCH=${answer##* }
}
