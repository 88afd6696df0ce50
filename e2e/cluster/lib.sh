# Settings and small helpers that every script here sources.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
umask 022

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PROJECT=$(cd "$HERE/../.." && pwd)
IMAGES_DIR=$PROJECT/images
LOCAL=$PROJECT/.local
CACHE=${PAYMENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/payment-system}

K8S_VERSION=v1.34.4
ETCD_VERSION=v3.6.4
COREDNS_VERSION=v1.12.4
METRICS_SERVER_VERSION=v0.9.0
LOCAL_PATH_VERSION=v0.0.30
PROMETHEUS_OPERATOR_VERSION=v0.85.0
GATEWAY_API_VERSION=v1.7.0
PAUSE_VERSION=3.10.1

# The local node. One per computer: its name is its cgroup's name, by which all its processes are found again.
NODE_NAME=payment-node
NODE_VETH=payment0                # the host's end of the wire
NODE_HOST_SIDE=10.198.0.1
NODE_HOST=10.198.0.2              # where the host reaches the API server and the NodePorts
NODE_IP=10.199.0.1                # the node's address in its own network
NODE=$CACHE/node                  # the running node's files
POD_SUBNET=10.42.0.0/16
NODE_POD_CIDR=10.42.0.0/24
SERVICE_SUBNET=10.43.0.0/16

export PAYMENT_BEGAN=${PAYMENT_BEGAN:-$(date +%s)}   # the scripts that one calls count from its start
say() { printf '[%4ds] %s\n' "$(($(date +%s) - PAYMENT_BEGAN))" "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# step NAME COMMAND...: says what runs and for how long; a long one reports every 20 seconds.
# Its output goes to a log, which is shown when it fails.
step() {
  local name=$1 log began=$SECONDS ticker rc=0
  shift
  mkdir -p "$CACHE/log"
  log=$CACHE/log/$(tr -cs 'a-zA-Z0-9.\n' - <<< "$name").log
  say "$name ..."
  # The ticker may outlive a killed script by one tick, never longer.
  (while sleep 20 && kill -0 $$ 2>/dev/null; do say "  still at it: $name ($((SECONDS - began))s)"; done) 9>&- &
  ticker=$!
  # In a subshell and not before `||`: there bash would go on after a failed command inside a function.
  set +e
  (set -e; "$@") > "$log" 2>&1
  rc=$?
  set -e
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  if ((rc)); then
    tail -n 25 "$log" >&2
    die "$name failed after $((SECONDS - began))s (all of it: $log)"
  fi
  say "$name: done in $((SECONDS - began))s"
}

# hash_of FILE|TEXT...: twelve digits that change when any of the files' contents or the texts do.
hash_of() {
  local x
  for x in "$@"; do
    if [ -f "$x" ]; then sha256sum < "$x"; else printf '%s\n' "$x"; fi
  done | sha256sum | cut -c1-12
}

# Everything cached is made under a temporary name and then moved: what exists is complete.
temp_beside() { mkdir -p "$(dirname "$1")"; mktemp -d "$(dirname "$1")/.tmp.XXXXXX"; }

# keep_newest N GLOB...: deletes all but the N newest.
keep_newest() {
  local n=$1
  shift
  # shellcheck disable=SC2012  # names are ours: no blanks, no newlines
  ls -dt "$@" 2>/dev/null | tail -n "+$((n + 1))" | xargs -r rm -rf
}

# write FILE: standard input to FILE in one move.
write() { mkdir -p "$(dirname "$1")"; cat > "$1.tmp.$$"; mv "$1.tmp.$$" "$1"; }

need_root() { [ "$(id -u)" = 0 ] || die "the local node needs root (namespaces, mounts, a network link)"; }

# One of up, down at a time. Background processes close descriptor 9, or they would hold the lock for ever.
lock() {
  mkdir -p "$CACHE"
  exec 9> "$CACHE/lock"
  flock -w 900 9 || die "another up or down is still running (it holds $CACHE/lock)"
}
