//! Wiring: which system is looked at when.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crds::PaymentSystem;
use futures::{
    FutureExt, Stream, StreamExt, TryStreamExt,
    channel::mpsc,
    future::{self, BoxFuture},
    stream,
};
use kube::{
    Client, Resource,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        controller::{Action, Config, applier},
        events::{Recorder, Reporter},
        reflector::{self, ObjectRef, Store, reflector},
        watcher::{self, watcher},
    },
};
use tracing::{debug, error, info, warn};

use crate::{
    FIELD_MANAGER,
    cache::{Cache, SystemKey},
    health::Health,
    leader::Leadership,
    metrics::Metrics,
    pass::{Context, PassError, chain},
    scope::Scope,
    validate::{Settings, named_secrets},
    watches::Watches,
};

type System = DeserializeGuard<PaymentSystem>;

/// Events of one burst are answered by one pass.
const DEBOUNCE: Duration = Duration::from_millis(50);
const CONCURRENCY: u16 = 8;
const BACKOFF_LONGEST: Duration = Duration::from_mins(1);

/// What this process is, beside its client: how it is seen from outside, and whether it leads.
#[derive(Clone)]
pub struct Process {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub leadership: Leadership,
    pub scope: Scope,
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
        scope: Scope::Cluster,
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
        scope,
    } = process;
    let cache = Arc::new(Cache::default());
    let (touch, touched) = mpsc::unbounded();
    let watches = Watches::new(
        client.clone(),
        Arc::clone(&cache),
        touch,
        Arc::clone(&health),
        scope.clone(),
    );
    let tasks = watches.start().await;
    info!("all watches are up");
    let (store, writer) = reflector::store::<System>();
    let context = Arc::new(Context {
        systems: store.clone(),
        recorder: Recorder::new(client.clone(), Reporter::from(FIELD_MANAGER)),
        client: client.clone(),
        cache,
        settings,
        metrics,
        leadership,
        watches,
        memory: Mutex::default(),
    });
    let seen = Arc::clone(&context);
    let systems = reflector(
        writer,
        watcher(scope.api::<System>(client), watcher::Config::default()).default_backoff(),
    )
    .map_ok(|event| event.modify(|system| system.meta_mut().managed_fields = None))
    .inspect(move |event| {
        health.watch("PaymentSystem", event.is_ok());
        match event {
            Ok(watcher::Event::Delete(system)) => seen.forget(&key(system)),
            Ok(watcher::Event::InitDone) => {
                seen.forget_all_but(|key| seen.is_there(key));
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
        let _active = context.metrics.begun(&key);
        match &system.0 {
            Ok(object) if !context.leadership.leads() => {
                let secrets = named_secrets(&object.spec);
                context.watches.name_secrets(&key, &secrets);
                Ok(Action::await_change())
            }
            Ok(object) => {
                let result = Box::pin(context.reconcile(&key, object)).await;
                // It was deleted meanwhile, and what the pass learned of it came too late.
                if !context.is_there(&key) {
                    context.forget(&key);
                }
                result
            }
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
    fn is_there(&self, (namespace, name): &SystemKey) -> bool {
        let system = ObjectRef::<System>::new(name).within(namespace);
        self.systems.get(&system).is_some()
    }

    fn queued(&self, system: &ObjectRef<System>) {
        let namespace = system.namespace.clone().unwrap_or_default();
        self.metrics.queued((namespace, system.name.clone()));
    }
}
