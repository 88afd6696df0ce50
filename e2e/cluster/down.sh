#!/bin/bash
# Takes the cluster down. Nothing of it stays but the caches: no process, mount, namespace, link or cgroup.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Every process of the node is in the node's cgroups, also when up was killed before it wrote anything down.
node_processes() { find /sys/fs/cgroup -path "*/$NODE_NAME/*" -name cgroup.procs -exec cat {} + 2> /dev/null | sort -un; }

kill_processes() {
  local pids tries=0
  while pids=$(node_processes | grep -v '^0$') && [ -n "$pids" ]; do
    # A frozen process ignores even kill -9: thaw first.
    for f in /sys/fs/cgroup/freezer/$NODE_NAME/freezer.state; do [ ! -e "$f" ] || echo THAWED > "$f"; done
    # shellcheck disable=SC2086
    kill -9 $pids 2> /dev/null || true
    sleep 0.1
    ((++tries < 300)) || die "these processes of the node do not end: $pids"
  done
}

remove_cgroups() {
  local d tries=0
  # The kernel lets go of a dead process's cgroup a moment later.
  while d=$(find /sys/fs/cgroup -maxdepth 2 -type d -name $NODE_NAME) && [ -n "$d" ]; do
    # shellcheck disable=SC2086
    find $d -depth -type d -exec rmdir {} + 2> /dev/null || true
    ((++tries < 100)) || die "these cgroups do not go away: $d"
    sleep 0.05
  done
}

down_node() {
  kill_processes
  ip link del $NODE_VETH 2> /dev/null || true   # it went with the namespace, unless that was never wired
  remove_cgroups
  rm -rf --one-file-system "$NODE"
  rm -f "$LOCAL/kubeconfig" "$LOCAL/cluster.env"
}

down_kind() {
  ! command -v kind > /dev/null || ! kind get clusters 2> /dev/null | grep -qx payment-system || kind delete cluster --name payment-system
  rm -f "$LOCAL/kubeconfig" "$LOCAL/cluster.env"
}

[ -n "${PAYMENT_LOCKED:-}" ] || lock
[ "$(id -u)" != 0 ] || step "take the node down" down_node
! docker info > /dev/null 2>&1 || down_kind
