//! Replacing generated passwords while everybody goes on working: old and new are both valid
//! until nobody uses the old one.
//!
//! Pure. What is under way stands in the Secrets alone, so that whoever looks next goes on:
//!
//! | a Secret has | meaning | what comes next |
//! |---|---|---|
//! | `password` | at rest | if another rotation is asked for, a write adds `next-password` |
//! | and `next-password` | announced | a Job makes the store accept both; then a write swaps them |
//! | and `previous-password` | swapped | services roll; when nobody has the former one, a write retires it |
//! | and `retired-password` | retired | stores start without it; a Job makes the running one refuse it; a write removes it |
//!
//! Guarantees: each step is one request and may be the last before a crash; a value is handed out
//! only when its store accepts it, and refused only when no pod with it is left; a store's pod
//! needs no restart for it, and whenever it restarts accepts both.
//!
//! Deliberately not here: values. A patch moves them inside of the API server; only new ones are
//! known for the length of one request. Sending (`apply`), and the Jobs' manifests
//! (`build::rotation`).

mod held;
mod patch;
mod progress;
#[cfg(test)]
mod tests;

use crate::{
    build::{self, coordinator, labels::component, names, runtime},
    credentials::{self, Generated},
    gates::{self, Replicas},
    kinds::Kind,
    observe::Observed,
    validate::ValidSystem,
};
pub use held::{Held, Phase, store_digest};
pub use progress::{CONDITION, FAILED, condition, reached};

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is asked for that is not done.
    Rest,
    Write(Write),
    /// Jobs have not completed, all of one phase.
    Await {
        phase: Phase,
        jobs: Vec<String>,
    },
    /// Somebody may still use a former password: who, in words.
    Roll(String),
}

/// One request that changes one Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Adds next values beside those in use.
    Announce(Generated),
    /// Puts the next values in use and keeps the former ones.
    Swap(Generated),
    /// Replaces values that nobody but one restarting server knows.
    Replace(Generated),
    /// Takes former values from those that a store accepts when it starts.
    Retire(Generated),
    /// Removes retired values.
    Clean(Generated),
}

impl Write {
    pub const fn secret(self) -> Generated {
        match self {
            Self::Announce(secret)
            | Self::Swap(secret)
            | Self::Replace(secret)
            | Self::Retire(secret)
            | Self::Clean(secret) => secret,
        }
    }

    /// For logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announce(_) => "announcing next passwords",
            Self::Swap(_) => "putting next passwords in use",
            Self::Replace(_) => "replacing values",
            Self::Retire(_) => "retiring former passwords",
            Self::Clean(_) => "removing retired passwords",
        }
    }
}

/// The Secrets that take part and are whole. What one of the others lacks, its part's condition
/// says.
pub fn held(system: &ValidSystem, observed: &Observed) -> Vec<Held> {
    let needed = credentials::needed(system).into_iter();
    needed
        .filter_map(|secret| Held::read(system, observed, secret))
        .collect()
}

/// The rotation that is asked for.
fn wanted(system: &ValidSystem) -> Option<&str> {
    let credentials = system.spec.credentials.as_ref();
    credentials.map(|credentials| credentials.rotation.as_str())
}

/// What comes next.
pub fn next(system: &ValidSystem, observed: &Observed) -> Step {
    let all = held(system, observed);
    announce(system, &all)
        .or_else(|| hand_out(system, observed, &all))
        .or_else(|| replace(system, &all))
        .or_else(|| take_back(system, observed, &all))
        .unwrap_or(Step::Rest)
}

fn in_phase(all: &[Held], phase: Phase) -> impl Iterator<Item = &Held> {
    all.iter().filter(move |held| held.phase() == phase)
}

/// A rotation begins only when the one before is done.
fn announce(system: &ValidSystem, all: &[Held]) -> Option<Step> {
    let wanted = wanted(system)?;
    let another = all.iter().any(|held| match held.phase() {
        Phase::Settled => false,
        Phase::Announced => held.next_rotation() != Some(wanted),
        Phase::Swapped | Phase::Retired => true,
    });
    if another {
        return None;
    }
    in_phase(all, Phase::Settled)
        .filter(|held| !held.secret.rotated_keys().is_empty())
        .find(|held| held.rotation() != Some(wanted))
        .map(|held| Step::Write(Write::Announce(held.secret)))
}

/// All next values at once, so that services roll once.
fn hand_out(system: &ValidSystem, observed: &Observed, all: &[Held]) -> Option<Step> {
    let first = in_phase(all, Phase::Announced).next()?;
    let jobs = pending(system, observed, all, Phase::Announced);
    if jobs.is_empty() {
        return Some(Step::Write(Write::Swap(first.secret)));
    }
    let phase = Phase::Announced;
    Some(Step::Await { phase, jobs })
}

