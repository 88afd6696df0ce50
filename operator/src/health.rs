//! Whether this process works: what its probes are answered with.
//!
//! *Ready*: every watch has had its first complete list, and none has failed for long. A standby
//! is ready too: its caches are warm. *Alive*: the task that keeps the lease goes round. A cluster
//! that does not answer makes nobody less alive: another start would not help.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A watch may fail for this long, as it does while an API server is replaced.
const WATCH_FAILS_LONGEST: Duration = Duration::from_secs(30);
/// The lease's task says that it is alive every five seconds, and each of its requests ends after
/// three.
const SILENT_LONGEST: Duration = Duration::from_mins(1);

/// Of the process, as it is seen from one of the namespaces it watches, or from all.
#[derive(Debug)]
pub struct Health {
    /// Empty: the whole cluster.
    namespace: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Where the first lists are not complete yet.
    unlisted: BTreeSet<String>,
    /// By namespace and kind.
    failing: BTreeMap<(String, &'static str), Instant>,
    beat: Instant,
}

impl Default for Health {
    fn default() -> Self {
        let state = State {
            unlisted: BTreeSet::from([String::new()]),
            failing: BTreeMap::new(),
            beat: Instant::now(),
        };
        Self {
            namespace: String::new(),
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not the cluster is watched, but these namespaces.
    pub fn expect(&self, namespaces: &[String]) {
        self.state().unlisted = namespaces.iter().cloned().collect();
    }

    /// The same, for the watches of one namespace.
    pub fn within(&self, namespace: &str) -> Arc<Self> {
        Arc::new(Self {
            namespace: namespace.to_owned(),
            state: Arc::clone(&self.state),
        })
    }

    /// Every watch has its first complete list.
    pub fn listed(&self) {
        self.state().unlisted.remove(&self.namespace);
    }

    /// A watch gave an event, or failed.
    pub fn watch(&self, kind: &'static str, works: bool) {
        let mut state = self.state();
        let watch = (self.namespace.clone(), kind);
        if works {
            state.failing.remove(&watch);
        } else {
            state.failing.entry(watch).or_insert_with(Instant::now);
        }
    }

    /// The lease's task went round.
    pub fn beat(&self) {
        self.state().beat = Instant::now();
    }

    /// What stands against being ready, in words.
    pub fn unready(&self, now: Instant) -> Option<String> {
        let state = self.state();
        if let Some(namespace) = state.unlisted.first() {
            return Some(format!("reading {}", place(namespace)));
        }
        let failing = state
            .failing
            .iter()
            .find(|(_, since)| now.saturating_duration_since(**since) > WATCH_FAILS_LONGEST);
        failing.map(|((namespace, kind), _)| {
            format!("the watch of {kind} in {} fails", place(namespace))
        })
    }

    /// What stands against being alive, in words.
    pub fn dead(&self, now: Instant) -> Option<String> {
        let silent = now.saturating_duration_since(self.state().beat);
        (silent > SILENT_LONGEST)
            .then(|| format!("the lease's task is silent for {} s", silent.as_secs()))
    }
}

fn place(namespace: &str) -> String {
    if namespace.is_empty() {
        "the cluster".to_owned()
    } else {
        format!("namespace {namespace}")
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
    fn every_namespace_must_be_listed_and_each_fails_for_itself() {
        let health = Health::default();
        health.expect(&["a".to_owned(), "b".to_owned()]);
        let (a, b) = (health.within("a"), health.within("b"));
        let now = Instant::now();
        a.listed();
        assert!(health.unready(now).unwrap().contains("namespace b"));
        b.listed();
        assert_eq!(health.unready(now), None);
        a.watch("Pod", false);
        b.watch("Pod", true);
        let later = now + WATCH_FAILS_LONGEST + Duration::from_secs(1);
        assert!(health.unready(later).unwrap().contains("namespace a"));
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
