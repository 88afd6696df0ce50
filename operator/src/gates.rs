//! Which parts of a system work, what each waits for, and therefore what may be created.
//!
//! Pure. Order: stores → coordinator → migration → services → operations. A gate holds back only
//! the *creation* of later objects; what exists is corrected whatever the gates say, except where
//! correcting it would start pods that cannot run (a missing Secret).

mod secrets;
mod trouble;

use contract::Role;
use serde_json::Value;

use crate::{
    apply::Refusal,
    build::{Manifest, Stage, labels::component, mysql, names, runtime, stop},
    kinds::Kind,
    observe::Observed,
    rollout::Waiting,
    validate::ValidSystem,
};
pub(crate) use trouble::trouble;

/// Condition types of the parts. Part of the API: never reword.
pub mod condition {
    pub const CHANNELS: &str = "ChannelsConfigured";
    pub const DATABASE: &str = "DatabaseReady";
    pub const CACHE: &str = "CacheReady";
    pub const SIMULATOR: &str = "SimulatorAvailable";
    pub const COORDINATOR: &str = "CoordinatorReady";
    pub const SCHEMA: &str = "SchemaMigrated";
    pub const PAYMENT: &str = "PaymentAvailable";
    pub const CALLBACK: &str = "CallbackAvailable";
    pub const WORKER: &str = "WorkerAvailable";
    pub const ORDERS: &str = "OrdersAvailable";
    pub const RECONCILIATION: &str = "ReconciliationAvailable";
    pub const RECONCILIATION_SECRETS: &str = "ReconciliationConfigured";
    pub const PAYMENT_CERTIFICATE: &str = "PaymentCertificatePresent";
    pub const CALLBACK_CERTIFICATE: &str = "CallbackCertificatePresent";
    pub const SCHEDULE: &str = "ReconciliationScheduled";
    /// There, and false, only after a rollout was taken back.
    pub const ROLLOUT: &str = "RolloutAccepted";
    /// There, and false, only while objects are kept as another version of the operator made them.
    pub const RENDERING: &str = "RenderingCurrent";
}

/// How far one part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub condition: &'static str,
    pub ready: bool,
    /// What comes later may be created.
    pub open: bool,
    /// Waiting cannot help: someone must act.
    pub failed: bool,
    pub reason: &'static str,
    pub message: String,
    /// The workload it stands for.
    pub workload: Option<String>,
}

impl Part {
    fn ready(condition: &'static str, reason: &'static str, message: String) -> Self {
        Self {
            condition,
            ready: true,
            open: true,
            failed: false,
            reason,
            message,
            workload: None,
        }
    }

    fn waiting(condition: &'static str, reason: &'static str, message: String) -> Self {
        Self {
            ready: false,
            open: false,
            ..Self::ready(condition, reason, message)
        }
    }

    pub fn failed(condition: &'static str, reason: &'static str, message: String) -> Self {
        Self {
            failed: true,
            ..Self::waiting(condition, reason, message)
        }
    }
}

/// All parts, in the order in which they start.
#[derive(Clone, Debug)]
pub struct Gates {
    pub parts: Vec<Part>,
}

