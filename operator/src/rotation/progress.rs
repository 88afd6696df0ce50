//! What is said about a rotation: which one is done, and what one that is under way waits for.

use contract::names::rotation::{ACCEPT, DISCARD};

use super::{Held, Phase, Step, goal, held, in_phase, next, wanted};
use crate::{
    build::labels::component,
    credentials,
    gates::{self, trouble},
    kinds::Kind,
    observe::Observed,
    validate::ValidSystem,
};

/// Type of the condition; there is one only while a rotation is under way. Part of the API: never
/// reword, nor the reasons below.
pub const CONDITION: &str = "CredentialsRotating";
/// A person must act; until then both passwords stay valid.
pub const FAILED: &str = "RotationFailed";

/// The rotation that is done, if it is the one asked for.
pub fn reached(system: &ValidSystem, observed: &Observed) -> Option<String> {
    let wanted = wanted(system)?;
    let all = held(system, observed);
    let taking_part = credentials::needed(system)
        .into_iter()
        .filter(|secret| secret.rotates());
    let done = taking_part.count() == all.len()
        && all
            .iter()
            .all(|held| held.phase() == Phase::Settled && held.rotation() == Some(wanted));
    done.then(|| wanted.to_owned())
}

/// Reason and message of the condition.
pub fn condition(system: &ValidSystem, observed: &Observed) -> Option<(&'static str, String)> {
    let step = next(system, observed);
    let (reason, message) = match &step {
        Step::Rest => return None,
        Step::Write(write) => {
            let secret = write.secret().name(&system.name);
            (
                "ChangingSecret",
                format!("{} in Secret {secret}", write.name()),
            )
        }
        Step::Await { phase, jobs } => awaiting(observed, *phase, jobs),
        Step::Roll(user) => (
            "RollingServices",
            format!(
                "the new passwords are in use; the former ones stay valid while it waits for {user}"
            ),
        ),
    };
    let all = held(system, observed);
    let rotation = in_phase(&all, Phase::Announced)
        .find_map(Held::next_rotation)
        .or_else(|| goal(system, &all))
        .unwrap_or_default();
    // Values that a person announced belong to none.
    let message = match rotation {
        "" => message,
        _ => format!("rotation {rotation}: {message}"),
    };
    if system.spec.paused {
        let message =
            format!("spec.paused is true: nothing is changed until it is false; {message}");
        return Some(("Paused", message));
    }
    Some((reason, message))
}

fn awaiting(observed: &Observed, phase: Phase, jobs: &[String]) -> (&'static str, String) {
    let failed = jobs.iter().find(|name| {
        let job = observed.value(Kind::Job, name);
        job.is_some_and(|job| gates::failed(&job))
    });
    if let Some(job) = failed {
        let message = format!(
            "Job {job} has failed: read `kubectl logs job/{job}`, then delete the Job to try again; old and new passwords stay as they are"
        );
        return (FAILED, message);
    }
    let (reason, what) = match phase {
        Phase::Retired => ("DiscardingFormer", DISCARD),
        _ => ("AcceptingNext", ACCEPT),
    };
    let detail = trouble(observed, component::ROTATION)
        .map(|trouble| format!("; {}", trouble.message))
        .unwrap_or_default();
    let jobs = jobs.join(", ");
    (reason, format!("waiting for Job {jobs} ({what}){detail}"))
}
