//! What blocks a system, and which of the evidence speaks of it.
//!
//! Pure. The names of the fields are those of `-o json`: part of the API.

use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStatus, Event, Pod},
    jiff::Timestamp,
};
use kube::ResourceExt;
use payment_operator::kinds::Kind;
use serde::Serialize;

use crate::status::view::{Condition, State, System};

/// How many events are shown, the newest.
const EVENTS_MAX: usize = 5;
/// How many pods are shown, those that are not ready first.
const PODS_MAX: usize = 5;
/// How much of what a process said at its end is shown.
const SAID_MAX: usize = 600;

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
}

/// What was read beside the conditions.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) exists: bool,
    pub(super) pods: Vec<Pod>,
    /// Warnings of the namespace.
    pub(super) events: Vec<Event>,
}

/// Why a system waits.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Why {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) state: State,
    /// Absent if nothing blocks.
    pub(super) blocked_by: Option<Object>,
    pub(super) since: Option<Timestamp>,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) pods: Vec<PodState>,
    pub(super) events: Vec<Warning>,
    pub(super) next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodState {
    pub(super) name: String,
    pub(super) phase: String,
    pub(super) ready: bool,
    /// Why it is not scheduled.
    pub(super) unscheduled: Option<String>,
    pub(super) containers: Vec<Container>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) restarts: i32,
    /// What it does now: `running`, or why it waits or has ended.
    pub(super) state: String,
    /// How it ended before, if it was started again.
    pub(super) last: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Warning {
    pub(super) object: Object,
    pub(super) at: Option<Timestamp>,
    pub(super) count: i32,
    pub(super) reason: String,
    pub(super) message: String,
}

/// The answer where nothing blocks.
pub(super) fn nothing(system: &System) -> Why {
    Why {
        namespace: system.namespace.clone(),
        name: system.name.clone(),
        state: system.state,
        blocked_by: None,
        since: system.since,
        reason: system.reason.clone(),
        message: system.message.clone(),
        pods: Vec::new(),
        events: Vec::new(),
        next: system.next.clone(),
    }
}

/// The object that the operator's message names: the system itself if it names none.
pub(super) fn blocking(system: &System) -> Object {
    let itself = || Object {
        kind: "PaymentSystem".to_owned(),
        name: system.name.clone(),
    };
    let told = match system.state {
        State::Waiting | State::Stalled => named(&system.message),
        State::Paused if !system.ready => named(&system.message),
        _ => None,
    };
    told.unwrap_or_else(itself)
}

/// The first `Kind name` of a message, among the kinds the operator handles.
fn named(message: &str) -> Option<Object> {
    let mut words = message.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if let (Some(kind), Some(name)) = (Kind::of(word), words.peek()) {
            let name = name.trim_end_matches([':', ';', ',']);
            return Some(Object {
                kind: kind.name().to_owned(),
                name: name.to_owned(),
            });
        }
    }
    None
}

/// The whole answer about a system that is not as it should be.
pub(super) fn explain(system: &System, object: Object, evidence: &Evidence) -> Why {
    let part = part(system);
    let mut pods: Vec<PodState> = evidence.pods.iter().map(pod).collect();
    pods.sort_by(|a, b| (a.ready, &a.name).cmp(&(b.ready, &b.name)));
    pods.truncate(PODS_MAX);
    let events = warnings(&object, evidence);
    let next = next(system, part, &object, evidence, &pods);
    Why {
        namespace: system.namespace.clone(),
        name: system.name.clone(),
        state: system.state,
        since: part.map(|part| part.since).or(system.since),
        reason: part.map_or(&system.reason, |part| &part.reason).clone(),
        message: system.message.clone(),
        blocked_by: Some(object),
        pods,
        events,
        next: Some(next),
    }
}

/// The part that `Ready` speaks of.
fn part(system: &System) -> Option<&Condition> {
    let mut parts = system.conditions.iter();
    parts.find(|part| !part.holds && system.message.ends_with(&part.message))
}

fn pod(pod: &Pod) -> PodState {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let condition = |kind: &str, value: &str| {
        conditions
            .iter()
            .find(|condition| condition.type_ == kind && condition.status == value)
    };
    let init = status.init_container_statuses.unwrap_or_default();
    let main = status.container_statuses.unwrap_or_default();
    PodState {
        name: pod.name_any(),
        phase: status.phase.unwrap_or_else(|| "Pending".to_owned()),
        ready: condition("Ready", "True").is_some(),
        unscheduled: condition("PodScheduled", "False")
            .map(|why| why.message.clone().unwrap_or_default()),
        containers: init
            .iter()
            .filter(|container| !ended_well(container))
            .chain(&main)
            .map(container)
            .collect(),
    }
}

/// An init container that is done says nothing any more.
fn ended_well(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    let end = state.and_then(|state| state.terminated.as_ref());
    end.is_some_and(|end| end.exit_code == 0)
}

fn container(status: &ContainerStatus) -> Container {
    let state = status.state.as_ref().map(state);
    let last = status.last_state.as_ref();
    Container {
        name: status.name.clone(),
        image: status.image.clone(),
        restarts: status.restart_count,
        state: state.unwrap_or_else(|| "unknown".to_owned()),
        last: last
            .filter(|last| last.terminated.is_some())
            .map(self::state),
    }
}