/// Looks at every part of a system.
pub fn gates(system: &ValidSystem, observed: &Observed) -> Gates {
    let name = &system.name;
    let spec = &system.spec;
    let workload = |condition, kind, name: String, component| {
        Workload {
            condition,
            kind,
            name,
            component,
        }
        .part(observed)
    };
    let mut parts = vec![
        secrets::channels(system, observed),
        database(system, observed),
        cache(system, observed),
    ];
    if spec.channels.simulator {
        let simulator = names::simulator(name);
        parts.push(workload(
            condition::SIMULATOR,
            Kind::Deployment,
            simulator,
            component::SIMULATOR,
        ));
    }
    parts.push(match &spec.transaction_coordinator.external {
        Some(external) => {
            let message = format!("using {}:{}", external.host, external.port);
            let authority = system.coordinator_authority();
            secrets::authority(observed, condition::COORDINATOR, authority)
                .unwrap_or_else(|| Part::ready(condition::COORDINATOR, "External", message))
        }
        None => workload(
            condition::COORDINATOR,
            Kind::StatefulSet,
            names::coordinator(name),
            component::COORDINATOR,
        ),
    });
    parts.push(migration(system, observed));
    parts.extend(secrets::reconciliation(system, observed));
    parts.extend(secrets::certificates(system, observed));
    for (condition, deployment, component) in [
        (condition::PAYMENT, names::payment(name), component::PAYMENT),
        (
            condition::CALLBACK,
            names::callback(name),
            component::CALLBACK,
        ),
        (condition::WORKER, names::worker(name), component::WORKER),
        (
            condition::RECONCILIATION,
            names::reconciliation(name),
            component::RECONCILIATION,
        ),
    ] {
        parts.push(workload(condition, Kind::Deployment, deployment, component));
    }
    parts.extend(orders(system, observed));
    parts.push(schedule(system, observed));
    Gates { parts }
}

impl Gates {
    /// Whether a manifest that is absent may be created.
    pub fn may_create(&self, manifest: &Manifest) -> bool {
        use condition::{
            CACHE, CALLBACK, CHANNELS, COORDINATOR, DATABASE, ORDERS, PAYMENT, RECONCILIATION,
            SCHEMA, WORKER,
        };
        let waits_for: &[&str] = match manifest.stage {
            Stage::Stores => &[],
            Stage::Coordinator => &[DATABASE, CACHE],
            Stage::Migration => &[DATABASE, CACHE, COORDINATOR],
            Stage::Services => &[DATABASE, CACHE, COORDINATOR, SCHEMA, CHANNELS],
            Stage::Operations => &[
                DATABASE,
                CACHE,
                COORDINATOR,
                SCHEMA,
                CHANNELS,
                PAYMENT,
                CALLBACK,
                WORKER,
                ORDERS,
                RECONCILIATION,
            ],
        };
        // Without its Secret the reconciliation does not start; what else is due does not wait.
        let skipped = self.lacks_secret(condition::RECONCILIATION_SECRETS);
        let waits = |part: &Part| {
            waits_for.contains(&part.condition) && !(skipped && part.condition == RECONCILIATION)
        };
        self.may_change(manifest) && self.parts.iter().all(|part| part.open || !waits(part))
    }

    /// Whether a manifest that exists may be corrected: not while its pods could not start for
    /// lack of a Secret. One that starts none, as while the system stops, may always be.
    pub fn may_change(&self, manifest: &Manifest) -> bool {
        let spec = &manifest.value["spec"];
        let starts_none = spec["replicas"] == 0 || spec["suspend"] == true;
        let runs_pods = !starts_none
            && matches!(
                manifest.kind,
                Kind::StatefulSet | Kind::Deployment | Kind::Job | Kind::CronJob
            );
        let channels = matches!(manifest.stage, Stage::Services | Stage::Operations);
        let own = match manifest.component() {
            component::RECONCILIATION => Some(condition::RECONCILIATION_SECRETS),
            component::PAYMENT => Some(condition::PAYMENT_CERTIFICATE),
            component::CALLBACK => Some(condition::CALLBACK_CERTIFICATE),
            // Who takes part in global transactions verifies the coordinator.
            component::WORKER | component::ORDERS => Some(condition::COORDINATOR),
            _ => None,
        };
        !runs_pods
            || !(self.lacks_secret(condition::DATABASE)
                || self.lacks_secret(condition::CACHE)
                || channels && self.lacks_secret(condition::CHANNELS)
                || own.is_some_and(|condition| self.lacks_secret(condition)))
    }

