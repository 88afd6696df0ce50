//! Which specification a system is built from: the one its owner wrote or, after a rollout that
//! harmed payments, the last one that was accepted.
//!
//! Guarantees: a specification is accepted once everything is ready under it and its pods have
//! proved themselves; it is kept in the ConfigMap `NAME-accepted`. One whose pods fail beside
//! earlier ones that do not is taken back as a whole and not tried again until it is edited; the
//! managed stores alone stay as specified, since going back could lose data. All of it is decided
//! from what the cluster holds, so that a crash loses nothing but the observation.
//!
//! Pure. Not here: reading what pods say (`traffic`), what rolls when (`rollout`).

use std::collections::BTreeMap;

use crds::{
    PaymentSystem, PaymentSystemSpec,
    status::{Refused, Rollout},
};
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    build::{Manifest, Stage, common, labels, names, runtime},
    gates::{Gates, Replicas},
    kinds::Kind,
    observe::Observed,
    rollout::{self, Plan},
    traffic::{Address, Ratio, Work},
    validate::{Settings, ValidSystem},
};

/// Fewer tries of new pods than this prove nothing.
const FEWEST_TRIES: u64 = 10;
/// New pods may fail in one of so many tries, whatever the earlier ones do.
const TOLERATED_ONE_IN: u64 = 20;
/// New pods fail more often than earlier ones when it is so many times as often.
const TIMES_AS_OFTEN: u64 = 3;

/// A new pod that has ended so often does not recover.
const RESTARTS: i64 = 3;

const KEY: &str = "accepted.json";

/// A specification under which everything was ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    pub generation: i64,
    pub runtime_image: Option<String>,
    pub simulator_image: Option<String>,
    /// Why the pods of each workload were restarted last: it is part of their template, and going
    /// back to that template restarts none of those that still run it.
    #[serde(default)]
    pub restart_reasons: BTreeMap<String, String>,
    pub spec: PaymentSystemSpec,
}

/// Digest of everything a person says about a system: the specification's generation, the images
/// the operator was started with, and the wish to take a new rendering.
pub fn inputs(object: &PaymentSystem, settings: &Settings) -> String {
    common::digest(&(
        object.metadata.generation,
        &settings.runtime_image,
        &settings.simulator_image,
        object.annotations().get(labels::TAKE_RENDERING),
    ))
}

/// The specification that was accepted last.
pub fn accepted(observed: &Observed, system: &str) -> Option<Accepted> {
    let object = observed.value(Kind::ConfigMap, &names::accepted(system))?;
    serde_json::from_str(object["data"][KEY].as_str()?).ok()
}

/// The refusal of what is specified now, if it was taken back.
pub fn refused<'a>(object: &'a PaymentSystem, settings: &Settings) -> Option<&'a Refused> {
    let status = object.status.as_ref()?;
    let refused = status.rollout.as_ref()?.refused.as_ref()?;
    (refused.inputs == inputs(object, settings)).then_some(refused)
}

/// What the system is built from: `None` if it is what is specified.
pub fn gone_back(
    object: &PaymentSystem,
    settings: &Settings,
    accepted: Option<&Accepted>,
) -> Option<(PaymentSystem, Settings)> {
    refused(object, settings)?;
    let accepted = accepted?.clone();
    let mut object = object.clone();
    let written = std::mem::replace(&mut object.spec, accepted.spec);
    object.metadata.generation = Some(accepted.generation);
    keep_stores(&mut object.spec, written);
    let settings = Settings {
        runtime_image: accepted.runtime_image,
        simulator_image: accepted.simulator_image,
        ..settings.clone()
    };
    Some((object, settings))
}

/// What never goes back by itself: stores that hold data, and a person's wish to pause, to
/// stop or to rotate credentials.
fn keep_stores(spec: &mut PaymentSystemSpec, written: PaymentSystemSpec) {
    spec.paused = written.paused;
    spec.stopped = written.stopped;
    spec.credentials = written.credentials;
    if spec.mysql.external.is_none() && written.mysql.external.is_none() {
        spec.mysql = written.mysql;
    }
    if spec.redis.external.is_none() && written.redis.external.is_none() {
        spec.redis = written.redis;
    }
    let coordinator = (
        &spec.transaction_coordinator,
        &written.transaction_coordinator,
    );
    if coordinator.0.external.is_none() && coordinator.1.external.is_none() {
        spec.transaction_coordinator = written.transaction_coordinator;
    }
}

