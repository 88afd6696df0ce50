//! Everything the operator knows of the cluster: one compact copy of each of its objects.
//!
//! Guarantees: an object never goes back in time (an event older than what is stored is dropped),
//! and what the operator just wrote is stored at once, so that the next pass sees its own writes.
//! Of Secrets only digests are kept, of Pods only their state. Bodies are compressed: at a hundred
//! systems they are most of the operator's memory, and each is read once in a pass.
//!
//! Not here: the watches that fill it (`watches`).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::Engine;
use kube::{api::DynamicObject, core::ObjectMeta};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    FIELD_MANAGER,
    build::labels,
    compact::{Compact, Samples},
    kinds::Kind,
};

/// One object. The body is kept as compressed text: a small part of the size of a parsed tree.
#[derive(Clone, Debug)]
pub struct Live {
    pub uid: String,
    pub resource_version: u64,
    pub deleting: bool,
    /// The number of replicas is what this operator applied last, nobody else's.
    pub owns_replicas: bool,
    body: Compact,
}

impl Live {
    pub fn new(kind: Kind, object: DynamicObject) -> Self {
        Self::beside(kind, object, &Samples::default())
    }

    /// Kept beside others of its sort, which its text is like.
    fn beside(kind: Kind, mut object: DynamicObject, samples: &Samples) -> Self {
        let sort = sort(kind, &object.metadata);
        let owns_replicas = kind == Kind::Deployment && owns_replicas(&object.metadata);
        prune(&mut object.metadata);
        let body = match kind {
            Kind::Secret => json!({"metadata": object.metadata, "digests": digests(&object.data)}),
            Kind::Pod => json!({
                "metadata": pod_identity(&object.metadata),
                "status": pod_state(&object.data),
            }),
            _ => {
                let mut body = Map::new();
                body.insert("metadata".to_owned(), json!(object.metadata));
                if let Value::Object(rest) = object.data {
                    body.extend(rest);
                }
                Value::Object(body)
            }
        };
        let body = body.to_string().into_bytes();
        let like = samples.like(sort, &body);
        Self {
            uid: object.metadata.uid.unwrap_or_default(),
            resource_version: version(object.metadata.resource_version.as_deref()),
            deleting: object.metadata.deletion_timestamp.is_some(),
            owns_replicas,
            body: Compact::new(&body, like),
        }
    }

    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body.text()).unwrap_or_default()
    }

    /// How many replicas a workload is to have.
    pub fn replicas(&self) -> i32 {
        let replicas = self.value()["spec"]["replicas"].as_i64();
        replicas
            .and_then(|replicas| i32::try_from(replicas).ok())
            .unwrap_or(1)
    }
}

/// Which objects of other systems this one is like: those of its kind and place in the system.
fn sort(kind: Kind, metadata: &ObjectMeta) -> String {
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let (name, system) = (metadata.name.as_deref(), label(labels::INSTANCE));
    let (name, system) = (name.unwrap_or_default(), system.map_or("", String::as_str));
    let place = match kind {
        // Their names are made up.
        Kind::Pod | Kind::Job => label(labels::COMPONENT).map_or("", String::as_str),
        _ => name.strip_prefix(system).unwrap_or(name),
    };
    format!("{kind:?} {place}")
}

/// Whether this operator's last apply named the replicas: without another owner, an apply that
/// does not name them any more would reset them.
fn owns_replicas(metadata: &ObjectMeta) -> bool {
    metadata.managed_fields.iter().flatten().any(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && fields.is_some_and(|fields| fields["f:spec"]["f:replicas"].is_object())
    })
}

/// A resource version, as a number: later versions are greater.
pub fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Drops what no pass looks at.
fn prune(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.self_link = None;
}

/// What is known of one key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDigest {
    /// SHA-256 of the value, shortened: enough to notice a change.
    pub hash: String,
    /// The value has only characters that need no quoting in SQL, YAML or a shell.
    pub plain: bool,
    pub empty: bool,
}