    fn lacks_secret(&self, condition: &str) -> bool {
        self.parts
            .iter()
            .any(|part| part.condition == condition && secrets::REASONS.contains(&part.reason))
    }

    /// Takes note of workloads whose change waits for another: they work, but not as specified.
    pub fn wait(&mut self, waiting: &[Waiting]) {
        for waiting in waiting {
            let mut parts = self.parts.iter_mut();
            let of = |part: &&mut Part| part.workload.as_deref() == Some(&waiting.name);
            if let Some(part) = parts.find(of).filter(|part| part.ready) {
                part.ready = false;
                part.reason = "WaitingToRoll";
                part.message = format!(
                    "{} {} is rolled after {}",
                    waiting.kind.name(),
                    waiting.name,
                    waiting.behind
                );
            }
        }
    }

    /// Takes note of stores whose volume cannot be what it is to be: they work, but not as
    /// specified.
    pub fn refuse(&mut self, refusals: &[Refusal]) {
        for refusal in refusals {
            let condition = match refusal.component.as_str() {
                component::MYSQL => condition::DATABASE,
                _ => condition::CACHE,
            };
            let mut parts = self.parts.iter_mut();
            let of = |part: &&mut Part| part.condition == condition && part.ready;
            if let Some(part) = parts.find(of) {
                part.ready = false;
                part.failed = true;
                part.reason = "VolumeCannotGrow";
                part.message.clone_from(&refusal.message);
            }
        }
    }

    /// The schema is what the specified image needs.
    pub fn migrated(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| part.condition == condition::SCHEMA && part.ready)
    }

    pub fn ready(&self) -> bool {
        self.parts.iter().all(|part| part.ready)
    }

    /// The first part that is not ready.
    pub fn blocking(&self) -> Option<&Part> {
        let failed = self.parts.iter().find(|part| part.failed);
        failed.or_else(|| self.parts.iter().find(|part| !part.ready))
    }
}

fn database(system: &ValidSystem, observed: &Observed) -> Part {
    let secret = system.mysql_secret();
    let managed_coordinator = system.spec.transaction_coordinator.external.is_none();
    if let Some(external) = &system.spec.mysql.external {
        let mut keys = vec!["password"];
        keys.extend(managed_coordinator.then_some("coordinator-password"));
        keys.extend(system.orders().map(|_| "orders-password"));
        let message = format!("using {}:{}", external.host, external.port);
        return secrets::fault(observed, condition::DATABASE, &secret, &keys)
            .or_else(|| secrets::authority(observed, condition::DATABASE, system.mysql_authority()))
            .unwrap_or_else(|| Part::ready(condition::DATABASE, "External", message));
    }
    let fault = mysql::passwords(system)
        .into_iter()
        .find_map(|(secret, keys)| {
            secrets::fault(observed, condition::DATABASE, &secret, keys)
                .or_else(|| secrets::unquotable(observed, &secret, keys))
        });
    let tls = system.spec.mysql.tls.as_ref();
    let fault = fault.or_else(|| secrets::certificate(observed, condition::DATABASE, tls));
    fault.unwrap_or_else(|| {
        Workload {
            condition: condition::DATABASE,
            kind: Kind::StatefulSet,
            name: names::mysql(&system.name),
            component: component::MYSQL,
        }
        .part(observed)
    })
}

/// The order service, where payments are confirmed with one.
fn orders(system: &ValidSystem, observed: &Observed) -> Option<Part> {
    let orders = system.spec.orders.as_ref()?;
    if let Some(external) = &orders.external {
        let message = format!("using {}", external.url);
        return Some(Part::ready(condition::ORDERS, "External", message));
    }
    let workload = Workload {
        condition: condition::ORDERS,
        kind: Kind::Deployment,
        name: names::orders(&system.name),
        component: component::ORDERS,
    };
    Some(workload.part(observed))
}

