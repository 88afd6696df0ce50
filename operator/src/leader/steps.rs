//! What to do about the Lease, decided from what was seen of it and the time.
//!
//! Pure: time comes in as an argument, and only spans of it matter. A Lease of somebody else is
//! believed from the moment its last version was *seen*, so clocks need not agree.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use super::{Candidate, Lost};

/// After a request that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One version of the Lease.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) holder: String,
    pub(super) version: String,
    pub(super) lease: Duration,
    pub(super) acquired: Option<Timestamp>,
    pub(super) transitions: i32,
    /// When this version was seen first.
    pub(super) at: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// For something new to be seen, at most until then.
    Wait(Option<Instant>),
    Take,
    Renew,
    End(Lost),
}

#[derive(Debug)]
pub(super) struct View {
    identity: String,
    renew_every: Duration,
    sure_for: Duration,
    /// The Lease was looked for at least once.
    looked: bool,
    pub(super) seen: Option<Seen>,
    /// When the renewal that holds was asked for; none of who does not lead.
    renewed: Option<Instant>,
    not_before: Option<Instant>,
}

impl View {
    pub(super) fn new(candidate: &Candidate) -> Self {
        Self {
            identity: candidate.identity.clone(),
            renew_every: candidate.renew_every(),
            sure_for: candidate.sure_for(),
            looked: false,
            seen: None,
            renewed: None,
            not_before: None,
        }
    }

    pub(super) fn listed(&mut self) {
        self.looked = true;
    }

    pub(super) fn gone(&mut self) {
        self.seen = None;
    }

    /// A version that is not the one already known. Versions come in order: one watch, and the
    /// answers to one's own requests. A late event of one's own renewal changes only the version.
    pub(super) fn see(&mut self, new: Seen) {
        let known = self.seen.as_ref();
        if known.is_some_and(|known| !is_newer(&new.version, &known.version)) {
            return;
        }
        self.seen = Some(new);
    }

    /// The Lease is held as of `sent`, when it was asked for.
    pub(super) fn won(&mut self, lease: Seen, sent: Instant) {
        self.seen = Some(lease);
        self.renewed = Some(sent);
        self.not_before = None;
    }

    pub(super) fn refused(&mut self, now: Instant) {
        self.not_before = Some(now + RETRY_AFTER);
    }

    pub(super) fn holds(&self) -> bool {
        self.renewed.is_some()
    }

    /// Until when a leader is sure of it.
    pub(super) fn sure_until(&self) -> Instant {
        self.renewed
            .map_or_else(Instant::now, |renewed| renewed + self.sure_for)
    }

    pub(super) fn step(&self, now: Instant) -> Step {
        match self.renewed {
            Some(renewed) => self.as_leader(renewed, now),
            None => self.as_standby(now),
        }
    }

    fn as_leader(&self, renewed: Instant, now: Instant) -> Step {
        let holder = self.seen.as_ref().map(|seen| seen.holder.clone());
        if let Some(holder) = holder.filter(|holder| *holder != self.identity) {
            return Step::End(Lost::Taken { holder });
        }
        if now >= renewed + self.sure_for {
            return Step::End(Lost::Expired);
        }
        let due = self.later(renewed + self.renew_every);
        if now >= due {
            Step::Renew
        } else {
            Step::Wait(Some(due.min(renewed + self.sure_for)))
        }
    }

    fn as_standby(&self, now: Instant) -> Step {
        let free = match &self.seen {
            None if !self.looked => return Step::Wait(None),
            None => now,
            // Left by whoever was in this pod before: a container ends before the next begins.
            Some(seen) if seen.holder == self.identity || seen.holder.is_empty() => now,
            Some(seen) => seen.at + seen.lease,
        };
        let free = self.later(free);
        if now >= free {
            Step::Take
        } else {
            Step::Wait(Some(free))
        }
    }

    fn later(&self, at: Instant) -> Instant {
        self.not_before.map_or(at, |not_before| at.max(not_before))
    }
}

/// Versions grow; Kubernetes says since 1.35 that they may be compared, and etcd's always could.
fn is_newer(new: &str, known: &str) -> bool {
    match (new.parse::<u64>(), known.parse::<u64>()) {
        (Ok(new), Ok(known)) => new > known,
        _ => new != known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn view() -> View {
        View::new(&Candidate {
            namespace: "n".to_owned(),
            identity: "me".to_owned(),
            lease: 20 * SECOND,
        })
    }

    fn lease(holder: &str, version: u64, at: Instant) -> Seen {
        Seen {
            holder: holder.to_owned(),
            version: version.to_string(),
            lease: 20 * SECOND,
            acquired: None,
            transitions: 1,
            at,
        }
    }

    #[test]
    fn a_free_lease_is_taken_and_one_not_looked_for_is_not() {
        let (mut view, now) = (view(), Instant::now());
        assert_eq!(view.step(now), Step::Wait(None));
        view.listed();
        assert_eq!(view.step(now), Step::Take);
        for holder in ["", "me"] {
            view.see(lease(holder, 1, now));
            assert_eq!(view.step(now), Step::Take, "{holder:?}");
        }
    }

    #[test]
    fn the_lease_of_another_is_believed_from_when_it_was_seen_last() {
        let (mut view, now) = (view(), Instant::now());
        view.see(lease("other", 1, now));
        assert_eq!(view.step(now), Step::Wait(Some(now + 20 * SECOND)));
        // The same version again, as a new list gives it, is no renewal.
        view.see(lease("other", 1, now + 5 * SECOND));
        assert_eq!(view.step(now + 20 * SECOND), Step::Take);
        view.see(lease("other", 2, now + 10 * SECOND));
        let until = now + 30 * SECOND;
        assert_eq!(view.step(now + 20 * SECOND), Step::Wait(Some(until)));
        view.refused(until);
        assert_eq!(view.step(until), Step::Wait(Some(until + SECOND)));
    }

    #[test]
    fn a_leader_renews_and_ends_before_anybody_else_may_begin() {
        let (mut view, now) = (view(), Instant::now());
        view.won(lease("me", 1, now), now);
        assert_eq!(view.step(now), Step::Wait(Some(now + 6 * SECOND)));
        assert_eq!(view.step(now + 6 * SECOND), Step::Renew);
        view.refused(now + 14 * SECOND);
        assert_eq!(view.sure_until(), now + 15 * SECOND);
        assert_eq!(view.step(now + 15 * SECOND), Step::End(Lost::Expired));
        // Another sees the renewal later than it was asked for, so it begins later than that.
        let mut other = View {
            identity: "other".to_owned(),
            ..self::view()
        };
        other.see(lease("me", 1, now));
        assert_eq!(
            other.step(now + 15 * SECOND),
            Step::Wait(Some(now + 20 * SECOND))
        );
    }

    #[test]
    fn a_leader_ends_when_another_holds_the_lease_and_not_when_it_sees_its_own_past() {
        let (mut view, now) = (view(), Instant::now());
        view.won(lease("me", 7, now), now);
        view.see(lease("other", 6, now));
        assert_eq!(view.step(now), Step::Wait(Some(now + 6 * SECOND)));
        view.see(lease("other", 8, now));
        let holder = "other".to_owned();
        assert_eq!(view.step(now), Step::End(Lost::Taken { holder }));
    }
}