/// The rotation whose values are in use once what is under way is done.
fn goal<'a>(system: &'a ValidSystem, all: &'a [Held]) -> Option<&'a str> {
    let mut under_way = all
        .iter()
        .filter(|held| matches!(held.phase(), Phase::Swapped | Phase::Retired));
    under_way
        .find_map(Held::rotation)
        .or_else(|| wanted(system))
}

/// What needs no second phase changes together with the rest.
fn replace(system: &ValidSystem, all: &[Held]) -> Option<Step> {
    let goal = goal(system, all)?;
    all.iter()
        .filter(|held| !held.secret.replaced_keys().is_empty())
        .find(|held| held.rotation() != Some(goal))
        .map(|held| Step::Write(Write::Replace(held.secret)))
}

fn take_back(system: &ValidSystem, observed: &Observed, all: &[Held]) -> Option<Step> {
    if let Some(held) = in_phase(all, Phase::Swapped).next() {
        let step = user(system, observed).map(Step::Roll);
        return Some(step.unwrap_or(Step::Write(Write::Retire(held.secret))));
    }
    let phase = Phase::Retired;
    let held = in_phase(all, phase).next()?;
    let jobs = pending(system, observed, all, phase);
    if jobs.is_empty() {
        return Some(Step::Write(Write::Clean(held.secret)));
    }
    Some(Step::Await { phase, jobs })
}

/// Jobs of a phase that have not completed.
fn pending(system: &ValidSystem, observed: &Observed, all: &[Held], phase: Phase) -> Vec<String> {
    in_phase(all, phase)
        .filter_map(|held| build::rotation::job(system, observed, held))
        .map(|job| job.name)
        .filter(|name| !completed(observed, name))
        .collect()
}

fn completed(observed: &Observed, job: &str) -> bool {
    let job = observed.value(Kind::Job, job);
    job.is_some_and(|job| gates::ended_well(&job, observed))
}

/// Secrets whose Jobs are to run now.
pub fn at_work(system: &ValidSystem, observed: &Observed) -> Vec<Held> {
    let mut all = held(system, observed);
    all.retain(|held| matches!(held.phase(), Phase::Announced | Phase::Retired));
    all
}

/// Whoever may still use a former password, in words.
fn user(system: &ValidSystem, observed: &Observed) -> Option<String> {
    consumers(system, observed)
        .iter()
        .find_map(|consumer| consumer.behind(observed))
        .or_else(|| job_pod(observed))
}

fn consumers(system: &ValidSystem, observed: &Observed) -> Vec<Consumer> {
    let mut all = runtime::consumers(system, observed);
    if system.spec.transaction_coordinator.external.is_none() {
        all.push(Consumer {
            kind: Kind::StatefulSet,
            name: names::coordinator(&system.name),
            component: component::COORDINATOR,
            hash: coordinator::credentials_hash(system, observed),
        });
    }
    all
}

/// A workload that reads passwords when it starts.
pub struct Consumer {
    pub kind: Kind,
    pub name: String,
    pub component: &'static str,
    /// Digest of the credentials its pods are to have.
    pub hash: String,
}

impl Consumer {
    /// What is left of it that began with other credentials.
    fn behind(&self, observed: &Observed) -> Option<String> {
        let (kind, name) = (self.kind.name(), &self.name);
        let live = observed.value(self.kind, name)?;
        let template = &live["spec"]["template"];
        if !self.is_of(template) {
            return Some(format!("{kind} {name}, which has the former passwords"));
        }
        if !Replicas::of(&live).rolled() {
            return Some(format!("{kind} {name}, whose pods are being replaced"));
        }
        let component = |pod: &serde_json::Value| {
            pod["metadata"]["labels"][build::labels::COMPONENT] == self.component
        };
        let mut pods = observed.pods();
        let old = pods.find(|pod| component(pod) && unfinished(pod) && !self.is_of(pod))?;
        Some(end_of(&old))
    }

    fn is_of(&self, object: &serde_json::Value) -> bool {
        let annotations = &object["metadata"]["annotations"];
        annotations[build::labels::CREDENTIALS_HASH] == self.hash.as_str()
    }
}

fn unfinished(pod: &serde_json::Value) -> bool {
    !["Succeeded", "Failed"]
        .iter()
        .any(|phase| pod["status"]["phase"] == *phase)
}

/// Runs read passwords when they start, and nothing says which.
fn job_pod(observed: &Observed) -> Option<String> {
    let runs = [component::RECONCILIATION_RUN, component::MIGRATION];
    let of_run = |pod: &serde_json::Value| {
        let component = &pod["metadata"]["labels"][build::labels::COMPONENT];
        runs.iter().any(|run| component == *run)
    };
    let mut pods = observed.pods();
    let run = pods.find(|pod| of_run(pod) && unfinished(pod))?;
    Some(end_of(&run))
}

fn end_of(pod: &serde_json::Value) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    format!("the end of pod {name}")
}
