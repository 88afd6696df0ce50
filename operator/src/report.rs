//! The status: computed from what was observed, written only if it differs.
//!
//! Pure except for the clock, which comes in as an argument and only dates changes.

mod runs;

use crds::{
    PaymentSystem, PaymentSystemStatus,
    status::{Component, CredentialsStatus, Rendering, Rollout, Scale},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::Value;

use crate::{
    acceptance,
    apply::Refusal,
    build::{
        labels::{self, component},
        names, stop,
    },
    gates::{self, Gates, Part, Replicas},
    kinds::Kind,
    observe::Observed,
    rollout::Waiting,
    rotation,
    validate::{Invalid, ValidSystem},
};

/// Bytes of a condition's message, and of an event's note: there the API allows 1024.
pub const MESSAGE_MAX: usize = 1000;

pub const READY: &str = "Ready";
pub const RECONCILING: &str = "Reconciling";
pub const STALLED: &str = "Stalled";
/// There only while the specification says so.
pub const PAUSED: &str = "Paused";
/// There only while the specification says so; false until the last pod is gone.
pub const STOPPED: &str = "Stopped";

/// What a pass came to.
pub enum Outcome<'a> {
    /// The specification cannot work until it is changed.
    Invalid(&'a Invalid),
    /// A request or a rendering failed; it is tried again.
    Failed {
        system: &'a ValidSystem,
        gates: &'a Gates,
        said: &'a Said,
        reason: &'static str,
        message: String,
    },
    Done {
        system: &'a ValidSystem,
        gates: &'a Gates,
        said: &'a Said,
    },
}

/// What is said of rollouts beside the parts.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub rollout: Option<Rollout>,
    pub rendering: Option<Rendering>,
    pub waiting: Vec<Waiting>,
    pub refusals: Vec<Refusal>,
    /// Objects that are kept as another version of the operator made them.
    pub kept: Vec<String>,
    /// Generation of the specification the system is built from.
    pub generation: i64,
}

impl Said {
    /// Adds to the parts what waits for its turn, what cannot be, and a rollout that was taken
    /// back.
    pub fn note(&self, gates: &mut Gates) {
        gates.wait(&self.waiting);
        gates.refuse(&self.refusals);
        let refused = self
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.refused.as_ref());
        gates.parts.extend(refused.map(|refused| {
            let accepted = (self.generation != refused.generation).then_some(self.generation);
            let message = acceptance::told(refused, accepted);
            Part::failed(gates::condition::ROLLOUT, "RolledBack", message)
        }));
    }
}

/// The status a system should have.
pub fn status(
    object: &PaymentSystem,
    observed: &Observed,
    outcome: &Outcome<'_>,
    now: Timestamp,
) -> PaymentSystemStatus {
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let last_reconciliation = runs::last(observed, before.last_reconciliation);
    let mut conditions = conditions(object, observed, outcome);
    conditions.extend(rotating(observed, outcome));
    let tolerated = object.spec.reconciliation.difference_threshold;
    conditions.extend(
        last_reconciliation
            .as_ref()
            .map(|run| runs::condition(run, tolerated)),
    );
    for condition in &mut conditions {
        condition.observed_generation = Some(generation);
        let same = before
            .conditions
            .iter()
            .find(|old| old.type_ == condition.type_ && old.status == condition.status);
        condition.last_transition_time =
            same.map_or(Time(now), |old| old.last_transition_time.clone());
    }
    let credentials = credentials(before.credentials, observed, outcome);
    let (version, payment, callback, scale) = match outcome {
        Outcome::Invalid(_) => (
            before.version,
            before.payment,
            before.callback,
            before.scale,
        ),
        Outcome::Failed { system, .. } | Outcome::Done { system, .. } => (
            Some(version(&crate::gates::rolled_image(system, observed))),
            replicas(observed, &names::payment(&system.name)),
            replicas(observed, &names::callback(&system.name)),
            scale(system, observed),
        ),
    };
    let (rollout, rendering) = match outcome {
        Outcome::Invalid(_) => (before.rollout, before.rendering),
        Outcome::Failed { said, .. } | Outcome::Done { said, .. } => {
            (said.rollout.clone(), said.rendering.clone())
        }
    };
    PaymentSystemStatus {
        observed_generation: generation,
        conditions,
        components: components(observed),
        version,
        payment,
        callback,
        scale,
        credentials,
        last_reconciliation,
        rollout,
        rendering,
    }
}

/// The rotation that is done; while another one is under way, the one before.
fn credentials(
    before: Option<CredentialsStatus>,
    observed: &Observed,
    outcome: &Outcome<'_>,
) -> Option<CredentialsStatus> {
    let (Outcome::Failed { system, .. } | Outcome::Done { system, .. }) = outcome else {
        return before;
    };
    match rotation::reached(system, observed) {
        Some(rotation) => Some(CredentialsStatus { rotation }),
        None if system.spec.credentials.is_some() => before,
        None => None,
    }
}

