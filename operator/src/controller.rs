//! Wiring: which system is looked at when, and one pass over it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
        events::{Event, Recorder, Reporter},
        reflector::{self, ObjectRef, Store, reflector},
        watcher::{self, watcher},
    },
};
use serde_json::json;
use tracing::{debug, error, info, warn};

use crate::{
    FIELD_MANAGER,
    acceptance::{self, Accepted},
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
    report::{self, Outcome, Said},
    rollout,
    rotation::{self, Step},
    traffic::{self, Work},
    validate::{Settings, ValidSystem, named_secrets, validate},
    watches::Watches,
};

type System = DeserializeGuard<PaymentSystem>;

/// How often a system is looked at without a cause. A pass at rest makes no request.
const RESYNC: Duration = Duration::from_mins(10);
/// Events of one burst are answered by one pass.
const DEBOUNCE: Duration = Duration::from_millis(50);
const CONCURRENCY: u16 = 8;
/// How often pods are asked while a service is rolled.
const LOOK: Duration = Duration::from_secs(2);
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
    /// What the pods of a rolling service had done when the rollout was first looked at.
    work: BTreeMap<String, Work>,
}

/// What a pass wrote.
struct Written {
    /// Nothing had changed meanwhile.
    current: bool,
    plan: rollout::Plan,
}

impl Written {
    fn nothing() -> Self {
        Self {
            current: true,
            plan: rollout::Plan::default(),
        }
    }
}