fn cache(system: &ValidSystem, observed: &Observed) -> Part {
    let fault = system
        .redis_secret()
        .and_then(|secret| secrets::fault(observed, condition::CACHE, &secret, &["password"]))
        .or_else(|| {
            secrets::certificate(observed, condition::CACHE, system.spec.redis.tls.as_ref())
        })
        .or_else(|| secrets::authority(observed, condition::CACHE, system.redis_authority()));
    if let Some(fault) = fault {
        return fault;
    }
    match &system.spec.redis.external {
        Some(external) => {
            let message = format!("using {}:{}", external.host, external.port);
            Part::ready(condition::CACHE, "External", message)
        }
        None => Workload {
            condition: condition::CACHE,
            kind: Kind::StatefulSet,
            name: names::redis(&system.name),
            component: component::REDIS,
        }
        .part(observed),
    }
}

/// A StatefulSet or Deployment and the condition it stands for.
struct Workload {
    condition: &'static str,
    kind: Kind,
    name: String,
    component: &'static str,
}

impl Workload {
    fn part(&self, observed: &Observed) -> Part {
        Part {
            workload: Some(self.name.clone()),
            ..self.state(observed)
        }
    }

    fn state(&self, observed: &Observed) -> Part {
        let kind = self.kind.name();
        let name = &self.name;
        let Some(live) = observed.value(self.kind, name) else {
            let message = format!("{kind} {name} is not created yet");
            return Part::waiting(self.condition, "Pending", message);
        };
        let replicas = Replicas::of(&live);
        if replicas.wanted == 0 && stop::is_stopped(&live) {
            let message = format!("{kind} {name} is stopped");
            return Part::waiting(self.condition, "Stopped", message);
        }
        let (ready, wanted) = (replicas.ready, replicas.wanted);
        if wanted == 0 {
            let message = format!(
                "{kind} {name} was scaled to 0: `kubectl scale {} {name} --replicas=1` hands it back to its autoscaler",
                kind.to_lowercase()
            );
            return Part::waiting(self.condition, "ScaledToZero", message);
        }
        if replicas.complete() {
            let message = format!("{kind} {name}: {ready}/{wanted} ready");
            return Part::ready(self.condition, "Available", message);
        }
        let trouble = trouble(observed, self.component);
        let failed = trouble.as_ref().is_some_and(|trouble| trouble.failed);
        let reason = trouble
            .as_ref()
            .and_then(|trouble| trouble.reason)
            .unwrap_or("WaitingForPods");
        let pod = trouble
            .map(|trouble| format!("; {}", trouble.message))
            .unwrap_or_default();
        let message = format!("waiting for {kind} {name}: {ready}/{wanted} ready{pod}");
        Part {
            open: ready > 0,
            failed,
            ..Part::waiting(self.condition, reason, message)
        }
    }
}

/// Replica counts of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub ready: i64,
    pub wanted: i64,
    updated: i64,
    available: i64,
    /// Those of former templates as well.
    all: i64,
    observed: bool,
}

impl Replicas {
    pub fn of(live: &Value) -> Self {
        let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64);
        Self {
            ready: number("/status/readyReplicas").unwrap_or(0),
            wanted: number("/spec/replicas").unwrap_or(1),
            updated: number("/status/updatedReplicas").unwrap_or(0),
            available: number("/status/availableReplicas").unwrap_or(0),
            all: number("/status/replicas").unwrap_or(0),
            observed: number("/status/observedGeneration") >= number("/metadata/generation"),
        }
    }

    /// Pods are there.
    pub const fn any(self) -> bool {
        self.all > 0
    }

    /// No pod is wanted, and none is left.
    pub const fn none(self) -> bool {
        self.observed && self.wanted == 0 && self.all == 0
    }

    /// All replicas are ready and run the present template.
    pub const fn complete(self) -> bool {
        self.observed && self.ready >= self.wanted && self.updated >= self.wanted
    }

    /// Pods of an earlier template are left, or one of the present template has not proved itself
    /// yet.
    pub const fn rolling(self) -> bool {
        !self.complete() || self.available < self.wanted || self.all > self.wanted
    }

    /// And none of a former template is left but those that are ending.
    pub const fn rolled(self) -> bool {
        self.complete() && self.all == self.updated
    }
}

