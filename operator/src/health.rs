//! Whether this process works: what its probes are answered with.
//!
//! *Ready*: every watch has had its first complete list, and none has failed for long. A standby
//! is ready too: its caches are warm. *Alive*: the task that keeps the lease goes round. A cluster
//! that does not answer makes nobody less alive: another start would not help.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A watch may fail for this long, as it does while an API server is replaced.
const WATCH_FAILS_LONGEST: Duration = Duration::from_secs(30);
/// The lease's task says that it is alive every five seconds, and each of its requests ends after
/// three.
const SILENT_LONGEST: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    listed: bool,
    failing: BTreeMap<&'static str, Instant>,
    beat: Instant,
}

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(State {
            listed: false,
            failing: BTreeMap::new(),
            beat: Instant::now(),
        }))
    }
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every watch has its first complete list.
    pub fn listed(&self) {
        self.state().listed = true;
    }

    /// A watch gave an event, or failed.
    pub fn watch(&self, kind: &'static str, works: bool) {
        let mut state = self.state();
        if works {
            state.failing.remove(kind);
        } else {
            state.failing.entry(kind).or_insert_with(Instant::now);
        }
    }

    /// The lease's task went round.
    pub fn beat(&self) {
        self.state().beat = Instant::now();
    }

    /// What stands against being ready, in words.
    pub fn unready(&self, now: Instant) -> Option<String> {
        let state = self.state();
        if !state.listed {
            return Some("reading the cluster".to_owned());
        }
        let failing = state
            .failing
            .iter()
            .find(|(_, since)| now.saturating_duration_since(**since) > WATCH_FAILS_LONGEST);
        failing.map(|(kind, _)| format!("the watch of {kind} fails"))
    }

    /// What stands against being alive, in words.
    pub fn dead(&self, now: Instant) -> Option<String> {
        let silent = now.saturating_duration_since(self.state().beat);
        (silent > SILENT_LONGEST)
            .then(|| format!("the lease's task is silent for {} s", silent.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_wants_all_lists_and_watches_that_come_back() {
        let health = Health::default();
        let now = Instant::now();
        assert!(health.unready(now).unwrap().contains("reading"));
        health.listed();
        health.watch("Pod", false);
        assert_eq!(health.unready(now), None);
        let later = now + WATCH_FAILS_LONGEST + Duration::from_secs(1);
        assert!(health.unready(later).unwrap().contains("Pod"));
        health.watch("Pod", true);
        assert_eq!(health.unready(later), None);
    }

    #[test]
    fn who_is_silent_for_long_is_dead() {
        let health = Health::default();
        let now = Instant::now();
        assert_eq!(health.dead(now), None);
        let later = now + SILENT_LONGEST + Duration::from_secs(1);
        assert!(health.dead(later).unwrap().contains("silent"));
    }
}