fn rotating(observed: &Observed, outcome: &Outcome<'_>) -> Option<Condition> {
    let (Outcome::Failed { system, .. } | Outcome::Done { system, .. }) = outcome else {
        return None;
    };
    let (reason, message) = rotation::condition(system, observed)?;
    Some(condition(rotation::CONDITION, true, reason, &message))
}

/// Whether a status only tells how far the operator is with what it told before.
pub fn is_progress(before: &PaymentSystemStatus, status: &PaymentSystemStatus) -> bool {
    let gist = |status: &PaymentSystemStatus| {
        let summary = [READY, RECONCILING, STALLED, PAUSED, STOPPED];
        let conditions = status.conditions.iter();
        let told = conditions.filter(|condition| summary.contains(&condition.type_.as_str()));
        let told: Vec<_> = told.map(|c| (c.type_.clone(), c.status.clone())).collect();
        (status.observed_generation, told, status.rollout.clone())
    };
    gist(before) == gist(status)
}

/// Whether a status says that the system is as its owner wants it: ready, or stopped, and no
/// rotation of its credentials under way.
pub fn is_settled(status: &PaymentSystemStatus) -> bool {
    let rotating = find(status, rotation::CONDITION).is_some();
    holds(status, STOPPED) || holds(status, READY) && !rotating
}

/// A condition of a status.
pub fn find<'a>(status: &'a PaymentSystemStatus, kind: &str) -> Option<&'a Condition> {
    let mut conditions = status.conditions.iter();
    conditions.find(|condition| condition.type_ == kind)
}

/// Whether a condition is there and true.
pub fn holds(status: &PaymentSystemStatus, kind: &str) -> bool {
    find(status, kind).is_some_and(|condition| condition.status == "True")
}

/// At most so many bytes of a text.
pub fn cut(text: &str, bytes_max: usize) -> String {
    const MARK: char = '…';
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MARK.len_utf8()));
    format!("{}{MARK}", &text[..end])
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: cut(message, MESSAGE_MAX),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

fn conditions(
    object: &PaymentSystem,
    observed: &Observed,
    outcome: &Outcome<'_>,
) -> Vec<Condition> {
    match outcome {
        Outcome::Invalid(error) => {
            let message = error.to_string();
            vec![
                condition(READY, false, error.reason(), &message),
                condition(STALLED, true, error.reason(), &message),
            ]
        }
        Outcome::Failed {
            gates,
            reason,
            message,
            ..
        } => {
            let mut all = vec![
                condition(READY, false, reason, message),
                condition(RECONCILING, true, reason, message),
            ];
            all.extend(gates.parts.iter().map(part_condition));
            all
        }
        Outcome::Done { gates, said, .. } => {
            let mut all = if object.spec.paused {
                paused(gates)
            } else if object.spec.stopped {
                stopped(observed)
            } else {
                summary(gates)
            };
            all.extend(gates.parts.iter().map(part_condition));
            all.extend(kept(object, said));
            all
        }
    }
}

/// That objects are kept as another version of the operator made them.
fn kept(object: &PaymentSystem, said: &Said) -> Option<Condition> {
    let by = &said.rendering.as_ref()?.operator;
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    // The list may be long, and is cut then.
    let message = format!(
        "with the next edit of the specification, or now by `kubectl annotate paysys/{name} -n {namespace} {}=$(date +%s) --overwrite`, this operator takes over, restarting what it must, what operator {by} made: {}",
        labels::TAKE_RENDERING,
        said.kept.join(", "),
    );
    let kind = gates::condition::RENDERING;
    (!said.kept.is_empty()).then(|| condition(kind, false, "KeptUntilEdited", &message))
}

fn part_condition(part: &Part) -> Condition {
    condition(part.condition, part.ready, part.reason, &part.message)
}

/// A system that is let alone may be ready nevertheless.
fn paused(gates: &Gates) -> Vec<Condition> {
    const MESSAGE: &str = "spec.paused is true: nothing is changed until it is false";
    let blocking = gates.blocking();
    let message = blocking.map_or_else(
        || MESSAGE.to_owned(),
        |part| format!("{MESSAGE}; {}", part.message),
    );
    vec![
        condition(READY, blocking.is_none(), PAUSED, &message),
        condition(PAUSED, true, PAUSED, MESSAGE),
    ]
}