fn digests(data: &Value) -> Value {
    let keys = data["data"].as_object().into_iter().flatten();
    keys.map(|(key, value)| {
        let value = base64::engine::general_purpose::STANDARD
            .decode(value.as_str().unwrap_or_default())
            .unwrap_or_default();
        let plain = value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(byte));
        let hash = short_hash(&value);
        (key.clone(), json!([hash, plain, value.is_empty()]))
    })
    .collect::<Map<_, _>>()
    .into()
}

/// The digests of a Secret as stored by [`Live::new`].
pub fn key_digests(secret: &Value) -> BTreeMap<String, KeyDigest> {
    let keys = secret["digests"].as_object().into_iter().flatten();
    keys.map(|(key, entry)| {
        let digest = KeyDigest {
            hash: entry[0].as_str().unwrap_or_default().to_owned(),
            plain: entry[1].as_bool().unwrap_or_default(),
            empty: entry[2].as_bool().unwrap_or_default(),
        };
        (key.clone(), digest)
    })
    .collect()
}

/// Sixteen hex digits of SHA-256.
pub fn short_hash(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..8])
}

/// Which pod it is, since when, and with which credentials it was made.
fn pod_identity(metadata: &ObjectMeta) -> Value {
    let mut identity = json!({
        "name": metadata.name,
        "labels": metadata.labels,
        "creationTimestamp": metadata.creation_timestamp,
    });
    let annotations = metadata.annotations.as_ref();
    let hash = annotations.and_then(|annotations| annotations.get(labels::CREDENTIALS_HASH));
    if let Some(hash) = hash {
        identity["annotations"] = json!({labels::CREDENTIALS_HASH: hash});
    }
    identity
}

fn pod_state(data: &Value) -> Value {
    let status = &data["status"];
    let ports = data["spec"]["containers"][0]["ports"].as_array();
    let management = ports
        .into_iter()
        .flatten()
        .find(|port| port["name"] == contract::ports::MANAGEMENT_NAME);
    json!({
        "phase": status["phase"],
        "podIP": status["podIP"],
        "managementPort": management.map(|port| &port["containerPort"]),
        "conditions": status["conditions"],
        "initContainerStatuses": status["initContainerStatuses"],
        "containerStatuses": status["containerStatuses"],
    })
}

/// A PaymentSystem: namespace and name.
pub type SystemKey = (String, String);

/// A Secret that a PaymentSystem names but the operator does not own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedSecret {
    /// Its watch keeps failing, and why.
    Unreadable(String),
    Absent,
    Present(BTreeMap<String, KeyDigest>),
}

/// An object and the system it belongs to.
pub struct Item {
    system: SystemKey,
    kind: Kind,
    name: String,
    live: Live,
}

impl Item {
    fn new(kind: Kind, object: DynamicObject, samples: &Samples) -> Option<Self> {
        Some(Self {
            system: system_of(&object.metadata)?,
            kind,
            name: object.metadata.name.clone().unwrap_or_default(),
            live: Live::beside(kind, object, samples),
        })
    }
}

#[derive(Default)]
struct State {
    systems: HashMap<SystemKey, BTreeMap<(Kind, String), Arc<Live>>>,
    named_secrets: HashMap<(String, String), NamedSecret>,
    installed: BTreeSet<Kind>,
}

impl State {
    fn put(&mut self, item: Item) -> Arc<Live> {
        let objects = self.systems.entry(item.system).or_default();
        let key = (item.kind, item.name);
        match objects.get(&key) {
            Some(stored) if stored.resource_version > item.live.resource_version => {
                Arc::clone(stored)
            }
            _ => {
                let live = Arc::new(item.live);
                objects.insert(key, Arc::clone(&live));
                live
            }
        }
    }
}

#[derive(Default)]
pub struct Cache {
    state: Mutex<State>,
    samples: Samples,
}

