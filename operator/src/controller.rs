//! Wiring: which system is looked at when, and one pass over it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crds::{PaymentSystem, PaymentSystemStatus};
use futures::{
    FutureExt, Stream, StreamExt, TryStreamExt,
    channel::mpsc,
    future::{self, BoxFuture},
    stream,
};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        controller::{Action, Config, applier},
        events::{Recorder, Reporter},
        reflector::{self, ObjectRef, Store, reflector},
        watcher::{self, watcher},
    },
};
use serde_json::json;
use tracing::{debug, error, info, warn};

use crate::{
    FIELD_MANAGER,
    apply::{ApplyError, Writer},
    build::{BuildError, build},
    cache::{Cache, SystemKey},
    credentials, events,
    gates::{Gates, gates},
    health::Health,
    keys::KeyError,
    kinds::Kind,
    leader::Leadership,
    metrics::Metrics,
    observe::Observed,
    report::{self, Outcome},
    rotation::{self, Step},
    validate::{Settings, ValidSystem, named_secrets, validate},
    watches::Watches,
};

type System = DeserializeGuard<PaymentSystem>;

/// How often a system is looked at without a cause. A pass at rest makes no request.
const RESYNC: Duration = Duration::from_mins(10);
/// Events of one burst are answered by one pass.
const DEBOUNCE: Duration = Duration::from_millis(50);
const CONCURRENCY: u16 = 8;
/// When a system is looked at again of which something changed while it was written.
const AGAIN: Duration = Duration::from_secs(1);
const BACKOFF_LONGEST: Duration = Duration::from_mins(1);

/// What every pass needs.
pub struct Context {
    client: Client,
    cache: Arc<Cache>,
    settings: Settings,
    metrics: Arc<Metrics>,
    watches: Watches,
    recorder: Recorder,
    leadership: Leadership,
    memory: Mutex<HashMap<SystemKey, Memory>>,
}

/// What is remembered of a system between passes. Losing it costs a request, never correctness.
#[derive(Default)]
struct Memory {
    /// The status written last and the version it made, until the watch shows it.
    status: Option<(String, u64, PaymentSystemStatus)>,
    failures: u32,
}

/// Why a pass did not finish. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    #[error("cannot make credentials")]
    Credentials(#[source] KeyError),
    #[error("cannot build the manifests")]
    Build(#[source] BuildError),
    #[error("cannot apply the manifests")]
    Apply(#[source] ApplyError),
    #[error("cannot report the status")]
    Report(#[source] Box<kube::Error>),
}

impl PassError {
    /// Condition reason and metric label. Part of the API: never reword.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "CredentialsFailed",
            Self::Build(error) => error.reason(),
            Self::Apply(error) => error.reason(),
            Self::Report(_) => "ReportFailed",
        }
    }
}

/// The whole chain of an error in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What this process is, beside its client: how it is seen from outside, and whether it leads.
#[derive(Clone)]
pub struct Process {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub leadership: Leadership,
}

/// Runs one operator that is alone, until `stop` is done.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let process = Process {
        metrics,
        health: Arc::default(),
        leadership: Leadership::alone(),
    };
    run_as(process, client, settings, stop).await;
}

/// Runs until `stop` is done, or a watch has ended, which none does by itself. Passes are made
/// from when the process leads; until then its caches are kept warm.
pub async fn run_as(
    process: Process,
    client: Client,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let Process {
        metrics,
        health,
        leadership,
    } = process;
    let cache = Arc::new(Cache::default());
    let (touch, touched) = mpsc::unbounded();
    let watches = Watches::new(
        client.clone(),
        Arc::clone(&cache),
        touch,
        Arc::clone(&health),
    );
    let tasks = watches.start().await;
    info!("all watches are up");
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), Reporter::from(FIELD_MANAGER)),
        client: client.clone(),
        cache,
        settings,
        metrics,
        leadership,
        watches,
        memory: Mutex::default(),
    });
    let (store, writer) = reflector::store::<System>();
    let seen = Arc::clone(&context);
    let systems = reflector(
        writer,
        watcher(Api::<System>::all(client), watcher::Config::default()).default_backoff(),
    )
    .map_ok(|event| event.modify(|system| system.meta_mut().managed_fields = None))
    .inspect(move |event| {
        health.watch("PaymentSystem", event.is_ok());
        match event {
            Ok(watcher::Event::Delete(system)) => seen.forget(&key(system)),
            Ok(watcher::Event::InitDone) => {
                health.listed();
                seen.metrics.set_ready();
            }
            _ => {}
        }
    })
    .applied_objects()
    .map_ok(|system| ObjectRef::from_obj(&system));
    let touched =
        touched.map(|(namespace, name)| Ok(ObjectRef::<System>::new(&name).within(&namespace)));
    let queue = stream::select(systems, touched);
    let queue = stream::select(queue, all_when_leading(&context, &store));
    let (waiting, known) = (Arc::clone(&context), store.clone());
    let queue = queue
        .inspect_ok(move |system| {
            // What is left of a system that is gone gets no pass.
            if known.get(system).is_some() {
                waiting.queued(system);
            }
        })
        .take_until(stop);
    let config = Config::default()
        .debounce(DEBOUNCE)
        .concurrency(CONCURRENCY);
    let passes = applier(pass, on_error, context, store, queue.boxed(), config).for_each(
        |result| async move {
            if let Err(error) = result {
                debug!(error = %chain(&error), "pass ended");
            }
        },
    );
    tokio::select! {
        () = passes => {}
        _ = future::select_all(tasks) => error!("a watch has ended"),
    }
}