/// The record of what was accepted, as it is: it is not removed.
pub fn kept(system: &ValidSystem, observed: &Observed) -> Option<Manifest> {
    observed.get(Kind::ConfigMap, &names::accepted(&system.name))?;
    Some(record(system, json!({})).left_alone())
}

/// The record of the present specification, if everything is ready under it.
pub fn manifest(
    system: &ValidSystem,
    observed: &Observed,
    gates: &Gates,
    plan: &Plan,
) -> Option<Manifest> {
    let rolled = plan.settled() && plan.kept.is_empty() && rolling(system, observed).is_empty();
    if system.spec.stopped || !(rolled && gates.ready()) {
        return None;
    }
    let accepted = Accepted {
        generation: system.generation,
        runtime_image: system.settings.runtime_image.clone(),
        simulator_image: system.settings.simulator_image.clone(),
        restart_reasons: restart_reasons(observed),
        spec: system.spec.clone(),
    };
    let text = serde_json::to_string(&accepted).ok()?;
    Some(record(system, json!({"data": {KEY: text}})))
}

fn restart_reasons(observed: &Observed) -> BTreeMap<String, String> {
    let workloads = observed
        .objects
        .iter()
        .filter(|((kind, _), _)| rollout::is_workload(*kind));
    let said = workloads.filter_map(|((_, name), live)| {
        let live = live.value();
        let annotations = &live["spec"]["template"]["metadata"]["annotations"];
        let reason = annotations[labels::RESTART_REASON].as_str()?;
        Some((name.clone(), reason.to_owned()))
    });
    said.collect()
}

fn record(system: &ValidSystem, body: Value) -> Manifest {
    let name = names::accepted(&system.name);
    let identity = (Kind::ConfigMap, name, labels::component::RUNTIME);
    common::owned(system, identity, Stage::Operations, body)
}

/// A service of which pods of two templates work side by side, or one has not proved itself yet.
pub struct Rolling {
    component: &'static str,
    live: Value,
}

fn rolling(system: &ValidSystem, observed: &Observed) -> Vec<Rolling> {
    let deployments = [
        (labels::component::PAYMENT, names::payment(&system.name)),
        (labels::component::CALLBACK, names::callback(&system.name)),
        (labels::component::WORKER, names::worker(&system.name)),
    ];
    let rolling = deployments.into_iter().filter_map(|(component, name)| {
        let live = observed.value(Kind::Deployment, &name)?;
        let rolls = Replicas::of(&live).rolling();
        rolls.then_some(Rolling { component, live })
    });
    rolling.collect()
}

/// The rolling services of a system whose rollout can be taken back.
pub fn undecided(system: &ValidSystem, observed: &Observed) -> Vec<Rolling> {
    let known = accepted(observed, &system.name);
    if known.is_none_or(|accepted| is_accepted(system, &accepted)) {
        return Vec::new();
    }
    rolling(system, observed)
}

/// The pods of a rolling service, those of the newest template apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    pub component: &'static str,
    pub new: Vec<Address>,
    pub old: Vec<Address>,
}

/// The pods to compare: of the services that have both new and earlier ones.
pub fn watched(services: &[Rolling], observed: &Observed) -> Vec<Pods> {
    let pods = services
        .iter()
        .map(|service| pods(service.component, observed));
    pods.filter(|pods| !pods.new.is_empty() && !pods.old.is_empty())
        .collect()
}

fn pods(component: &'static str, observed: &Observed) -> Pods {
    let (new, old) = by_template(component, observed);
    let addresses = |pods: Vec<Value>| pods.iter().filter_map(Address::of).collect();
    Pods {
        component,
        new: addresses(new),
        old: addresses(old),
    }
}

/// The pods of the newest template, and all others.
fn by_template(component: &str, observed: &Observed) -> (Vec<Value>, Vec<Value>) {
    let label = |pod: &Value, name: &str| pod["metadata"]["labels"][name].clone();
    let mut pods: Vec<Value> = observed
        .pods()
        .filter(|pod| label(pod, labels::COMPONENT) == component)
        .collect();
    pods.sort_by_key(|pod| {
        let made = &pod["metadata"]["creationTimestamp"];
        made.as_str().unwrap_or_default().to_owned()
    });
    let newest = pods.last().map(|pod| label(pod, TEMPLATE));
    pods.into_iter()
        .partition(|pod| Some(label(pod, TEMPLATE)) == newest)
}

