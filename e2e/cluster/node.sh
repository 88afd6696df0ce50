#!/bin/bash
# One Kubernetes node, made by kubeadm, in a machine of its own (machine.sh). Without a container engine or a registry.
#   node.sh start BIN    makes it, unless a healthy one is up
#   node.sh import       takes in the images in the cache that it does not have yet
#   node.sh addons BIN   CoreDNS, metrics, volumes, resource definitions, images; waits until all is ready
#   node.sh enforce      NetworkPolicies, by a program of the tests: no network plugin runs here
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kube() { "$BIN/kubectl" --kubeconfig="$NODE/kubeconfig" --request-timeout=20s "$@"; }

healthy() {
  [ -e "$NODE/made" ] && "$NODE/in" test -e /run/node/up &&
    [ "$(timeout 5 "$BIN/kubectl" --kubeconfig="$NODE/kubeconfig" get --raw /readyz 2> /dev/null)" = ok ] &&
    timeout 5 "$BIN/kubectl" --kubeconfig="$NODE/kubeconfig" get node $NODE_NAME 2> /dev/null | grep -qw Ready
}

fill_in() {
  sed "s#\bNODE_NAME\b#$NODE_NAME#; s#\bNODE_IP\b#$NODE_IP#; s#\bNODE_HOST\b#$NODE_HOST#; s#\bK8S_VERSION\b#$K8S_VERSION#
    s#\bPOD_SUBNET\b#$POD_SUBNET#; s#\bSERVICE_SUBNET\b#$SERVICE_SUBNET#; s#\bNODE_POD_CIDR\b#$NODE_POD_CIDR#
    s#\bCOREDNS_VERSION\b#$COREDNS_VERSION#; s#\bETCD_TAG\b#${ETCD_VERSION#v}-0#; s#\bPAUSE_VERSION\b#$PAUSE_VERSION#" "$HERE/node/$1"
}

# on_node LOG COMMAND...: a daemon on the node, a child of the machine's init, that outlives this script.
# Its process id there is kept beside its log.
on_node() {
  local log=$1
  shift
  "$NODE/in" bash -c 'log=$1; shift; setsid "$@" > "/run/node/$log" 2>&1 < /dev/null & echo $! > "/run/node/$log.pid"' - "$log" "$@" 9>&-
}

start_containerd() {
  local tries=0
  fill_in containerd.toml > "$NODE/containerd.toml"
  on_node containerd.log containerd -c /run/node/containerd.toml
  until "$NODE/in" ctr version > /dev/null 2>&1; do
    ((++tries < 150)) || die "containerd does not answer: $(tail -n 5 "$NODE/containerd.log")"
    sleep 0.1
  done
}

import_one() {   # REFERENCE ARCHIVE
  local mark
  mark=$NODE/imported/$(basename "$2")
  [ ! -e "$mark" ] || return 0
  "$NODE/in" ctr -n k8s.io images import - < "$2" > /dev/null
  "$NODE/in" ctr -n k8s.io images label "$1" io.cri-containerd.pinned=pinned > /dev/null
  touch "$mark"
}

import_images() {   # LIST...
  local l
  for l in "$@"; do
    [ ! -e "$CACHE/images/$l.list" ] || cat "$CACHE/images/$l.list"
  done | xargs -r -L 1 -P 2 bash "$HERE/node.sh" import-one
}

# The kubelet waits for the files that kubeadm writes for it; kubeadm then waits for the kubelet.
start_kubelet() {
  on_node kubelet.log bash -c 'until [ -f /var/lib/kubelet/config.yaml ] && [ -f /etc/kubernetes/kubelet.conf ]; do sleep 0.1; done
    exec /run/bin/kubelet --config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \
      --container-runtime-endpoint=unix:///run/containerd/containerd.sock --node-ip="$1" --hostname-override="$2"' - $NODE_IP $NODE_NAME
}

