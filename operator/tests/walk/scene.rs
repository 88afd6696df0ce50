//! The systems that are walked. Each field is walked where it has an effect.

use std::collections::BTreeMap;

use contract::names::channel_key;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{leaf::Leaf, scenario};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Everything is managed and scales by itself; exposed by an Ingress.
    Managed,
    /// All that can be is external, nothing scales by itself; exposed by a Gateway.
    External,
}

/// What has an effect in [`Scene::External`] alone.
const EXTERNAL: [&str; 8] = [
    "mysql.external",
    "redis.external",
    "transactionCoordinator.external",
    "orders.external",
    "expose.gateway",
    "callback.certificateRef",
    "payment.replicas",
    "callback.replicas",
];

impl Scene {
    pub fn of(leaf: &Leaf) -> Self {
        Self::of_path(&leaf.path)
    }

    pub fn of_path(path: &str) -> Self {
        let within = |part: &str| path == part || path.starts_with(&format!("{part}."));
        if EXTERNAL.iter().any(|part| within(part)) {
            Self::External
        } else {
            Self::Managed
        }
    }

    /// What differs from the usual system.
    pub fn sections(self) -> Value {
        match self {
            Self::Managed => json!({
                "redis": {"retention": "Retain", "storage": {"storageClassName": scenario::STORAGE_CLASS}},
                "orders": {},
                "channels": {"wechat": {"enabled": true}},
                "reconciliation": {
                    "dailyRun": {"enabled": true},
                    "notify": {
                        "url": "https://hooks.example.com/differences",
                        "secretRef": {"name": "hook", "key": "signing"},
                    },
                    "peopleSecretRef": {"name": "hook", "key": "people"},
                },
                "expose": {"ingress": {"host": "pay.example.com", "tlsSecretName": "certificate"}},
            }),
            Self::External => json!({
                "mysql": {"external": {
                    "host": "db.example.com",
                    "secretName": "database",
                    "tls": {"caRef": {"name": "authority"}},
                }},
                "redis": {"retention": "Retain", "external": {
                    "host": "cache.example.com",
                    "tls": {"caRef": {"name": "authority"}},
                }},
                "transactionCoordinator": {"external": {
                    "host": "tc.example.com",
                    "tls": {"caRef": {"name": "authority"}},
                }},
                "orders": {"external": {"url": "https://orders.example.com"}},
                "payment": {"autoscaling": {"enabled": false}},
                "callback": {
                    "autoscaling": {"enabled": false},
                    "certificateRef": {"name": "certificate"},
                },
                "expose": {"gateway": {
                    "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
                    "hostnames": ["pay.example.com"],
                }},
            }),
        }
    }

    /// The whole specification, without defaults.
    pub fn specification(self) -> Value {
        scenario::system("", &self.sections())["spec"].take()
    }
}

/// Every Secret that some value names.
pub async fn provide_secrets(client: &Client, namespace: &str) {
    let channels: Vec<&str> = [
        &channel_key::WECHAT[..],
        &channel_key::ALIPAY[..],
        &channel_key::ALIPAY_CERTIFICATE_MODE[..],
    ]
    .concat();
    let database = vec!["password", "coordinator-password", "orders-password"];
    let hook = vec!["signing", "people", "other"];
    let certificate = vec!["tls.crt", "tls.key", "ca.crt"];
    let authority = vec!["ca.crt", "other"];
    for (name, keys) in [
        (scenario::CHANNEL_SECRET, &channels),
        ("other-keys", &channels),
        ("database", &database),
        ("other-database", &database),
        ("other-cache", &vec!["password"]),
        ("hook", &hook),
        ("other-hook", &hook),
        ("certificate", &certificate),
        ("other-certificate", &certificate),
        ("authority", &authority),
        ("other-authority", &authority),
    ] {
        let values: BTreeMap<&str, &str> = keys.iter().map(|key| (*key, "value")).collect();
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": values,
        });
        Api::<k8s_openapi::api::core::v1::Secret>::namespaced(client.clone(), namespace)
            .patch(
                name,
                &PatchParams::apply("test").force(),
                &Patch::Apply(&secret),
            )
            .await
            .unwrap();
    }
}
