#!/bin/bash
# Builds the node's programs from Go modules, once per version of binaries/. Prints their folder on the last line.
# All come from one go.mod, so that the k8s.io libraries compile once for all of them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SRC=$HERE/binaries
ARCH=$(go env GOARCH)
BIN=$CACHE/bin/$(hash_of "$SRC/go.mod" "$SRC/go.sum" "$SRC/coredns/main.go" "$SRC/metrics-server/openapi.go" "$HERE/binaries.sh" "$ARCH")
STAMP="-s -w -X k8s.io/component-base/version.gitVersion=$K8S_VERSION
  -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
KUBE="kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubeadm kubectl kubelet"

# GOFLAGS and go.work of the user's must not change what is built.
build() { (cd "$SRC" && GOWORK=off GOFLAGS= CGO_ENABLED=0 go build -trimpath -buildvcs=false "$@"); }

# A program that was built before this script was stopped is not built again.
build_kube() { build -ldflags "$(tr '\n' ' ' <<< "$STAMP")" -o "$1/" $(printf "k8s.io/kubernetes/cmd/%s " $KUBE); }
build_etcd() { build -ldflags '-s -w' -o "$1/etcd" go.etcd.io/etcd/server/v3; }
build_coredns() { build -ldflags '-s -w' -o "$1/coredns" ./coredns; }
build_local_path() { build -ldflags '-s -w' -o "$1/" github.com/rancher/local-path-provisioner; }

# metrics-server is compiled with one file replaced (binaries/metrics-server/openapi.go says why):
# from a copy of its module, through a go.mod that differs from ours in that one line.
build_metrics_server() {
  local out=$1 t
  t=$(temp_beside "$CACHE/build/x")
  cp -r "$(cd "$SRC" && GOFLAGS= go list -m -f '{{.Dir}}' sigs.k8s.io/metrics-server)" "$t/module"
  chmod -R u+w "$t/module"
  cp "$SRC/metrics-server/openapi.go" "$t/module/pkg/api/generated/openapi/zz_generated.openapi.go"
  cp "$SRC/go.mod" "$t/build.mod"
  cp "$SRC/go.sum" "$t/build.sum"
  go mod edit -replace "sigs.k8s.io/metrics-server=$t/module" "$t/build.mod"
  build -modfile="$t/build.mod" -ldflags '-s -w' -o "$out/" sigs.k8s.io/metrics-server/cmd/metrics-server
  rm -rf "$t"
}

main() {
  [ -d "$BIN" ] && { touch "$BIN"; return; }
  local part=$BIN.part
  rm -rf "$part"
  mkdir -p "$part"
  (cd "$SRC" && step "download Go modules" env GOFLAGS= go mod download)
  # Interrupted builds continue where they were: Go's own build cache holds each finished package.
  step "build Kubernetes $K8S_VERSION (about 6 minutes the first time)" build_kube "$part"
  step "build etcd $ETCD_VERSION" build_etcd "$part"
  step "build CoreDNS $COREDNS_VERSION" build_coredns "$part"
  step "build local-path-provisioner $LOCAL_PATH_VERSION" build_local_path "$part"
  step "build metrics-server $METRICS_SERVER_VERSION" build_metrics_server "$part"
  mv "$part" "$BIN"
  keep_newest 2 "$CACHE"/bin/*
}

main
echo "$BIN"
