//! The watches that fill the cache and say which system to look at.
//!
//! Label-selected: objects of others are never received. Kinds that come from somebody else's
//! CustomResourceDefinition are watched while that definition exists, as its own watch says, or
//! discovery where an operator may not see the cluster; Secrets that a PaymentSystem names are
//! watched one by one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, channel::mpsc::UnboundedSender};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::DynamicObject,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::{
    build::labels,
    cache::{Cache, Live, NamedSecret, SystemKey, key_digests, system_of, version},
    discovery::{self, Discovery},
    health::Health,
    kinds::{Entry, KINDS, Kind},
    pass::chain,
    scope::Scope,
};

/// Objects of one answer of a list, and kinds that are listed at a time: what an answer takes as a
/// parsed tree is the peak of the operator's memory, and stays with it as fragments.
const PAGE: u32 = 25;
const LISTS_AT_A_TIME: usize = 2;
/// Failures in a row after which a Secret that was never read counts as unreadable.
const FAILURES_TOLD: u32 = 2;

/// Where watches report, and what they hold.
#[derive(Clone)]
pub struct Watches {
    client: Client,
    cache: Arc<Cache>,
    touched: UnboundedSender<SystemKey>,
    health: Arc<Health>,
    scope: Scope,
    lists: Arc<Semaphore>,
    secrets: Arc<Mutex<HashMap<(String, String), SecretWatch>>>,
}

/// The watch of an optional kind.
struct Following {
    listed: Arc<Notify>,
    _task: AbortOnDropHandle<()>,
}

/// The first complete list of a watch; without a watch, never.
async fn listed(following: Option<&Following>) {
    match following {
        Some(following) => following.listed.notified().await,
        None => std::future::pending().await,
    }
}

struct SecretWatch {
    users: BTreeSet<SystemKey>,
    _task: AbortOnDropHandle<()>,
}

impl Watches {
    pub fn new(
        client: Client,
        cache: Arc<Cache>,
        touched: UnboundedSender<SystemKey>,
        health: Arc<Health>,
        scope: Scope,
    ) -> Self {
        Self {
            client,
            cache,
            touched,
            health,
            scope,
            lists: Arc::new(Semaphore::new(LISTS_AT_A_TIME)),
            secrets: Arc::default(),
        }
    }

    /// Starts all watches and returns when each has its first complete list.
    pub async fn start(&self) -> Vec<AbortOnDropHandle<()>> {
        let mut tasks = Vec::new();
        let mut first_lists = Vec::new();
        for entry in &KINDS {
            let listed = Arc::new(Notify::new());
            first_lists.push(Arc::clone(&listed));
            let watches = self.clone();
            tasks.push(AbortOnDropHandle::new(tokio::spawn(async move {
                match &watches.scope {
                    _ if !entry.optional => watches.follow(entry, listed).await,
                    Scope::Cluster => watches.follow_definition(entry, listed).await,
                    Scope::Namespace(_, discovery) => {
                        watches.follow_discovery(entry, discovery, listed).await;
                    }
                }
            })));
        }
        for listed in first_lists {
            listed.notified().await;
        }
        tasks
    }

    fn touch_all(&self, systems: impl IntoIterator<Item = SystemKey>) {
        for system in systems {
            // The receiver lives as long as the process.
            let _ = self.touched.unbounded_send(system);
        }
    }

    /// Keeps the cache equal to the cluster for one kind.
    async fn follow(&self, entry: &'static Entry, listed: Arc<Notify>) {
        let api = self.scope.objects(self.client.clone(), &entry.resource());
        let config = watcher::Config::default()
            .labels(labels::SELECTOR)
            .page_size(PAGE);
        let mut events = watcher(api, config).default_backoff().boxed();
        let mut list = Vec::new();
        let mut turn = None;
        while let Some(event) = events.next().await {
            // Without a kind that others define everything else still works.
            if !entry.optional {
                self.health.watch(entry.name, event.is_ok());
            }
            match event {
                Ok(Event::Init) => {
                    list.clear();
                    turn = self.lists.acquire().await.ok();
                }
                Ok(Event::InitApply(object)) => list.extend(self.cache.item(entry.kind, object)),
                Ok(Event::InitDone) => {
                    turn = None;
                    let touched = self.cache.replace(entry.kind, std::mem::take(&mut list));
                    self.touch_all(touched);
                    listed.notify_one();
                }
                Ok(Event::Apply(object)) => {
                    let system = system_of(&object.metadata);
                    self.cache.put(entry.kind, object);
                    self.touch_all(system);
                }
                Ok(Event::Delete(object)) => {
                    self.cache.remove(entry.kind, &object);
                    self.touch_all(system_of(&object.metadata));
                }
                Err(error) => {
                    turn = None;
                    warn!(kind = entry.name, %error, "watch failed; trying again");
                    if self.doubt(entry) {
                        return;
                    }
                }
            }
        }
        drop(turn);
    }

