#!/bin/bash
# Takes the Prometheus Operator's and the Gateway API's resource definitions out of their Go modules.
# Prints the folder of YAML files on the last line.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CRDS=$CACHE/crds/$(hash_of "$PROMETHEUS_OPERATOR_VERSION" "$GATEWAY_API_VERSION" "$HERE/crds.sh")

# module_files MODULE@VERSION PATTERN: the module's files of that pattern, flat, into the current folder.
# From the module's zip, which Go verifies and keeps even where the module asks for a newer Go than ours.
module_files() {
  local zip
  zip=$(cd / && { GOFLAGS=-mod=mod go mod download -json "$1" || true; } | jq -r '.Zip // empty')
  [ -n "$zip" ] || die "no such Go module: $1"
  unzip -qoj "$zip" "$1/$2" -d .
}

fetch() {
  local t
  t=$(temp_beside "$CRDS")
  cd "$t"
  for kind in servicemonitors podmonitors prometheusrules probes; do
    module_files "github.com/prometheus-operator/prometheus-operator@$PROMETHEUS_OPERATOR_VERSION" \
      "example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml"
  done
  module_files "sigs.k8s.io/gateway-api@$GATEWAY_API_VERSION" 'config/crd/standard/*.yaml'
  mv "$t" "$CRDS"
}

[ -d "$CRDS" ] || step "fetch resource definitions" fetch
echo "$CRDS"
