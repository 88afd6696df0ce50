//! A recorder of everything that happens on one API server, sorted by namespace.
//!
//! Guarantees: the history of a namespace has every version of every object of the watched kinds
//! (a gap fails the test), with the versions by which events of different kinds can be ordered.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crds::PaymentSystem;
use futures::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams},
};
use payment_operator::kinds::KINDS;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Made,
    Changed,
    Gone,
}

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: &'static str,
    pub name: String,
    pub change: Change,
    pub version: u64,
    pub object: Arc<Value>,
}

/// Objects by kind and name.
pub type Objects = BTreeMap<(&'static str, String), Arc<Value>>;

#[derive(Default)]
struct Recorded {
    events: Vec<Event>,
    objects: Objects,
    /// UIDs of the PaymentSystems that were deleted.
    gone: BTreeSet<String>,
}

/// What happened in one namespace.
pub struct History {
    recorded: Mutex<Recorded>,
    changed: watch::Sender<u64>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            recorded: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl History {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: Event) {
        let key = (event.kind, event.name.clone());
        {
            let mut recorded = self.recorded();
            if event.change == Change::Gone {
                recorded.objects.remove(&key);
                if event.kind == "PaymentSystem" {
                    let uid = event.object["metadata"]["uid"].as_str();
                    recorded.gone.extend(uid.map(str::to_owned));
                }
            } else {
                recorded.objects.insert(key, Arc::clone(&event.object));
            }
            recorded.events.push(event);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// All objects that exist.
    pub fn objects(&self) -> Objects {
        self.recorded().objects.clone()
    }

    /// UIDs of the PaymentSystems that were deleted.
    pub fn gone(&self) -> BTreeSet<String> {
        self.recorded().gone.clone()
    }

    /// Everything, in the order in which it happened.
    pub fn events(&self) -> Vec<Event> {
        let mut events = self.recorded().events.clone();
        events.sort_by_key(|event| event.version);
        events
    }

    /// Tells of changes from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until something holds of the objects; says whether it did in time.
    pub async fn until(&self, limit: Duration, holds: impl Fn(&Objects) -> bool) -> bool {
        let mut changes = self.changes();
        let wait = async {
            while !holds(&self.objects()) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }

    /// Waits until nothing has happened for some time.
    pub async fn quiet(&self, time: Duration) {
        let mut changes = self.changes();
        while tokio::time::timeout(time, changes.changed()).await.is_ok() {}
    }
}

type Histories = Mutex<HashMap<String, Arc<History>>>;

pub struct World {
    pub client: Client,
    histories: Arc<Histories>,
    _watches: Vec<AbortOnDropHandle<()>>,
}

/// The kinds that are recorded, with how the API server names them.
pub fn kinds() -> Vec<(&'static str, ApiResource)> {
    let ours = KINDS.iter().filter(|entry| !entry.optional);
    let mut kinds: Vec<_> = ours.map(|entry| (entry.name, entry.resource())).collect();
    kinds.push(("PaymentSystem", ApiResource::erase::<PaymentSystem>(&())));
    kinds
}

impl World {
    pub async fn record(client: Client) -> Self {
        Self::record_kinds(client, kinds()).await
    }

    pub async fn record_kinds(client: Client, kinds: Vec<(&'static str, ApiResource)>) -> Self {
        let histories = Arc::new(Histories::default());
        let mut watches = Vec::new();
        for (kind, resource) in kinds {
            let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
            let list = api.list(&ListParams::default()).await.unwrap();
            let version = list.metadata.resource_version.unwrap();
            let histories = Arc::clone(&histories);
            let follow = follow(kind, api, version, histories);
            watches.push(AbortOnDropHandle::new(tokio::spawn(follow)));
        }
        Self {
            client,
            histories,
            _watches: watches,
        }
    }

    /// The history of a namespace.
    pub fn history(&self, namespace: &str) -> Arc<History> {
        history(&self.histories, namespace)
    }

    pub fn forget(&self, namespace: &str) {
        let mut histories = self.histories.lock().unwrap();
        histories.remove(namespace);
    }
}

fn history(histories: &Histories, namespace: &str) -> Arc<History> {
    let mut histories = histories.lock().unwrap();
    Arc::clone(histories.entry(namespace.to_owned()).or_default())
}

async fn follow(
    kind: &'static str,
    api: Api<DynamicObject>,
    mut version: String,
    histories: Arc<Histories>,
) {
    loop {
        let Ok(events) = api.watch(&WatchParams::default(), &version).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut events = events.boxed();
        while let Some(Ok(event)) = events.next().await {
            let (change, object) = match event {
                WatchEvent::Added(object) => (Change::Made, object),
                WatchEvent::Modified(object) => (Change::Changed, object),
                WatchEvent::Deleted(object) => (Change::Gone, object),
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(error) => panic!("the recorder of {kind} has a gap: {error}"),
            };
            version = object.metadata.resource_version.clone().unwrap();
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            history(&histories, &namespace).record(Event {
                kind,
                name: object.metadata.name.clone().unwrap_or_default(),
                change,
                version: version.parse().unwrap(),
                object: Arc::new(serde_json::to_value(object).unwrap()),
            });
        }
    }
}