    /// Follows an optional kind while its definition exists. That it can be listed is not waited
    /// for: its definition may not serve the version we know.
    async fn follow_definition(&self, entry: &'static Entry, looked: Arc<Notify>) {
        let api = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(self.client.clone());
        let selector = format!("metadata.name={}", entry.crd_name());
        let mut events = watcher(api, watcher::Config::default().fields(&selector))
            .default_backoff()
            .boxed();
        let mut following: Option<Following> = None;
        let mut seen = false;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = listed(following.as_ref()) => {
                    self.touch_all(self.cache.systems());
                    continue;
                }
            };
            match event {
                Some(Ok(Event::Init)) => seen = false,
                Some(Ok(Event::InitApply(_) | Event::Apply(_))) => {
                    seen = true;
                    following.get_or_insert_with(|| {
                        info!(kind = entry.name, "is installed");
                        self.begin_following(entry)
                    });
                }
                Some(Ok(Event::InitDone)) => {
                    if !seen && following.take().is_some() {
                        self.uninstall(entry.kind);
                    }
                    looked.notify_one();
                }
                Some(Ok(Event::Delete(_))) => {
                    info!(kind = entry.name, "is no longer installed");
                    following = None;
                    self.uninstall(entry.kind);
                }
                Some(Err(error)) => {
                    warn!(kind = entry.name, %error, "watch of its definition failed; trying again");
                }
                None => return,
            }
        }
    }

    fn begin_following(&self, entry: &'static Entry) -> Following {
        let (watches, first) = (self.clone(), Arc::new(Notify::new()));
        let listed = Arc::clone(&first);
        let task = tokio::spawn(async move { watches.follow(entry, first).await });
        Following {
            listed,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Follows an optional kind while the API server says that it serves it.
    async fn follow_discovery(
        &self,
        entry: &'static Entry,
        discovery: &Discovery,
        listed: Arc<Notify>,
    ) {
        let mut found = discovery.found();
        let mut following: Option<AbortOnDropHandle<()>> = None;
        let mut installed = false;
        let (ready, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        loop {
            let kinds = found.borrow_and_update().clone();
            match kinds.map(|kinds| kinds.contains(&entry.kind)) {
                Some(true) if following.is_none() => {
                    let watches = self.clone();
                    let (first, end) = (Arc::clone(&ready), Arc::clone(&ended));
                    following = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                        watches.follow(entry, first).await;
                        end.notify_one();
                    })));
                }
                Some(false) => {
                    following = None;
                    if installed {
                        info!("{} is no longer installed", entry.name);
                        self.uninstall(entry.kind);
                    }
                    installed = false;
                    listed.notify_one();
                }
                _ => {}
            }
            tokio::select! {
                () = ready.notified() => {
                    installed = true;
                    self.touch_all(self.cache.systems());
                    listed.notify_one();
                }
                // What was installed anew meanwhile is listed anew.
                () = ended.notified() => {
                    following = None;
                    tokio::time::sleep(discovery::SOONEST).await;
                }
                changed = found.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// What fails of an optional kind may no longer be installed. Returns whether discovery has to
    /// say so.
    fn doubt(&self, entry: &Entry) -> bool {
        match &self.scope {
            Scope::Namespace(_, discovery) if entry.optional => {
                discovery.doubt();
                true
            }
            _ => false,
        }
    }

    fn uninstall(&self, kind: Kind) {
        let touched = self.cache.systems();
        self.cache.uninstall(kind);
        self.touch_all(touched);
    }

    /// Watches exactly the Secrets a system names; none when the system is gone.
    pub fn name_secrets(&self, system: &SystemKey, names: &BTreeSet<String>) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let key = (system.0.clone(), name.clone());
            let watch = secrets.entry(key.clone()).or_insert_with(|| SecretWatch {
                users: BTreeSet::new(),
                _task: AbortOnDropHandle::new(tokio::spawn(self.clone().follow_secret(key))),
            });
            watch.users.insert(system.clone());
        }
        secrets.retain(|key, watch| {
            if key.0 == system.0 && !names.contains(&key.1) {
                watch.users.remove(system);
            }
            let used = !watch.users.is_empty();
            if !used {
                self.cache.forget_named_secret(key);
            }
            used
        });
    }

    async fn follow_secret(self, key: (String, String)) {
        let resource = Kind::Secret.entry().resource();
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &key.0, &resource);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", key.1));
        let mut events = watcher(api, config).default_backoff().boxed();
        let mut look = Look::default();
        while let Some(event) = events.next().await {
            if let Err(error) = &event {
                warn!(namespace = key.0, secret = key.1, %error, "watch failed; trying again");
            }
            if let Some(found) = look.at(event) {
                self.cache.set_named_secret(key.clone(), found);
                self.touch_users(&key);
            }
        }
    }

    /// Systems that name any Secret.
    pub fn users(&self) -> Vec<SystemKey> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let users = secrets.values().flat_map(|watch| watch.users.iter());
        users.cloned().collect()
    }

    fn touch_users(&self, key: &(String, String)) {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let users = secrets
            .get(key)
            .map(|watch| watch.users.clone())
            .unwrap_or_default();
        self.touch_all(users);
    }
}

