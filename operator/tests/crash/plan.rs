//! Which trials are run, how many at once, and what is said about them.

use std::{collections::BTreeMap, env, time::Instant};

use futures::{StreamExt, stream};
use kube::Client;

use crate::{
    faults::Fault,
    scenario::{self, Scenario},
    stale::Staleness,
    trial::{Trial, plurals},
    verdict::{self, Reference, Verdict},
    world::World,
};

/// Crashes of a sample, per scenario.
const SAMPLE: usize = 3;
/// Double crashes, per scenario.
const DOUBLES: usize = 20;
/// Requests of an operator that starts over a working system, about.
const START: usize = 35;

/// What was asked for.
enum Wanted {
    Sample,
    All,
    One(String, Trial),
}

fn wanted() -> Wanted {
    if let Ok(text) = env::var("POINT") {
        let (name, trial) = text.split_once(':').expect("POINT=scenario:request:fault");
        let trial = trial.parse();
        return Wanted::One(
            name.to_owned(),
            trial.unwrap_or_else(|error| panic!("{error}")),
        );
    }
    match env::var("CRASH").as_deref() {
        Ok("all") => Wanted::All,
        _ => Wanted::Sample,
    }
}

fn lanes() -> usize {
    let lanes = env::var("LANES").ok().and_then(|text| text.parse().ok());
    lanes.unwrap_or(8)
}

fn scenarios(wanted: &Wanted) -> Vec<Scenario> {
    let only = env::var("SCENARIO").ok();
    let mut scenarios = scenario::all();
    scenarios.retain(|scenario| match wanted {
        Wanted::One(name, _) => scenario.name == name,
        _ => only
            .as_deref()
            .is_none_or(|only| only.split(',').any(|name| name == scenario.name)),
    });
    assert!(!scenarios.is_empty(), "there is no such scenario");
    scenarios
}

/// How the trials of one scenario went.
#[derive(Default)]
struct Tally {
    trials: usize,
    /// The operator never made that many requests.
    missed: usize,
    failed: usize,
}

/// Runs what was asked for, and returns the number of trials that are not safe.
pub async fn run(world: &World, operators: &Client) -> usize {
    let started = Instant::now();
    let wanted = wanted();
    let scenarios = scenarios(&wanted);
    let references: Vec<_> = stream::iter(&scenarios)
        .map(|scenario| verdict::reference(world, operators, scenario))
        .buffered(lanes())
        .collect()
        .await;
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut jobs = Vec::new();
    for (index, (scenario, reference)) in scenarios.iter().zip(&references).enumerate() {
        match reference {
            Ok(reference) => {
                let trials = trials(&wanted, scenario, reference, index);
                jobs.extend(trials.into_iter().map(|trial| (scenario, reference, trial)));
            }
            Err(text) => {
                println!("{}, without faults: {text}", scenario.name);
                tallies.entry(scenario.name).or_default().failed += 1;
            }
        }
    }
    let total = jobs.len();
    println!("{} scenarios, {total} trials", scenarios.len());
    let mut verdicts = stream::iter(jobs)
        .map(async |(scenario, reference, trial)| {
            let verdict = verdict::trial(world, operators, scenario, reference, &trial).await;
            (scenario.name, trial, verdict)
        })
        .buffer_unordered(lanes());
    let mut done = 0;
    while let Some((name, trial, verdict)) = verdicts.next().await {
        note(tallies.entry(name).or_default(), name, &trial, &verdict);
        done += 1;
        if done % 50 == 0 {
            println!("{done} of {total}, {} s", started.elapsed().as_secs());
        }
    }
    summary(&tallies, started)
}

fn note(tally: &mut Tally, name: &str, trial: &Trial, verdict: &Verdict) {
    tally.trials += 1;
    if let Trial::Crash(points) = trial
        && verdict.hits.len() < points.len()
    {
        tally.missed += 1;
    }
    if verdict.breaches.is_empty() {
        return;
    }
    tally.failed += 1;
    println!("POINT={name}:{trial} {:?}", verdict.hits);
    for breach in verdict.breaches.iter().take(10) {
        println!("  {breach}");
    }
}

fn summary(tallies: &BTreeMap<&str, Tally>, started: Instant) -> usize {
    let (mut trials, mut failed) = (0, 0);
    for (name, tally) in tallies {
        println!(
            "{name}: {} trials, {} not reached, {} not safe",
            tally.trials, tally.missed, tally.failed
        );
        trials += tally.trials;
        failed += tally.failed;
    }
    let seconds = started.elapsed().as_secs();
    println!("crash_trials {trials}, not safe {failed}, {seconds} s");
    failed
}

/// The trials of one scenario.
fn trials(
    wanted: &Wanted,
    scenario: &Scenario,
    reference: &Reference,
    offset: usize,
) -> Vec<Trial> {
    let requests = reference.requests;
    match wanted {
        Wanted::One(_, trial) => vec![trial.clone()],
        Wanted::Sample => {
            let stale = stale(scenario);
            let one = stale.get(offset % stale.len().max(1)).cloned();
            let mut all: Vec<Trial> = singles(requests).collect();
            all = spread(&all, SAMPLE, offset);
            all.extend(doubles(requests, offset).take(1));
            all.extend(one);
            all
        }
        Wanted::All => singles(requests)
            .chain(doubles(requests, offset).take(DOUBLES))
            .chain(stale(scenario))
            .collect(),
    }
}

/// Every request with every fault.
fn singles(requests: usize) -> impl Iterator<Item = Trial> {
    (1..=requests).flat_map(|n| Fault::ALL.map(|fault| Trial::Crash(vec![(n, fault)])))
}

/// Some of them, far apart and with different faults, other ones for each scenario.
fn spread(all: &[Trial], count: usize, offset: usize) -> Vec<Trial> {
    let step = (all.len() / count).max(1);
    let starts = (offset * 5) % step.max(1);
    let picked = all.iter().skip(starts).step_by(step + 1).take(count);
    picked.cloned().collect()
}

/// Pairs of crashes, always the same ones.
fn doubles(requests: usize, offset: usize) -> impl Iterator<Item = Trial> {
    let mut seed = 0x9e37_79b9_u32.wrapping_mul(u32::try_from(offset).unwrap_or_default() + 1);
    let mut below = move |limit: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % limit
    };
    let count = if requests == 0 { 0 } else { usize::MAX };
    (0..count).map(move |_| {
        let first = [Fault::Before, Fault::After][below(2)];
        let second = Fault::ALL[below(Fault::ALL.len())];
        Trial::Crash(vec![
            (1 + below(requests), first),
            (1 + below(START + requests), second),
        ])
    })
}

/// Every kind whose watch shows the past, in every way.
fn stale(scenario: &Scenario) -> Vec<Trial> {
    if scenario.before.is_none() || scenario.upgrades() {
        return Vec::new();
    }
    let all = Staleness::ALL
        .into_iter()
        .flat_map(|way| plurals().map(move |plural| Trial::Stale(way, plural)));
    all.collect()
}
