// Package openapi stands in for metrics-server's generated package of this name
// (see binaries.sh, which lays it over the original). The original needs
// Kubernetes 1.36 libraries; with this one metrics-server compiles against the
// 1.34 libraries that everything else here uses, and they compile only once.
package openapi

import kubernetes "k8s.io/kubernetes/pkg/generated/openapi"

// GetOpenAPIDefinitions knows every type of the API, metrics.k8s.io included.
var GetOpenAPIDefinitions = kubernetes.GetOpenAPIDefinitions
