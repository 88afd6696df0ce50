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

/// Digests of everything a person says about a system beside the specification (those images the
/// operator was started with that it does not name itself, the wish to take a new rendering), once
/// with the specification's generation and once with what it says of how things run.
///
/// One alone would not do. Another version of the operator may know more fields, so that what an
/// unchanged specification says differs; and a person who pauses, stops, scales or rotates raises
/// the generation without saying anything of how things run.
pub fn inputs(object: &PaymentSystem, settings: &Settings) -> String {
    let beside = (
        runtime_image(&object.spec, settings.runtime_image.as_ref()),
        settings
            .simulator_image
            .as_ref()
            .filter(|_| object.spec.channels.simulator),
        object.annotations().get(labels::TAKE_RENDERING),
    );
    let written = common::digest(&(object.metadata.generation, &beside));
    let says = common::digest(&(lasting(object.spec.clone()), &beside));
    format!("{written}-{says}")
}

/// The image of a specification, or the default.
pub fn runtime_image<'a>(
    spec: &'a PaymentSystemSpec,
    default: Option<&'a String>,
) -> Option<&'a String> {
    spec.payment.image.as_ref().or(default)
}

/// Whether two [`inputs`] say the same of how things run.
pub fn is_same(before: &str, now: &str) -> bool {
    before
        .split('-')
        .zip(now.split('-'))
        .any(|(before, now)| before == now)
}

/// What a specification says of how things run, without what is switched while they run.
fn lasting(mut spec: PaymentSystemSpec) -> PaymentSystemSpec {
    take_switches(&mut spec, &PaymentSystemSpec::default());
    spec
}

/// What a person switches while a system runs, without saying anything of how it runs.
fn take_switches(spec: &mut PaymentSystemSpec, from: &PaymentSystemSpec) {
    spec.paused = from.paused;
    spec.stopped = from.stopped;
    spec.credentials.clone_from(&from.credentials);
    spec.payment.replicas = from.payment.replicas;
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
    is_same(&refused.inputs, &inputs(object, settings)).then_some(refused)
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

/// What never goes back by itself: stores that hold data, and what a person switches.
fn keep_stores(spec: &mut PaymentSystemSpec, written: PaymentSystemSpec) {
    take_switches(spec, &written);
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

/// The pods of the newest template, which is the one whose first pod is the youngest, and all
/// others.
fn by_template(component: &str, observed: &Observed) -> (Vec<Value>, Vec<Value>) {
    let label = |pod: &Value, name: &str| pod["metadata"]["labels"][name].clone();
    let pods = || {
        observed
            .pods()
            .filter(|pod| label(pod, labels::COMPONENT) == component)
    };
    // Of an earlier template, too, pods are made: where one is evicted or load rises.
    let mut begun: BTreeMap<String, String> = BTreeMap::new();
    for pod in pods() {
        let made = pod["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default();
        let first = begun.entry(label(&pod, TEMPLATE).to_string());
        let first = first.or_insert_with(|| made.to_owned());
        if made < first.as_str() {
            made.clone_into(first);
        }
    }
    let newest = begun.into_iter().max_by_key(|(_, first)| first.clone());
    let newest = newest.map(|(template, _)| template);
    pods().partition(|pod| Some(label(pod, TEMPLATE).to_string()) == newest)
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
    // Anybody may post what is no callback: it counts only beside what the earlier pods get.
    .filter(|(what, _, old)| *what != "callbacks" || old.all >= FEWEST_TRIES)
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
    let says = |spec: &PaymentSystemSpec| lasting(spec.clone());
    let same =
        accepted.generation == system.generation || says(&accepted.spec) == says(&system.spec);
    let image = runtime_image(&accepted.spec, accepted.runtime_image.as_ref());
    same && image == Some(&system.runtime_image)
}

/// What the status says of rollouts, given a new refusal.
pub fn status(
    object: &PaymentSystem,
    settings: &Settings,
    refusal: Option<(String, String)>,
) -> Option<Rollout> {
    // What is said now may be the same in one respect alone.
    let known = refused(object, settings).map(|known| Refused {
        inputs: inputs(object, settings),
        ..known.clone()
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Live;

    const QUIET: Ratio = Ratio { bad: 0, all: 0 };

    fn work(kind: &str, bad: u64, all: u64) -> Work {
        let of = |name: &str| {
            if name == kind {
                Ratio { bad, all }
            } else {
                QUIET
            }
        };
        Work {
            requests: of("requests"),
            channel_calls: of("channel calls"),
            callbacks: of("callbacks"),
        }
    }

    /// What is said when one new and one earlier pod did so much, of which so much went wrong.
    fn judged(kind: &str, new: (u64, u64), old: (u64, u64)) -> Option<String> {
        let address = |pod: &str| Address {
            pod: pod.to_owned(),
            ip: [10, 0, 0, 1].into(),
            port: 1,
        };
        let pods = Pods {
            component: "payment",
            new: vec![address("new")],
            old: vec![address("old")],
        };
        // What the earlier pod had done before the rollout counts for nothing.
        let before = work(kind, 900, 1000);
        let now = [
            ("new".to_owned(), work(kind, new.0, new.1)),
            ("old".to_owned(), work(kind, 900 + old.0, 1000 + old.1)),
        ];
        judge(&pods, &now.into(), &[("old".to_owned(), before)].into())
    }

    #[test]
    fn the_newest_template_is_the_one_whose_first_pod_is_the_youngest() {
        let mut observed = Observed::default();
        for (name, template, at) in [
            ("old", "a", "2026-01-01T00:00:00Z"),
            ("new", "b", "2026-01-02T00:00:00Z"),
            // One of the earlier pods was evicted.
            ("again", "a", "2026-01-03T00:00:00Z"),
        ] {
            let pod = json!({"metadata": {
                "name": name,
                "creationTimestamp": at,
                "labels": {TEMPLATE: template, labels::COMPONENT: "payment"},
            }});
            let pod = Live::new(Kind::Pod, serde_json::from_value(pod).unwrap());
            let key = (Kind::Pod, name.to_owned());
            observed.objects.insert(key, pod.into());
        }
        let (new, _) = by_template("payment", &observed);
        assert_eq!(new.len(), 1);
        assert_eq!(new[0]["metadata"]["name"], "new");
    }

    #[test]
    fn new_pods_are_worse_if_they_fail_clearly_more_often_in_any_of_their_work() {
        for kind in ["requests", "channel calls", "callbacks"] {
            for (new, old, is_worse) in [
                ((0, 100), (0, 100), false),
                ((100, 100), (0, 100), true),
                ((5, 100), (0, 100), true),
                ((4, 100), (0, 100), false),
                // The channel itself is ill.
                ((90, 100), (90, 100), false),
                ((30, 100), (10, 100), true),
                ((29, 100), (10, 100), false),
                // Too little to say anything.
                ((9, 9), (0, 100), false),
                // Nobody to compare with: all the work goes to the new ones.
                ((50, 100), (0, 0), kind != "callbacks"),
            ] {
                let said = judged(kind, new, old);
                assert_eq!(
                    said.is_some(),
                    is_worse,
                    "{kind}: {new:?}, {old:?}: {said:?}"
                );
                assert!(said.is_none_or(|said| said.contains(kind)));
            }
        }
    }
}
