# Read by env.sh and host.sh. shellcheck shell=bash
cache="${XDG_CACHE_HOME:-$HOME/.cache}/qhs"

# One set-up at a time: two would take away each other's folders, and apt does not queue for its lists.
take_turn() {
  local lock="$cache/setup.lock"
  mkdir -p "$cache"
  exec 9>>"$lock"
  if ! flock -n 9; then
    echo "$1: waiting for pid $(cat "$lock"), which is setting this host up"
    flock 9
  fi
  echo $$ >"$lock"
}

# Stale lists may still do; where they do not, the installation says what it lacks.
apt_install() {
  local apt=(apt-get -qq -o DPkg::Lock::Timeout=120)
  "${apt[@]}" update || echo "apt-get update failed; going on with the lists that are there" >&2
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
}