/// The system an object belongs to, by its labels.
pub fn system_of(metadata: &ObjectMeta) -> Option<SystemKey> {
    let name = metadata.labels.as_ref()?.get(labels::INSTANCE)?;
    Some((metadata.namespace.clone()?, name.clone()))
}

impl Cache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of an object; `None` if it belongs to no system.
    pub fn item(&self, kind: Kind, object: DynamicObject) -> Option<Item> {
        Item::new(kind, object, &self.samples)
    }

    /// Stores what a watch or a write returned, unless something newer is stored. Returns what is
    /// stored then.
    pub fn put(&self, kind: Kind, object: DynamicObject) -> Option<Arc<Live>> {
        let item = self.item(kind, object)?;
        Some(self.state().put(item))
    }

    /// Forgets a deleted object, unless a newer one of its name is already stored.
    pub fn remove(&self, kind: Kind, object: &DynamicObject) {
        let Some(system) = system_of(&object.metadata) else {
            return;
        };
        let key = (kind, object.metadata.name.clone().unwrap_or_default());
        let deleted_at = version(object.metadata.resource_version.as_deref());
        let mut state = self.state();
        let Some(objects) = state.systems.get_mut(&system) else {
            return;
        };
        if objects
            .get(&key)
            .is_some_and(|stored| stored.resource_version <= deleted_at)
        {
            objects.remove(&key);
        }
        if objects.is_empty() {
            state.systems.remove(&system);
        }
    }

    /// Takes over a complete list of a kind, which therefore is installed: what is not in it is
    /// forgotten, and what is stored in a newer version than the list has stays. Returns the
    /// systems that had or have any.
    pub fn replace(&self, kind: Kind, items: Vec<Item>) -> BTreeSet<SystemKey> {
        let mut listed: BTreeMap<SystemKey, BTreeSet<String>> = BTreeMap::new();
        for item in &items {
            let names = listed.entry(item.system.clone()).or_default();
            names.insert(item.name.clone());
        }
        let mut touched = BTreeSet::new();
        let mut state = self.state();
        // At once with its objects: of a kind that is not installed nothing is desired.
        state.installed.insert(kind);
        for (system, stored) in &mut state.systems {
            let names = listed.get(system);
            let before = stored.len();
            stored.retain(|(stored_kind, name), _| {
                *stored_kind != kind || names.is_some_and(|names| names.contains(name))
            });
            if stored.len() != before {
                touched.insert(system.clone());
            }
        }
        state.systems.retain(|_, stored| !stored.is_empty());
        for item in items {
            state.put(item);
        }
        touched.extend(listed.into_keys());
        touched
    }

    pub fn objects(&self, system: &SystemKey) -> BTreeMap<(Kind, String), Arc<Live>> {
        self.state()
            .systems
            .get(system)
            .cloned()
            .unwrap_or_default()
    }

    pub fn set_named_secret(&self, key: (String, String), secret: NamedSecret) {
        self.state().named_secrets.insert(key, secret);
    }

    pub fn forget_named_secret(&self, key: &(String, String)) {
        self.state().named_secrets.remove(key);
    }

    /// `None` if its watch has not answered yet.
    pub fn named_secret(&self, namespace: &str, name: &str) -> Option<NamedSecret> {
        let key = (namespace.to_owned(), name.to_owned());
        self.state().named_secrets.get(&key).cloned()
    }

    /// Forgets a kind and all objects of it.
    pub fn uninstall(&self, kind: Kind) {
        let mut state = self.state();
        state.installed.remove(&kind);
        for stored in state.systems.values_mut() {
            stored.retain(|(stored_kind, _), _| *stored_kind != kind);
        }
        state.systems.retain(|_, stored| !stored.is_empty());
    }

    /// Kinds that were listed since they were installed.
    pub fn installed(&self) -> BTreeSet<Kind> {
        self.state().installed.clone()
    }

    /// Systems that own any object.
    pub fn systems(&self) -> Vec<SystemKey> {
        self.state().systems.keys().cloned().collect()
    }
}
