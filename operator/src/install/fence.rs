//! The API server refuses what an operator writes that does not hold the lease.
//!
//! An operator checks its lease before each write, but between check and delivery it can be stopped
//! for any time: by the kernel, a hypervisor, a network. What was sent before and comes after is
//! refused here, by the API server itself: the name of the pod, which is in each pod's token, must
//! be the holder's. The API server reads its own copy of the lease, which is moments old; a leader
//! stops a quarter of the lease before another may begin, and that one begins a second later.
//!
//! Where there is no lease, nothing is refused: the API server looks for it before it looks at who
//! writes, so that refusing would keep everybody in the cluster from writing these kinds.
//!
//! Not here: a token that names no pod (an operator that runs outside of a cluster) is let through.
//! This fence keeps out what is late, not who is a stranger; that is for the permissions.

use serde_json::{Value, json};

use super::{NAME, labels};
use crate::{kinds::KINDS, leader::LEASE};

/// Name of the policy and its binding, where there is one operator in the cluster.
pub(super) const POLICY: &str = "payment-operator-holds-the-lease";
/// Where the API server puts the pod's name that stands in a pod's token.
const POD: &str = "authentication.kubernetes.io/pod-name";

/// What the operator writes, less its lease and events, which say only what happened.
fn rules() -> Vec<Value> {
    let own = (crds::GROUP, "paymentsystems/status");
    let kinds = KINDS.iter().filter(|entry| !entry.writes.is_empty());
    kinds
        .map(|entry| (entry.group, entry.plural))
        .chain([own])
        .map(|(group, resource)| {
            json!({
                "apiGroups": [group],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": [resource],
            })
        })
        .collect()
}

pub(super) fn policy(name: &str, namespace: &str) -> Value {
    let user = format!("system:serviceaccount:{namespace}:{NAME}");
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": labels()},
        "spec": {
            "failurePolicy": "Fail",
            "paramKind": {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"},
            "matchConstraints": {"resourceRules": rules()},
            "matchConditions": [
                {"name": "the-operator", "expression": format!("request.userInfo.username == '{user}'")},
                {"name": "a-pod", "expression": format!("has(request.userInfo.extra) && '{POD}' in request.userInfo.extra")},
            ],
            "validations": [{
                "expression": format!("has(params.spec.holderIdentity) && params.spec.holderIdentity in request.userInfo.extra['{POD}']"),
                "message": "this operator does not hold the lease: what it decided may be out of date",
                "reason": "Forbidden",
            }],
        },
    })
}

pub(super) fn binding(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": labels()},
        "spec": {
            "policyName": name,
            "paramRef": {"name": LEASE, "namespace": namespace, "parameterNotFoundAction": "Allow"},
            "validationActions": ["Deny"],
        },
    })
}
