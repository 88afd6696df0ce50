//! A run without faults as the reference, and the runs with faults that are held against it.

use kube::Client;

use crate::{
    run::{QUIET, Run},
    safety::{self, Rolls},
    scenario::Scenario,
    stale::Staleness,
    state::State,
    trial::Trial,
    world::World,
};

/// What a run without faults comes to.
pub struct Reference {
    state: State,
    rolls: Rolls,
    /// Requests of the operator during the scenario.
    pub requests: usize,
}

/// What a run with faults came to.
pub struct Verdict {
    /// The requests that were spoilt; fewer than points if the operator never got that far.
    pub hits: Vec<String>,
    pub breaches: Vec<String>,
}

/// Runs a scenario without faults.
pub async fn reference(
    world: &World,
    operators: &Client,
    scenario: &Scenario,
) -> Result<Reference, String> {
    let run = Run::start(world, operators, scenario).await;
    let start = run.prepare(&[]).await?;
    run.perform(&[], true).await?;
    run.history.quiet(QUIET).await;
    let requests = run.operator.counted();
    run.settle().await?;
    let events = run.history.events();
    let reference = Reference {
        state: run.state(),
        rolls: safety::rolls(&events),
        requests,
    };
    let breaches = safety::breaches(scenario, &events, start);
    run.clean().await;
    if breaches.is_empty() {
        Ok(reference)
    } else {
        Err(breaches.join("; "))
    }
}

/// Runs a scenario with faults and compares it with its reference.
pub async fn trial(
    world: &World,
    operators: &Client,
    scenario: &Scenario,
    reference: &Reference,
    trial: &Trial,
) -> Verdict {
    let run = Run::start(world, operators, scenario).await;
    let work = async {
        let start = endure(&run, trial).await?;
        run.converge(&reference.state).await?;
        run.settle().await?;
        // What a status says is held back for a while, and passes meanwhile write nothing.
        run.converge(&reference.state).await?;
        Ok(start)
    };
    let result = tokio::select! {
        result = work => result,
        () = run.operator.keep_alive() => Err("unreachable".to_owned()),
    };
    let breaches = match result {
        Ok(start) => judge(&run, reference, start),
        Err(text) => vec![text],
    };
    let hits = run.operator.hits();
    run.clean().await;
    Verdict { hits, breaches }
}

/// Takes the scenario's steps while a trial goes on. Returns the version at which they began.
async fn endure(run: &Run<'_>, trial: &Trial) -> Result<u64, String> {
    let start;
    match trial {
        Trial::Crash(points) => {
            start = run.prepare(points).await?;
            run.perform(points, true).await?;
        }
        Trial::Stale(Staleness::Rewound, plural) => {
            start = run.prepare(&[]).await?;
            run.perform(&[], true).await?;
            run.history.quiet(QUIET).await;
            run.operator.plan().valve.rewind(plural, start);
            run.history.quiet(QUIET).await;
            run.operator.plan().valve.thaw(false);
        }
        Trial::Stale(way, plural) => {
            start = run.prepare(&[]).await?;
            run.operator.plan().valve.freeze(plural);
            run.perform(&[], false).await?;
            run.history.quiet(QUIET).await;
            run.operator.plan().valve.thaw(*way == Staleness::Lost);
        }
    }
    Ok(start)
}

fn judge(run: &Run<'_>, reference: &Reference, start: u64) -> Vec<String> {
    let events = run.history.events();
    let mut breaches = run.differences(&reference.state);
    breaches.extend(safety::breaches(run.scenario, &events, start));
    // What is left when a system comes back is made anew or taken over, as it happens.
    if !run.scenario.deletes() {
        breaches.extend(surplus_rolls(&safety::rolls(&events), &reference.rolls));
    }
    breaches
}

fn surplus_rolls(found: &Rolls, expected: &Rolls) -> Vec<String> {
    let differ = |(name, times): (&String, &usize)| {
        let usual = expected.get(name).copied().unwrap_or_default();
        (usual != *times)
            .then(|| format!("{name} was given pods {times} times, without faults {usual} times"))
    };
    found.iter().filter_map(differ).collect()
}
