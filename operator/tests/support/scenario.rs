//! What is done to a system while the operator's requests fail.

use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

/// Name of every system under test.
pub const SYSTEM: &str = "demo";
/// A StorageClass whose volumes can grow.
pub const STORAGE_CLASS: &str = "growing";
/// A Secret that belongs to the user, with the keys of the channels.
pub const CHANNEL_SECRET: &str = "payment-service-secret";
pub const CHANNEL_KEYS: [&str; 3] = ["alipay-app-id", "alipay-private-key", "alipay-public-key"];
pub const IMAGE: &str = "registry.example/payment-runtime:1.0";
pub const NEW_IMAGE: &str = "registry.example/payment-runtime:2.0";

/// One thing a person does.
#[derive(Clone)]
pub enum Step {
    /// Applies a specification, made of the usual one and these sections.
    Apply(Value),
    /// As `Apply`, without waiting until it works.
    Begin(Value),
    /// Writes a value into a Secret.
    EditSecret {
        secret: &'static str,
        key: &'static str,
        value: &'static str,
    },
    /// Replaces the operator by one that runs another image by default.
    Upgrade,
    Delete,
}

#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    /// What the system runs before, if there is one; requests count from then on.
    pub before: Option<Value>,
    pub steps: Vec<Step>,
    /// Secrets and claims that go with the system, by its owner's will.
    pub goes: &'static [&'static str],
    /// How far it gets is a matter of time; in the end nothing is left but data.
    pub open_end: bool,
}

/// What is deleted with the usual system.
const GOES: &[&str] = &["demo-redis", "data-demo-redis-0"];

impl Scenario {
    /// Keys of Secrets whose values the scenario changes itself.
    pub fn edits(&self, secret: &str, key: &str) -> bool {
        self.steps.iter().any(|step| {
            matches!(step, Step::EditSecret { secret: s, key: k, .. } if *s == secret && *k == key)
        })
    }

    /// Whether it replaces the passwords that the operator made.
    pub fn rotates(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(
            |step| matches!(step, Step::Apply(sections) if sections["credentials"].is_object()),
        )
    }

    /// Whether all its pods end meanwhile.
    pub fn stops(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Apply(sections) if sections["stopped"] == true))
    }

    pub fn upgrades(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Upgrade))
    }

    pub fn deletes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Delete))
    }
}

/// A scenario that begins with a working system.
fn change(name: &'static str, steps: Vec<Step>) -> Scenario {
    Scenario {
        name,
        before: Some(json!({})),
        steps,
        goes: GOES,
        open_end: false,
    }
}

/// Every scenario. One without a state before starts from nothing.
pub fn all() -> Vec<Scenario> {
    let mut all = changes();
    all.extend(lives());
    all
}

/// A working system is edited.
fn changes() -> Vec<Scenario> {
    let edit = |name, sections: Value| change(name, vec![Step::Apply(sections)]);
    let fixed = json!({"payment": {"replicas": 4, "autoscaling": {"enabled": false}}});
    let later = json!({"payment": {"expiresInSeconds": 3600}});
    let rotate = Step::EditSecret {
        secret: "demo-mysql",
        key: "password",
        value: "rotated",
    };
    vec![
        edit(
            "scale",
            json!({
                "payment": {"workers": {"replicas": 4}},
                "callback": {"autoscaling": {"minReplicas": 5, "maxReplicas": 9}},
            }),
        ),
        edit("autoscaling-off", fixed.clone()),
        Scenario {
            before: Some(fixed),
            ..edit("autoscaling-on", json!({}))
        },
        edit("image", json!({"payment": {"image": NEW_IMAGE}})),
        edit(
            "config",
            json!({"payment": {"expiresInSeconds": 3600}, "mysql": {"maxConnections": 321}}),
        ),
        change("secret", vec![rotate]),
        edit("rotation", json!({"credentials": {"rotation": "first"}})),
        edit("grow", json!({"mysql": {"storage": {"size": "40Gi"}}})),
        change(
            "pause",
            vec![
                Step::Apply(json!({"paused": true, "payment": {"expiresInSeconds": 3600}})),
                Step::Apply(later),
            ],
        ),
        edit("stop", json!({"stopped": true})),
        Scenario {
            before: Some(json!({"stopped": true})),
            ..edit("start", json!({}))
        },
        change("upgrade", vec![Step::Upgrade]),
        Scenario {
            before: Some(
                json!({"channels": {"simulator": true, "alipay": null, "callbackBaseUrl": null}}),
            ),
            ..edit("simulator", json!({}))
        },
        edit(
            "orders",
            json!({"orders": {}, "reconciliation": {"dailyRun": {"enabled": false}}}),
        ),
    ]
}

/// A system comes and goes.
fn lives() -> Vec<Scenario> {
    let usual = || Step::Apply(json!({}));
    let retain = Step::Apply(json!({"redis": {"retention": "Retain"}}));
    vec![
        Scenario {
            before: None,
            ..change("create", vec![usual()])
        },
        Scenario {
            before: None,
            open_end: true,
            ..change("cancel", vec![Step::Begin(json!({})), Step::Delete])
        },
        change("delete", vec![Step::Delete]),
        change("recreate", vec![Step::Delete, usual()]),
        Scenario {
            goes: &[],
            ..change("retain", vec![retain, Step::Delete])
        },
    ]
}

/// The class of the volumes, which may grow.
pub async fn growing_volumes(client: &Client) {
    let class = json!({
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": "example.com/none",
        "allowVolumeExpansion": true,
    });
    let class: StorageClass = serde_json::from_value(class).unwrap();
    let api = Api::<StorageClass>::all(client.clone());
    api.create(&PostParams::default(), &class).await.unwrap();
}

/// A PaymentSystem with the usual specification and some sections of its own.
pub fn system(namespace: &str, sections: &Value) -> Value {
    let mut spec = json!({
        "channels": {"alipay": {"enabled": true}, "callbackBaseUrl": "https://pay.example.com"},
        "mysql": {"storage": {"size": "20Gi", "storageClassName": STORAGE_CLASS}},
        "redis": {"retention": "Delete"},
    });
    merge(&mut spec, sections);
    json!({
        "apiVersion": "paymentsystem.dev/v1alpha1",
        "kind": "PaymentSystem",
        "metadata": {"name": SYSTEM, "namespace": namespace},
        "spec": spec,
    })
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(key);
                    continue;
                }
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