/// The label by which a Deployment tells the pods of its templates apart.
const TEMPLATE: &str = "pod-template-hash";

/// How the pods of one service compare. `before` is what earlier pods had done when the rollout
/// was first looked at: what they did since then was done in the same time as the new ones' work.
pub fn judge(
    pods: &Pods,
    work: &BTreeMap<String, Work>,
    before: &BTreeMap<String, Work>,
) -> Option<String> {
    let sum = |pods: &[Address], since: bool| {
        let works = pods.iter().filter_map(|pod| {
            let now = *work.get(&pod.pod)?;
            let past = before.get(&pod.pod).filter(|_| since);
            Some(past.map_or(now, |past| now.since(*past)))
        });
        works.fold(Work::default(), Work::plus)
    };
    let (new, old) = (sum(&pods.new, false), sum(&pods.old, true));
    [
        ("requests", new.requests, old.requests),
        ("channel calls", new.channel_calls, old.channel_calls),
        ("callbacks", new.callbacks, old.callbacks),
    ]
    .into_iter()
    .find(|(_, new, old)| is_worse(*new, *old))
    .map(|(what, new, old)| {
        format!(
            "new pods of {} failed in {} of {} {what}, the earlier ones meanwhile in {} of {}",
            pods.component, new.bad, new.all, old.bad, old.all
        )
    })
}

const fn is_worse(new: Ratio, old: Ratio) -> bool {
    new.all >= FEWEST_TRIES
        && new.bad.saturating_mul(TOLERATED_ONE_IN) >= new.all
        && new.bad.saturating_mul(old.all)
            >= TIMES_AS_OFTEN.saturating_mul(old.bad.saturating_mul(new.all))
}

/// A service that is not going to be rolled: its new pods end again and again, or are never ready.
pub fn stuck(services: &[Rolling], observed: &Observed) -> Option<String> {
    services.iter().find_map(|Rolling { component, live }| {
        // Nothing is gained by going back where nothing works any more.
        let works = Replicas::of(live).ready > 0;
        let why = crashing(component, observed).or_else(|| given_up(component, live));
        why.filter(|_| works)
    })
}

fn crashing(component: &str, observed: &Observed) -> Option<String> {
    let (new, old) = by_template(component, observed);
    let containers = new.iter().flat_map(|pod| {
        pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten()
    });
    let restarts = containers.filter_map(|container| {
        let waits = container["state"]["waiting"]["reason"] == "CrashLoopBackOff";
        container["restartCount"].as_i64().filter(|_| waits)
    });
    let restarts = restarts.max().filter(|restarts| *restarts >= RESTARTS)?;
    (!old.is_empty()).then(|| format!("a new pod of {component} has ended {restarts} times"))
}

fn given_up(component: &str, live: &Value) -> Option<String> {
    let conditions = live["status"]["conditions"].as_array()?;
    let given_up = conditions.iter().any(|condition| {
        condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
    });
    let seconds = runtime::PROGRESS_SECONDS;
    given_up.then(|| format!("new pods of {component} did not become ready within {seconds} s"))
}

fn is_accepted(system: &ValidSystem, accepted: &Accepted) -> bool {
    accepted.generation == system.generation
        && accepted.runtime_image == system.settings.runtime_image
}

/// What the status says of rollouts, given a new refusal.
pub fn status(
    object: &PaymentSystem,
    settings: &Settings,
    refusal: Option<(String, String)>,
) -> Option<Rollout> {
    let known = refused(object, settings).cloned();
    let new = refusal.map(|(message, at)| Refused {
        inputs: inputs(object, settings),
        generation: object.metadata.generation.unwrap_or_default(),
        message,
        at,
    });
    known.or(new).map(|refused| Rollout {
        refused: Some(refused),
    })
}

/// What the owner of a system is told of a refusal.
pub fn told(refused: &Refused, accepted: Option<i64>) -> String {
    let Refused {
        generation,
        message,
        at,
        ..
    } = refused;
    let now = accepted.map_or_else(String::new, |accepted| {
        format!("; the services run as in generation {accepted}")
    });
    format!(
        "generation {generation} was taken back at {at}: {message}{now}. Edit the specification to try again"
    )
}
