#!/bin/bash
# The cluster of the current kubeconfig: adds the resource definitions it lacks and nothing else.
# Our images must be in a registry that it reaches: IMAGE_REGISTRY=... names it, IMAGE_TAG the tag (default: the version).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command -v kubectl > /dev/null || die "CLUSTER=current needs kubectl"
kubectl config current-context > /dev/null || die "there is no current context in your kubeconfig"
say "cluster: $(kubectl config current-context)"

crds=$(bash "$HERE/crds.sh" | tail -n 1)
for f in "$crds"/*.yaml; do
  kubectl get -f "$f" > /dev/null 2>&1 || kubectl create -f "$f"
done

kubectl config view --minify --flatten --raw | write "$LOCAL/kubeconfig"
chmod 600 "$LOCAL/kubeconfig"
write "$LOCAL/cluster.env" << ENV
KUBECONFIG=$LOCAL/kubeconfig
NODE_HOST=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
KUBE_BIN=$(dirname "$(command -v kubectl)")
MYSQL_ROOTFS=
AUDIT_LOG=
ENV

[ -n "${IMAGE_REGISTRY:-}" ] || die "IMAGE_REGISTRY is not set: which registry holds our images?"
tag=${IMAGE_TAG:-$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$PROJECT/Cargo.toml")}
write "$LOCAL/images.env" << ENV
OPERATOR_IMAGE=$IMAGE_REGISTRY/payment-operator:$tag
RUNTIME_IMAGE=$IMAGE_REGISTRY/payment-runtime:$tag
SIMULATOR_IMAGE=$IMAGE_REGISTRY/channel-simulator:$tag
MYSQL_IMAGE=docker.io/library/mysql:9.7
REDIS_IMAGE=docker.io/library/redis:8
SEATA_IMAGE=docker.io/apache/seata-server:2.1.0
ENV