/// Every system, once, when this process begins to lead.
fn all_when_leading<E>(
    context: &Arc<Context>,
    store: &Store<System>,
) -> impl Stream<Item = Result<ObjectRef<System>, E>> + use<E> {
    let (context, store) = (Arc::clone(context), store.clone());
    let begun = async move {
        context.leadership.begins().await;
        context.metrics.set_leads();
        let systems = store.state();
        stream::iter(
            systems
                .into_iter()
                .map(|system| Ok(ObjectRef::from_obj(&*system))),
        )
    };
    begun.flatten_stream()
}

fn key(system: &System) -> SystemKey {
    let meta = system.meta();
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

fn pass(
    system: Arc<System>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, PassError>> {
    Box::pin(async move {
        let key = key(&system);
        context.metrics.begun(&key);
        match &system.0 {
            Ok(object) if !context.leadership.leads() => {
                let secrets = named_secrets(&object.spec);
                context.watches.name_secrets(&key, &secrets);
                Ok(Action::await_change())
            }
            Ok(object) => context.reconcile(&key, object).await,
            Err(invalid) => {
                error!(namespace = key.0, name = key.1, %invalid, "a PaymentSystem cannot be read: install the matching definition");
                Ok(Action::await_change())
            }
        }
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature of an error policy"
)]
fn on_error(system: Arc<System>, error: &PassError, context: Arc<Context>) -> Action {
    let key = key(&system);
    let failures = {
        let mut memory = context.memory();
        let memory = memory.entry(key.clone()).or_default();
        memory.failures = memory.failures.saturating_add(1);
        memory.failures
    };
    context.metrics.pass(error.reason());
    let delay = Duration::from_secs(1 << failures.min(6)).min(BACKOFF_LONGEST);
    warn!(namespace = key.0, name = key.1, error = %chain(error), ?delay, "pass failed; trying again");
    Action::requeue(delay)
}

impl Context {
    fn memory(&self) -> MutexGuard<'_, HashMap<SystemKey, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queued(&self, system: &ObjectRef<System>) {
        let namespace = system.namespace.clone().unwrap_or_default();
        self.metrics.queued((namespace, system.name.clone()));
    }

    fn forget(&self, key: &SystemKey) {
        self.memory().remove(key);
        self.metrics.forget(key);
        self.watches
            .name_secrets(key, &std::collections::BTreeSet::new());
    }

    /// One pass: look, decide, write, report. Any step may have failed last time, so each pass
    /// does all of them; what was decided is reported even when writing fails.
    async fn reconcile(
        &self,
        key: &SystemKey,
        object: &PaymentSystem,
    ) -> Result<Action, PassError> {
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let secrets = named_secrets(&object.spec);
        self.watches.name_secrets(key, &secrets);
        let read = || Observed::read(&self.cache, key, &secrets);
        let system = match validate(object, &self.settings) {
            Ok(system) => system,
            Err(invalid) => {
                let outcome = Outcome::Invalid(&invalid);
                let reported = self.report(key, object, &read(), &outcome).await?;
                self.metrics.pass(invalid.reason());
                return Ok(if reported {
                    Action::await_change()
                } else {
                    Action::requeue(AGAIN)
                });
            }
        };
        let written = if object.spec.paused {
            Ok(true)
        } else {
            self.write(&system, &read).await
        };
        let observed = read();
        let gates = gates(&system, &observed);
        let outcome = outcome(&system, &gates, &written);
        let reported = self.report(key, object, &observed, &outcome).await?;
        let current = written? && reported;
        self.metrics.pass("done");
        self.memory().entry(key.clone()).or_default().failures = 0;
        Ok(Action::requeue(if current { RESYNC } else { AGAIN }))
    }

    /// Makes missing credentials, then applies every manifest whose gate is open. Returns whether
    /// nothing has changed meanwhile.
    async fn write(
        &self,
        system: &ValidSystem,
        read: &(impl Fn() -> Observed + Sync),
    ) -> Result<bool, PassError> {
        let writer = Writer {
            client: &self.client,
            cache: &self.cache,
            metrics: &self.metrics,
            namespace: &system.namespace,
        };
        let mut observed = read();
        for secret in credentials::needed(system) {
            let name = secret.name(&system.name);
            if observed.get(Kind::Secret, &name).is_none() {
                let manifest = secret.manifest(system).map_err(PassError::Credentials)?;
                writer
                    .create_secret(&name, manifest)
                    .await
                    .map_err(PassError::Apply)?;
                observed = read();
            }
        }
        // What reads several Secrets is to restart once, when all of them are changed.
        if !rotate(system, &writer, read).await? {
            return Ok(false);
        }
        observed = read();
        let manifests = build(system, &observed).map_err(PassError::Build)?;
        let gates = gates(system, &observed);
        writer
            .apply(system, &observed, &gates, &manifests)
            .await
            .map_err(PassError::Apply)
    }

    /// Writes the status if it differs, and an event if the change is worth one. Returns false if
    /// it must be tried again, because the object has changed meanwhile.
    async fn report(
        &self,
        key: &SystemKey,
        object: &PaymentSystem,
        observed: &Observed,
        outcome: &Outcome<'_>,
    ) -> Result<bool, PassError> {
        let object = self.with_latest_status(key, object);
        let status = report::status(&object, observed, outcome, Timestamp::now());
        self.measure(key, &object, &status);
        if object.status.as_ref() == Some(&status) {
            return Ok(true);
        }
        let api = Api::<PaymentSystem>::namespaced(self.client.clone(), &key.0);
        let patch = json!({
            "apiVersion": PaymentSystem::api_version(&()),
            "kind": PaymentSystem::kind(&()),
            "metadata": {"name": key.1, "uid": object.metadata.uid},
            "status": status,
        });
        self.metrics.write_of("status", "PaymentSystem");
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let written = match api
            .patch_status(&key.1, &parameters, &Patch::Apply(&patch))
            .await
        {
            Ok(written) => written,
            Err(kube::Error::Api(error)) if error.is_not_found() => return Ok(true),
            Err(kube::Error::Api(error)) if error.is_conflict() => return Ok(false),
            Err(error) => return Err(PassError::Report(Box::new(error))),
        };
        for event in events::on_change(&object, &status) {
            self.metrics.write_of("create", "Event");
            if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
                warn!(%error, "cannot publish an event");
            }
        }
        let version = written
            .resource_version()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        let uid = object.uid().unwrap_or_default();
        self.memory().entry(key.clone()).or_default().status = Some((uid, version, status));
        Ok(true)
    }

    /// Times how long a system takes to be ready as specified. An edit that leaves it ready takes
    /// as long as the pass.
    fn measure(&self, key: &SystemKey, object: &PaymentSystem, status: &PaymentSystemStatus) {
        let before = object.status.as_ref();
        let observed = before.map(|status| status.observed_generation);
        let now = Instant::now();
        if observed != object.metadata.generation {
            self.metrics.seen(key, false, now);
        }
        self.metrics.seen(key, report::is_ready(status), now);
    }

    /// The object with the status this operator wrote last, if the watch has not shown it yet.
    fn with_latest_status(&self, key: &SystemKey, object: &PaymentSystem) -> PaymentSystem {
        let mut object = object.clone();
        let seen: u64 = object
            .resource_version()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        let uid = object.uid().unwrap_or_default();
        let memory = self.memory();
        if let Some((of, version, status)) =
            memory.get(key).and_then(|memory| memory.status.as_ref())
            && *of == uid
            && *version > seen
        {
            object.status = Some(status.clone());
        }
        object
    }
}

/// Writes what a rotation of the credentials has come to. Returns false if a Secret has changed
/// meanwhile.
async fn rotate(
    system: &ValidSystem,
    writer: &Writer<'_>,
    read: &(impl Fn() -> Observed + Sync),
) -> Result<bool, PassError> {
    /// Each Secret is written once between two waits.
    const WRITES_MAX: usize = 8;
    for _ in 0..WRITES_MAX {
        let observed = read();
        let Step::Write(write) = rotation::next(system, &observed) else {
            return Ok(true);
        };
        let mut all = rotation::held(system, &observed).into_iter();
        let Some(held) = all.find(|held| held.secret == write.secret()) else {
            return Ok(true);
        };
        let operations = write
            .operations(system, &observed, &held)
            .map_err(PassError::Credentials)?;
        info!(secret = held.name, "{}", write.name());
        let written = writer.change_secret(&held.name, operations).await;
        if !written.map_err(PassError::Apply)? {
            return Ok(false);
        }
    }
    Ok(false)
}

fn outcome<'a>(
    system: &'a ValidSystem,
    gates: &'a Gates,
    written: &Result<bool, PassError>,
) -> Outcome<'a> {
    match written {
        Ok(_) => Outcome::Done { system, gates },
        Err(error) => Outcome::Failed {
            system,
            gates,
            reason: error.reason(),
            message: chain(error),
        },
    }
}