fn state(of: &ContainerState) -> String {
    let with = |reason: &str, message: Option<&String>| match message {
        Some(message) => format!("{reason}: {}", tail(message.trim())),
        None => reason.to_owned(),
    };
    if let Some(waiting) = &of.waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        with(reason, waiting.message.as_ref())
    } else if let Some(end) = &of.terminated {
        let reason = end.reason.as_deref().unwrap_or("ended");
        let reason = format!("{reason}, exit code {}", end.exit_code);
        with(&reason, end.message.as_ref())
    } else if of.running.is_some() {
        "running".to_owned()
    } else {
        "unknown".to_owned()
    }
}

/// The end of a long text, where processes say why they end.
fn tail(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(SAID_MAX);
    if skipped == 0 {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(skipped).collect();
    format!("… {kept}")
}

/// Warnings of the object, its pods, and what controllers make in between (their names begin with
/// the object's).
fn warnings(object: &Object, evidence: &Evidence) -> Vec<Warning> {
    let begins = format!("{}-", object.name);
    let claim = format!("data-{begins}");
    let mut warnings: Vec<Warning> = evidence
        .events
        .iter()
        .filter(|event| {
            let about = event.involved_object.name.as_deref().unwrap_or_default();
            about == object.name || about.starts_with(&begins) || about.starts_with(&claim)
        })
        .map(warning)
        .collect();
    warnings.sort_by_key(|warning| std::cmp::Reverse(warning.at));
    warnings.truncate(EVENTS_MAX);
    warnings
}

fn warning(event: &Event) -> Warning {
    let about = &event.involved_object;
    let series = event.series.as_ref();
    let at = series
        .and_then(|series| series.last_observed_time.as_ref().map(|at| at.0))
        .or(event.last_timestamp.as_ref().map(|at| at.0))
        .or(event.event_time.as_ref().map(|at| at.0));
    Warning {
        object: Object {
            kind: about.kind.clone().unwrap_or_default(),
            name: about.name.clone().unwrap_or_default(),
        },
        at,
        count: series
            .and_then(|series| series.count)
            .or(event.count)
            .unwrap_or(1),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
    }
}

/// What to do: by the cause where it has a usual cure, else what the message says.
fn next(
    system: &System,
    part: Option<&Condition>,
    object: &Object,
    evidence: &Evidence,
    pods: &[PodState],
) -> String {
    if !matches!(system.state, State::Waiting | State::Stalled) {
        return system.next.clone().unwrap_or_default();
    }
    let namespace = &system.namespace;
    let first = pods.first().map_or("", |pod| pod.name.as_str());
    match part.map_or(system.reason.as_str(), |part| part.reason.as_str()) {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" => {
            "correct the image in the specification, or let the nodes reach its registry; the pod \
             tries again by itself"
                .to_owned()
        }
        "Unschedulable" => {
            "make room on a node, or ask for less in the specification's resources; the pod starts \
             by itself then"
                .to_owned()
        }
        "CrashLoopBackOff" | "RunContainerError" => format!(
            "read why it ended: `kubectl logs -n {namespace} {first} --all-containers --previous`"
        ),
        "CreateContainerConfigError" | "CreateContainerError" => format!(
            "a Secret or ConfigMap it mounts lacks something: `kubectl describe pod -n {namespace} \
             {first}`"
        ),
        "SecretMissing" | "SecretKeyMissing" | "SecretKeyInvalid" => format!(
            "put it right as the message says; the operator goes on within seconds. `kubectl get \
             secret -n {namespace} {}` shows its keys",
            object.name
        ),
        "MigrationFailed" => format!(
            "read `kubectl logs -n {namespace} job/{name}`, cure the cause, then `kubectl delete \
             job -n {namespace} {name}`: the operator makes it anew",
            name = object.name
        ),
        "SecretUnreadable" | "VolumeCannotGrow" => {
            "cure what the message says; the operator tries again by itself, and what runs goes on \
             running"
                .to_owned()
        }
        "RolledBack" => format!(
            "find out why the new pods failed (`kubectl paysys logs -n {namespace} {name} --since \
             1h`), then edit the specification: the services run as before until then",
            name = system.name
        ),
        "ScaledToZero" => {
            "scale it up again as the message says, or stop the whole system by spec.stopped"
                .to_owned()
        }
        "NameTaken" => {
            "look at that object, then delete, rename or label it as the message says; the operator \
             tries again within a minute and leaves it alone until then"
                .to_owned()
        }
        "ApplyFailed" | "CredentialsFailed" | "RenderFailed" => {
            "the operator tries again by itself; if it lasts, the message says what the API server \
             refuses"
                .to_owned()
        }
        _ if system.state == State::Stalled => {
            "correct the specification as the message says, and apply it again".to_owned()
        }
        _ if !evidence.exists => {
            "nothing yet: the operator makes it as soon as what comes before it is ready".to_owned()
        }
        _ if pods.is_empty() => format!(
            "no pod is there yet: `kubectl describe {} -n {namespace} {}` if that lasts",
            object.kind.to_lowercase(),
            object.name
        ),
        _ => format!(
            "its pods are starting: `kubectl paysys status {} --wait` follows them",
            system.name
        ),
    }
}
