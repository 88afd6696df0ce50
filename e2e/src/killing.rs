//! Pods that are deleted with no time to say goodbye, by a seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;

use crate::chance::Chance;
use crate::system::System;

/// A workload with one pod is left alone for as long as it takes to come back.
const PAUSE_OF_ONE: Duration = Duration::from_mins(1);

/// Workloads, and how often each is hit.
pub type Parts = [(&'static str, u64)];

/// How many pods of each workload were deleted.
pub type Kills = BTreeMap<&'static str, u32>;

fn part(chance: &mut Chance, parts: &Parts) -> &'static str {
    let all: u64 = parts.iter().map(|(_, weight)| weight).sum();
    let mut at = chance.within(0..all);
    for (part, weight) in parts {
        if at < *weight {
            return part;
        }
        at -= weight;
    }
    parts[0].0
}

/// Deletes a pod every few seconds while `running` says so.
pub async fn kill(demo: &System, parts: &Parts, running: impl Fn() -> bool, seed: u64) -> Kills {
    let mut chance = Chance::new(seed, 0x0b10);
    let mut kills = Kills::new();
    let mut last: BTreeMap<&'static str, Instant> = BTreeMap::new();
    loop {
        let pause = chance.within(2000..6000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if !running() {
            return kills;
        }
        let part = part(&mut chance, parts);
        // The API server may be as busy as everybody else.
        let Ok(pods) = demo.pods_of(part).await else {
            continue;
        };
        let alone = pods.len() == 1;
        let just_hit = last.get(part).is_some_and(|at| at.elapsed() < PAUSE_OF_ONE);
        if pods.is_empty() || (alone && just_hit) {
            continue;
        }
        let pod = &pods[usize::try_from(chance.within(0..pods.len() as u64)).unwrap_or_default()];
        let deleted = demo
            .cluster
            .delete_pod_now(&demo.namespace, &pod.name_any())
            .await;
        if deleted.is_ok() {
            *kills.entry(part).or_insert(0) += 1;
            last.insert(part, Instant::now());
        }
    }
}
