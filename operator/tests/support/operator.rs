//! The operator under test: one that dies at the armed request and is replaced by a healthy one.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use kube::Client;
use payment_operator::{controller, metrics::Metrics, validate::Settings};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::{
    faults::{self, Fault, Plan},
    scenario::{IMAGE, NEW_IMAGE},
};

/// A request, counted from the start of a scenario, and what happens at it.
pub type Point = (usize, Fault);

/// One operator from its start to its death.
struct Life {
    plan: Arc<Plan>,
    metrics: Arc<Metrics>,
    task: AbortOnDropHandle<()>,
}

pub struct Operator {
    shared: Client,
    crashed: Arc<Notify>,
    namespace: String,
    image: Mutex<&'static str>,
    life: Mutex<Life>,
    /// Writes and passes of those that died.
    past_writes: Mutex<Vec<String>>,
    past_passes: AtomicUsize,
    hits: Mutex<Vec<String>>,
    /// Faults of those that come after the first.
    later: Mutex<Vec<Point>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn live(
    (shared, crashed): (&Client, &Arc<Notify>),
    namespace: &str,
    image: &str,
    point: Option<Point>,
) -> Life {
    let plan = Arc::new(Plan::new(Arc::clone(crashed)));
    plan.arm(point);
    let metrics = Arc::new(Metrics::default());
    let client = faults::client(shared.clone(), Arc::clone(&plan), namespace);
    let settings = Settings {
        runtime_image: Some(image.to_owned()),
        simulator_image: Some("registry.example/channel-simulator:1.0".to_owned()),
        ..Settings::default()
    };
    let run = controller::run(
        client,
        settings,
        Arc::clone(&metrics),
        std::future::pending(),
    );
    Life {
        plan,
        metrics,
        task: AbortOnDropHandle::new(tokio::spawn(run)),
    }
}

/// Passes an operator has finished, well or not.
fn passes(metrics: &Metrics) -> usize {
    let text = metrics.text().unwrap();
    text.lines()
        .filter(|line| line.starts_with("payment_operator_passes_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
        .sum()
}

/// Whether no pass is being made, and none waits to be.
fn is_idle(metrics: &Metrics) -> bool {
    let text = metrics.text().unwrap();
    let zero = |name: &str| {
        let line = format!("payment_operator_{name} 0");
        text.lines().any(|known| known == line)
    };
    zero("active_passes") && zero("queue_depth")
}

impl Operator {
    /// Starts an operator; its requests fail as armed, if at all.
    pub fn start(shared: Client, namespace: &str, point: Option<Point>) -> Self {
        let crashed = Arc::default();
        let life = live((&shared, &crashed), namespace, IMAGE, point);
        Self {
            shared,
            crashed,
            namespace: namespace.to_owned(),
            image: Mutex::new(IMAGE),
            life: Mutex::new(life),
            past_writes: Mutex::default(),
            past_passes: AtomicUsize::new(0),
            hits: Mutex::default(),
            later: Mutex::default(),
        }
    }

    /// From now on requests count from 1 and fail as said: the first point is for this operator,
    /// each further one for the next that is started.
    pub fn arm(&self, points: &[Point]) {
        let first = points.first().copied();
        lock(&self.life).plan.arm(first);
        *lock(&self.later) = points.iter().skip(1).copied().collect();
    }

    /// Whether the present operator has nothing to do.
    pub fn is_idle(&self) -> bool {
        is_idle(&lock(&self.life).metrics)
    }

    /// What goes through the client of the present operator.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&lock(&self.life).plan)
    }

    /// Requests since it was armed.
    pub fn counted(&self) -> usize {
        self.plan().counted()
    }

    /// Replaces each operator that is to die. Never ends by itself.
    pub async fn keep_alive(&self) {
        loop {
            self.crashed.notified().await;
            let point = {
                let mut later = lock(&self.later);
                (!later.is_empty()).then(|| later.remove(0))
            };
            self.replace(point).await;
        }
    }

    /// Replaces the operator by one that runs another image by default, and arms that one.
    pub async fn upgrade(&self, points: &[Point]) {
        *lock(&self.image) = NEW_IMAGE;
        *lock(&self.later) = points.iter().skip(1).copied().collect();
        self.replace(points.first().copied()).await;
    }

    async fn replace(&self, point: Option<Point>) {
        self.plan().silence();
        let image = *lock(&self.image);
        let next = live((&self.shared, &self.crashed), &self.namespace, image, point);
        let old = std::mem::replace(&mut *lock(&self.life), next);
        old.task.abort();
        lock(&self.hits).extend(old.plan.hit());
        lock(&self.past_writes).extend(old.plan.writes());
        self.past_passes
            .fetch_add(passes(&old.metrics), Ordering::Relaxed);
        let _ = old.task.await;
    }

    /// The requests that were spoilt.
    pub fn hits(&self) -> Vec<String> {
        let mut hits = lock(&self.hits).clone();
        hits.extend(self.plan().hit());
        hits
    }

    /// All requests that changed something.
    pub fn writes(&self) -> Vec<String> {
        let mut writes = lock(&self.past_writes).clone();
        writes.extend(self.plan().writes());
        writes
    }

    /// Passes finished so far.
    pub fn passes(&self) -> usize {
        self.past_passes.load(Ordering::Relaxed) + passes(&lock(&self.life).metrics)
    }
}
