#!/usr/bin/env bash
# Installs the operator from its own manifests and applies the example. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/../.."
source .local/cluster.env
source .local/images.env
kubectl() { "$KUBE_BIN/kubectl" --kubeconfig "$KUBECONFIG" "$@"; }

operator=${CARGO_TARGET_DIR:-target}/release/payment-operator
apply=(apply --server-side --force-conflicts --field-manager payment-install -f -)

echo "==> operator $OPERATOR_IMAGE"
"$operator" crds | kubectl "${apply[@]}"
kubectl wait --for=condition=Established --timeout=60s crd/paymentsystems.paymentsystem.dev
monitoring=()
if kubectl get crd prometheusrules.monitoring.coreos.com servicemonitors.monitoring.coreos.com > /dev/null 2>&1; then
  monitoring=(--monitoring)
fi
"$operator" manifests "${monitoring[@]}" --namespace payment-system --image "$OPERATOR_IMAGE" \
  --runtime-image "$RUNTIME_IMAGE" --simulator-image "$SIMULATOR_IMAGE" | kubectl "${apply[@]}"
kubectl -n payment-system rollout status deployment --timeout=120s

echo "==> examples/demo.yaml"
kubectl apply --server-side --force-conflicts --field-manager demo -f examples/demo.yaml
