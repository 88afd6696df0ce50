#!/bin/bash
# Brings up a cluster with everything the payment system's manifests need. Safe to run again, also after it was killed.
#   up.sh [node|kind|current]   (or CLUSTER=...)
# node     one kubeadm node on this computer, without a container engine: the default when none is running
# kind     a kind cluster: the default when Docker is running
# current  the cluster of the current kubeconfig; images must be in a registry it reaches (IMAGE_REGISTRY)
# PRODUCT_IMAGES=no leaves our own images out. Results: .local/kubeconfig, .local/cluster.env, .local/images.env.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CLUSTER=${1:-${CLUSTER:-}}
[ -n "$CLUSTER" ] || if docker info > /dev/null 2>&1; then CLUSTER=kind; else CLUSTER=node; fi

run() { bash "$HERE/$1.sh" "${@:2}"; }

up_node() {
  local bin
  need_root
  run packages
  run binaries
  bin=$(run binaries | tail -n 1)
  run crds > /dev/null
  run images node "$bin"
  run images stores
  run node start "$bin"
  run node addons "$bin"
  write "$LOCAL/kubeconfig" < "$NODE/kubeconfig"
  chmod 600 "$LOCAL/kubeconfig"
  write "$LOCAL/cluster.env" << ENV
KUBECONFIG=$LOCAL/kubeconfig
NODE_HOST=$NODE_HOST
KUBE_BIN=$bin
MYSQL_ROOTFS=$(run images rootfs)
AUDIT_LOG=$NODE/audit/audit.log
ENV
  if [ "${PRODUCT_IMAGES:-yes}" != no ]; then
    run images product
    run node import
    run node enforce
  fi
}

case $CLUSTER in
  node) lock; up_node ;;
  kind) lock; run kind ;;
  current) run current ;;
  *) die "no such cluster: $CLUSTER (node, kind or current)" ;;
esac
say "up: KUBECONFIG=$LOCAL/kubeconfig"