/// What was seen of services that are being rolled.
#[derive(Default)]
struct Watching {
    /// Why the rollout is taken back.
    refusal: Option<String>,
    rolling: bool,
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
            Ok(object) => Box::pin(context.reconcile(&key, object)).await,
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
        self.watches.name_secrets(key, &BTreeSet::new());
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
        let object = &self.with_latest_status(key, object);
        let accepted = self.accepted(key, object);
        let back = acceptance::gone_back(object, &self.settings, accepted.as_ref());
        let (built, settings) = back
            .as_ref()
            .map_or((object, &self.settings), |(object, settings)| {
                (object, settings)
            });
        let secrets = named_secrets(&built.spec);
        self.watches.name_secrets(key, &secrets);
        let read = || Observed::read(&self.cache, key, &secrets);
        let system = match validate(built, settings) {
            Ok(system) => ValidSystem {
                gone_back: back.is_some(),
                restart_reasons: accepted
                    .map(|accepted| accepted.restart_reasons)
                    .unwrap_or_default(),
                ..system
            },
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
            Ok(Written::nothing())
        } else {
            self.write(&system, &read).await
        };
        let observed = read();
        let mut gates = gates(&system, &observed);
        let watching = if back.is_none() && !object.spec.paused {
            self.watch_rollout(key, &system, &observed).await
        } else {
            Watching::default()
        };
        let said = self.said(object, &system, &written, watching.refusal);
        said.note(&mut gates);
        let outcome = outcome(&system, &gates, &written, &said);
        let reported = self.report(key, object, &observed, &outcome).await?;
        let written = written?;
        self.tell_restarts(object, &written.plan).await;
        let current = written.current && reported;
        self.metrics.pass("done");
        self.memory().entry(key.clone()).or_default().failures = 0;
        Ok(Action::requeue(match (current, watching.rolling) {
            (false, _) => AGAIN,
            (true, true) => LOOK,
            (true, false) => RESYNC,
        }))
    }

    /// The specification that was accepted, where the present one was taken back.
    fn accepted(&self, key: &SystemKey, object: &PaymentSystem) -> Option<Accepted> {
        acceptance::refused(object, &self.settings)?;
        let observed = Observed::read(&self.cache, key, &BTreeSet::new());
        acceptance::accepted(&observed, &key.1)
    }

    /// Looks at the pods of services that are being rolled.
    async fn watch_rollout(
        &self,
        key: &SystemKey,
        system: &ValidSystem,
        observed: &Observed,
    ) -> Watching {
        let rolling = acceptance::undecided(system, observed);
        let services = acceptance::watched(&rolling, observed);
        if services.is_empty() {
            if let Some(memory) = self.memory().get_mut(key) {
                memory.work.clear();
            }
            return Watching {
                refusal: acceptance::stuck(&rolling, observed),
                rolling: false,
            };
        }
        let pods = services
            .iter()
            .flat_map(|pods| pods.new.iter().chain(&pods.old));
        let work = traffic::read(pods.cloned().collect()).await;
        let before = {
            let mut memory = self.memory();
            let before = &mut memory.entry(key.clone()).or_default().work;
            for (pod, work) in &work {
                before.entry(pod.clone()).or_insert(*work);
            }
            before.clone()
        };
        let judged = services
            .iter()
            .find_map(|pods| acceptance::judge(pods, &work, &before));
        Watching {
            refusal: judged.or_else(|| acceptance::stuck(&rolling, observed)),
            rolling: true,
        }
    }

    fn said(
        &self,
        object: &PaymentSystem,
        system: &ValidSystem,
        written: &Result<Written, PassError>,
        refusal: Option<String>,
    ) -> Said {
        let before = object.status.as_ref();
        let refusal = refusal.map(|message| (message, Timestamp::now().to_string()));
        let plan = written.as_ref().map(|written| &written.plan).ok();
        Said {
            rollout: acceptance::status(object, &self.settings, refusal),
            rendering: rollout::rendering(
                system,
                before.and_then(|status| status.rendering.clone()),
                plan,
            ),
            waiting: plan.map(|plan| plan.waiting.clone()).unwrap_or_default(),
            kept: plan.map(|plan| plan.kept.clone()).unwrap_or_default(),
            generation: system.generation,
        }
    }

    /// An event for every workload of which pods are restarted now.
    async fn tell_restarts(&self, object: &PaymentSystem, plan: &rollout::Plan) {
        for restart in &plan.restarts {
            info!(
                kind = restart.kind.name(),
                name = restart.name,
                reason = restart.reason,
                "rolling"
            );
            let event = events::restart(restart, object.namespace());
            self.publish(object, &event).await;
        }
    }

    /// Makes missing credentials, then applies every manifest whose gate is open and whose turn it
    /// is.
    async fn write(
        &self,
        system: &ValidSystem,
        read: &(impl Fn() -> Observed + Sync),
    ) -> Result<Written, PassError> {
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
            return Ok(Written {
                current: false,
                plan: rollout::Plan::default(),
            });
        }
        observed = read();
        let manifests = build(system, &observed).map_err(PassError::Build)?;
        let gates = gates(system, &observed);
        let mut plan = rollout::plan(system, &observed, &gates, manifests);
        plan.manifests.extend(acceptance::kept(system, &observed));
        let current = writer
            .apply(system, &observed, &gates, &plan.manifests)
            .await
            .map_err(PassError::Apply)?;
        // Nothing need happen any more once everything is ready: it is accepted at once.
        let written = Written { current, plan };
        self.accept(system, &writer, &read(), &written).await?;
        Ok(written)
    }

    /// Keeps the specification as one under which everything is ready, if it is.
    async fn accept(
        &self,
        system: &ValidSystem,
        writer: &Writer<'_>,
        observed: &Observed,
        written: &Written,
    ) -> Result<(), PassError> {
        let gates = gates(system, observed);
        let manifest = acceptance::manifest(system, observed, &gates, &written.plan);
        let Some(manifest) = manifest.filter(|_| written.current) else {
            return Ok(());
        };
        writer
            .apply_one(
                &manifest,
                observed.get(manifest.kind, &manifest.name),
                &gates,
            )
            .await
            .map(drop)
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
            self.publish(&object, &event).await;
        }
        let version = written
            .resource_version()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        let uid = object.uid().unwrap_or_default();
        self.memory().entry(key.clone()).or_default().status = Some((uid, version, status));
        Ok(true)
    }

    async fn publish(&self, object: &PaymentSystem, event: &Event) {
        self.metrics.write_of("create", "Event");
        if let Err(error) = self.recorder.publish(event, &object.object_ref(&())).await {
            warn!(%error, "cannot publish an event");
        }
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
    written: &Result<Written, PassError>,
    said: &'a Said,
) -> Outcome<'a> {
    match written {
        Ok(_) => Outcome::Done {
            system,
            gates,
            said,
        },
        Err(error) => Outcome::Failed {
            system,
            gates,
            said,
            reason: error.reason(),
            message: chain(error),
        },
    }
}