/// A stopped system takes no payments: it is not ready, and nothing is wrong with it.
fn stopped(observed: &Observed) -> Vec<Condition> {
    const MESSAGE: &str = "spec.stopped is true: no pod runs; data, credentials and configuration are kept until it is false";
    match stop::remaining(observed) {
        None => vec![
            condition(READY, false, STOPPED, MESSAGE),
            condition(STOPPED, true, STOPPED, MESSAGE),
        ],
        Some(waiting) => {
            let message = format!("spec.stopped is true: {waiting}");
            let all = [(READY, false), (RECONCILING, true), (STOPPED, false)];
            all.map(|(kind, holds)| condition(kind, holds, "Stopping", &message))
                .to_vec()
        }
    }
}

/// `Ready`, and `Reconciling` or `Stalled` while it is not.
fn summary(gates: &Gates) -> Vec<Condition> {
    match gates.blocking() {
        None => vec![condition(READY, true, "Available", "all parts are ready")],
        Some(part) => {
            let progress = if part.failed { STALLED } else { RECONCILING };
            let reason = if part.failed {
                part.reason
            } else {
                waiting_reason(part)
            };
            vec![
                condition(READY, false, reason, &part.message),
                condition(progress, true, reason, &part.message),
            ]
        }
    }
}

/// What is waited for, in one word.
fn waiting_reason(part: &Part) -> &'static str {
    use crate::gates::condition as c;
    match part.condition {
        c::CHANNELS => "WaitingForChannels",
        c::DATABASE => "WaitingForDatabase",
        c::CACHE => "WaitingForCache",
        c::SIMULATOR => "WaitingForSimulator",
        c::COORDINATOR => "WaitingForCoordinator",
        c::SCHEMA => "Migrating",
        c::RECONCILIATION_SECRETS | c::PAYMENT_CERTIFICATE | c::CALLBACK_CERTIFICATE => {
            "WaitingForSecrets"
        }
        c::SCHEDULE => "WaitingForSchedule",
        _ => "WaitingForServices",
    }
}

/// The tag or digest of an image.
fn version(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(['@', ':'])
        .map_or("", |(_, version)| version)
        .to_owned()
}

fn replicas(observed: &Observed, deployment: &str) -> Option<String> {
    let live = observed.value(Kind::Deployment, deployment)?;
    let replicas = Replicas::of(&live);
    Some(format!("{}/{}", replicas.ready, replicas.wanted))
}

/// What the scale subresource shows of the payment service.
fn scale(system: &ValidSystem, observed: &Observed) -> Option<Scale> {
    let live = observed.value(Kind::Deployment, &names::payment(&system.name))?;
    let replicas = live["status"]["replicas"].as_i64().unwrap_or_default();
    let selector = labels::selector(&system.name, labels::component::PAYMENT);
    let selector = selector.as_object().into_iter().flatten();
    let terms = selector.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    Some(Scale {
        replicas,
        selector: terms.collect::<Vec<_>>().join(","),
    })
}

/// The workloads, in the order in which they start.
fn components(observed: &Observed) -> Vec<Component> {
    const ORDER: [&str; 9] = [
        component::MYSQL,
        component::REDIS,
        component::SIMULATOR,
        component::COORDINATOR,
        component::PAYMENT,
        component::CALLBACK,
        component::WORKER,
        component::RECONCILIATION,
        component::ORDERS,
    ];
    let workloads = observed
        .objects
        .iter()
        .filter(|((kind, _), _)| matches!(kind, Kind::StatefulSet | Kind::Deployment));
    let mut all: Vec<(usize, Component)> = workloads
        .map(|((kind, name), live)| {
            let live = live.value();
            let own = &live["metadata"]["labels"][labels::COMPONENT];
            let rank = ORDER.iter().position(|component| *own == *component);
            (rank.unwrap_or(ORDER.len()), workload(*kind, name, &live))
        })
        .collect();
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, component)| component).collect()
}

fn workload(kind: Kind, name: &str, live: &Value) -> Component {
    let replicas = Replicas::of(live);
    let image = live.pointer("/spec/template/spec/containers/0/image");
    Component {
        name: name.to_owned(),
        kind: kind.name().to_owned(),
        ready: format!("{}/{}", replicas.ready, replicas.wanted),
        image: image.and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "lo…");
        let text = "支付".repeat(100);
        for bytes_max in 3..50 {
            let cut = cut(&text, bytes_max);
            assert!(cut.len() <= bytes_max && cut.ends_with('…'), "{cut}");
        }
    }

    #[test]
    fn versions_are_tags_or_digests() {
        for (image, expected) in [
            ("runtime:1.2", "1.2"),
            ("host:5000/a/runtime:1.2", "1.2"),
            ("runtime@sha256:ab", "sha256:ab"),
            ("runtime", ""),
        ] {
            assert_eq!(version(image), expected, "{image}");
        }
    }
}