kubeadm_init() {
  cp "$HERE/node/audit-policy.yaml" "$NODE/audit/policy.yaml"
  fill_in kubeadm.yaml > "$NODE/kubeadm.yaml"
  fill_in cni.json > "$NODE/pods.conflist"
  "$NODE/in" cp /run/node/pods.conflist /etc/cni/net.d/10-pods.conflist
  start_kubelet
  # Preflight would look for systemd, swap, free ports on a whole computer.
  timeout 240 "$NODE/in" env PATH="/run/bin:$PATH" kubeadm init --config /run/node/kubeadm.yaml \
    --skip-phases=preflight,mark-control-plane,addon/coredns --ignore-preflight-errors=all < /dev/null ||
    { tail -n 15 "$NODE/kubelet.log"; return 1; }
  "$NODE/in" cat /etc/kubernetes/admin.conf | sed "s#https://$NODE_IP:#https://$NODE_HOST:#" | write "$NODE/kubeconfig"
  chmod 600 "$NODE/kubeconfig"
  # CoreDNS after its configuration, which kubeadm keeps: with kubeadm's own it would crash first.
  kube apply --server-side -f "$HERE/node/coredns.yaml"
  "$NODE/in" /run/bin/kubeadm init phase addon coredns --config /run/node/kubeadm.yaml
  kube -n kube-system scale deployment/coredns --replicas=1
}

start() {
  if healthy; then
    say "the node is up"
    return
  fi
  # Absent, half made or broken: start from nothing.
  PAYMENT_LOCKED=1 bash "$HERE/down.sh"
  step "make the machine" bash "$HERE/machine.sh" start "$BIN"
  step "start containerd" start_containerd
  step "import the control plane's images" import_images node
  step "kubeadm init" kubeadm_init
  touch "$NODE/made"
}

explain() {
  say "not ready: $*"
  kube get "$@" -o wide || true
  kube describe "$@" | tail -n 30 || true
  kube get pods -A --field-selector=status.phase!=Running,status.phase!=Succeeded -o wide || true
  kube get events -A --sort-by=.lastTimestamp | tail -n 15
}

apply_manifests() {
  kube apply --server-side --force-conflicts -f "$HERE/manifests/" -f "$1"
}

wait_for() {
  local what=$1
  shift
  kube wait --request-timeout=0 --timeout=120s --for="condition=$what" "$@" || { explain "$@"; return 1; }
}

take_in_images() { step "import changed images" import_images stores product; }

addons() {
  local crds mark
  crds=$(bash "$HERE/crds.sh" | tail -n 1)
  mark=$NODE/addons-$(hash_of "$crds" "$HERE"/manifests/*)
  [ ! -e "$mark" ] || { take_in_images; return; }
  step "apply add-ons and resource definitions" apply_manifests "$crds"
  take_in_images   # while metrics-server collects its first two samples
  step "wait for the node" wait_for Ready node/$NODE_NAME
  step "wait for CoreDNS" wait_for Available -n kube-system deployment/coredns
  step "wait for the volume provisioner" wait_for Available -n local-path-storage deployment/local-path-provisioner
  step "wait for metrics-server" wait_for Available -n kube-system deployment/metrics-server
  touch "$mark"
}

build_enforcer() { cd "$PROJECT" && cargo build --quiet --locked -p e2e --bin policy-enforcer; }

enforcer_runs() { "$NODE/in" grep -qsx policy-enforcer "/proc/$(cat "$NODE/policies.log.pid" 2> /dev/null)/comm"; }

# Rules stay in the kernel while one enforcer follows another.
start_enforcer() {   # PROGRAM
  local tries=0
  ! enforcer_runs || "$NODE/in" kill "$(cat "$NODE/policies.log.pid")"
  install -D "$1" "$2/policy-enforcer"
  rm -f "$NODE/policies.log"
  on_node policies.log "/run/node/$(basename "$2")/policy-enforcer" --kubeconfig /run/node/kubeconfig
  until "$NODE/in" grep -qs '^enforcing' /run/node/policies.log; do
    ((++tries < 150)) || die "policies are not enforced: $(tail -n 5 "$NODE/policies.log")"
    sleep 0.1
  done
}

enforce() {
  local program place
  program=${CARGO_TARGET_DIR:-$PROJECT/target}/debug/policy-enforcer
  step "build the policy enforcer" build_enforcer
  place=$NODE/enforcer-$(hash_of "$program")
  if [ -e "$place" ] && enforcer_runs; then return; fi
  step "enforce NetworkPolicies" start_enforcer "$program" "$place"
}

BIN=${2:-}
case ${1:-} in
  start) start ;;
  import) take_in_images ;;
  import-one) import_one "$2" "$3" ;;
  addons) addons ;;
  enforce) enforce ;;
  *) die "usage: node.sh start BIN | import | addons BIN | enforce" ;;
esac
