#!/bin/bash
# A kind cluster with official images. Written beside the local node and not tried by its authors, who have no Docker.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=payment-system
for p in docker kind kubectl; do command -v $p > /dev/null || die "CLUSTER=kind needs $p"; done

export KUBECONFIG=$LOCAL/kubeconfig   # never the user's own
mkdir -p "$LOCAL"
if kind get clusters 2> /dev/null | grep -qx $NAME; then
  kind export kubeconfig --name $NAME --kubeconfig "$KUBECONFIG"
else
  step "create the kind cluster" kind create cluster --name $NAME --config "$HERE/kind.yaml" --kubeconfig "$KUBECONFIG" --wait 120s
fi

crds=$(bash "$HERE/crds.sh" | tail -n 1)
# kind brings its own CoreDNS, local-path-provisioner and the class `standard`.
step "apply add-ons and resource definitions" kubectl apply --server-side --force-conflicts \
  -f "$crds" -f "$HERE/manifests/metrics-server.yaml" -f "$HERE/manifests/storage-classes.yaml"
step "wait for metrics-server" kubectl wait -n kube-system --for=condition=Available --timeout=180s deployment/metrics-server

write "$LOCAL/cluster.env" << ENV
KUBECONFIG=$LOCAL/kubeconfig
NODE_HOST=127.0.0.1
KUBE_BIN=$(dirname "$(command -v kubectl)")
MYSQL_ROOTFS=
AUDIT_LOG=
ENV

[ "${PRODUCT_IMAGES:-yes}" != no ] || exit 0
bash "$HERE/images.sh" docker
# shellcheck disable=SC1091
. "$LOCAL/images.env"
for image in "$OPERATOR_IMAGE" "$RUNTIME_IMAGE" "$SIMULATOR_IMAGE"; do
  step "load $image" kind load docker-image --name $NAME "$image"
done
