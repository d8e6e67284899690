# Sourced by the suites that install what they need.
# get WHAT COMMAND…   runs a command that installs something. Where that cannot be had, the suite ends with 77, which
# .ci/run tells loudly and does not count as a fault of the tree; by itself the suite has failed.
get() {
  local what=$1
  shift
  "$@" || {
    printf 'cannot be had on this machine: %s\n' "$what" >&2
    exit 77
  }
}

# get_packages COMMAND:PACKAGE…   installs the Debian packages whose command is missing.
get_packages() {
  local missing=() pair
  for pair in "$@"; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  get "${missing[*]} (only root can install)" test "$(id -u)" = 0
  get "${missing[*]}" apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive get "${missing[*]}" apt-get install -qy --no-install-recommends "${missing[@]}" >/dev/null
}