/// What the watch of one Secret has shown.
#[derive(Default)]
struct Look {
    found: Option<NamedSecret>,
    newest: u64,
    listed: bool,
    failures: u32,
}

impl Look {
    /// What is known now, where an event has settled that.
    fn at(&mut self, event: watcher::Result<Event<DynamicObject>>) -> Option<NamedSecret> {
        match event {
            Ok(Event::Init) => {
                self.listed = false;
                return None;
            }
            Ok(Event::InitApply(secret)) => {
                self.listed = true;
                self.take(secret);
                return None;
            }
            Ok(Event::InitDone) if self.listed => {}
            Ok(Event::InitDone | Event::Delete(_)) => self.found = Some(NamedSecret::Absent),
            Ok(Event::Apply(secret)) => self.take(secret),
            Err(error) => return self.failed(&error),
        }
        self.failures = 0;
        self.found.clone()
    }

    fn take(&mut self, secret: DynamicObject) {
        let at = version(secret.metadata.resource_version.as_deref());
        // A list may be older than what was seen already.
        if at >= self.newest {
            self.newest = at;
            self.found = Some(present(secret));
        }
    }

    /// What was read once holds; what was never read is told when it fails again, for one failure
    /// may be that of a busy API server.
    fn failed(&mut self, error: &watcher::Error) -> Option<NamedSecret> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_TOLD || self.found.is_some() {
            return None;
        }
        Some(NamedSecret::Unreadable(chain(error)))
    }
}

fn present(secret: DynamicObject) -> NamedSecret {
    NamedSecret::Present(key_digests(&Live::new(Kind::Secret, secret).value()))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn secret(version: &str) -> DynamicObject {
        let object = json!({
            "metadata": {"name": "keys", "resourceVersion": version},
            "data": {"version": version},
        });
        serde_json::from_value(object).unwrap()
    }

    fn failure() -> watcher::Result<Event<DynamicObject>> {
        Err(watcher::Error::WatchError(Box::new(Status::failure(
            "no",
            "Forbidden",
        ))))
    }

    fn is_present(found: Option<&NamedSecret>) -> bool {
        matches!(found, Some(NamedSecret::Present(_)))
    }

    #[test]
    fn a_secret_is_absent_only_after_a_whole_list() {
        let mut look = Look::default();
        assert_eq!(look.at(Ok(Event::Init)), None);
        assert_eq!(look.at(Ok(Event::InitDone)), Some(NamedSecret::Absent));
        assert!(is_present(look.at(Ok(Event::Apply(secret("2")))).as_ref()));
    }

    #[test]
    fn a_list_from_the_past_changes_nothing() {
        let mut look = Look::default();
        let newest = look.at(Ok(Event::Apply(secret("10"))));
        for event in [Event::Init, Event::InitApply(secret("9"))] {
            assert_eq!(look.at(Ok(event)), None);
        }
        assert_eq!(look.at(Ok(Event::InitDone)), newest);
    }

    #[test]
    fn a_secret_is_unreadable_after_failures_in_a_row_until_it_is_read() {
        let mut look = Look::default();
        assert_eq!(look.at(failure()), None);
        assert_eq!(look.at(Ok(Event::Init)), None);
        let told = look.at(failure());
        assert!(matches!(told, Some(NamedSecret::Unreadable(error)) if error.contains("no")));
        assert!(is_present(look.at(Ok(Event::Apply(secret("2")))).as_ref()));
        assert_eq!([look.at(failure()), look.at(failure())], [None, None]);
    }
}