fn job_condition(job: &Value, kind: &str) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == kind && condition["status"] == "True")
    })
}

/// Whether a Job has failed for good.
pub fn failed(job: &Value) -> bool {
    job_condition(job, "Failed")
}

/// Whether a Job has ended well. Its pod says so some seconds before the Job's status does, and
/// everybody is waiting.
pub fn ended_well(job: &Value, observed: &Observed) -> bool {
    let uid = &job["metadata"]["uid"];
    let of_job = |pod: &Value| {
        uid.is_string() && pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == *uid
    };
    job_condition(job, "Complete")
        || observed
            .pods()
            .any(|pod| of_job(&pod) && pod["status"]["phase"] == "Succeeded")
}

fn migration(system: &ValidSystem, observed: &Observed) -> Part {
    if system.gone_back {
        let message = "the schema stays as the rollout that was taken back left it".to_owned();
        return Part::ready(condition::SCHEMA, "Migrated", message);
    }
    let name = runtime::migration_name(system, observed);
    let Some(job) = observed.value(Kind::Job, &name) else {
        let message = format!("Job {name} is not created yet");
        return Part::waiting(condition::SCHEMA, "Pending", message);
    };
    if ended_well(&job, observed) {
        return Part::ready(
            condition::SCHEMA,
            "Migrated",
            format!("Job {name} has completed"),
        );
    }
    if failed(&job) {
        let message = format!(
            "Job {name} has failed: read `kubectl logs job/{name}`, then delete the Job to try again"
        );
        return Part::failed(condition::SCHEMA, "MigrationFailed", message);
    }
    let pod = trouble(observed, component::MIGRATION);
    let failed = pod.as_ref().is_some_and(|pod| pod.failed);
    let detail = pod
        .map(|pod| format!("; {}", pod.message))
        .unwrap_or_default();
    let role = Role::Migrate;
    Part {
        failed,
        ..Part::waiting(
            condition::SCHEMA,
            "Migrating",
            format!("waiting for Job {name} ({role}){detail}"),
        )
    }
}

fn schedule(system: &ValidSystem, observed: &Observed) -> Part {
    let name = names::reconciliation(&system.name);
    let Some(live) = observed.value(Kind::CronJob, &name) else {
        let message = format!("CronJob {name} is not created yet");
        return Part::waiting(condition::SCHEDULE, "Pending", message);
    };
    if stop::is_stopped(&live) {
        let message = format!("CronJob {name} is stopped");
        return Part::waiting(condition::SCHEDULE, "Stopped", message);
    }
    let reconciliation = &system.spec.reconciliation;
    if reconciliation.suspend {
        let message = format!("CronJob {name} is suspended by spec.reconciliation.suspend");
        return Part::ready(condition::SCHEDULE, "Suspended", message);
    }
    let message = format!("CronJob {name} runs at {}", reconciliation.schedule);
    Part::ready(condition::SCHEDULE, "Scheduled", message)
}

/// The image services run: the specified one once its schema is there, until then the one that
/// is live.
pub fn rolled_image(system: &ValidSystem, observed: &Observed) -> String {
    let live = || {
        let deployment = observed.value(Kind::Deployment, &names::payment(&system.name))?;
        let image = deployment.pointer("/spec/template/spec/containers/0/image")?;
        image.as_str().map(str::to_owned)
    };
    let job = observed.value(Kind::Job, &runtime::migration_name(system, observed));
    if system.gone_back || job.is_some_and(|job| ended_well(&job, observed)) {
        system.runtime_image.clone()
    } else {
        live().unwrap_or_else(|| system.runtime_image.clone())
    }
}
