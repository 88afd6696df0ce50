//! Pauses between tries for a lock, up to a deadline.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

use super::config::AtConfig;

#[derive(Debug)]
pub(crate) struct Backoff {
    started: Instant,
    deadline: Instant,
    pause: Duration,
    pause_max: Duration,
}

impl Backoff {
    pub(crate) fn new(config: &AtConfig) -> Self {
        let started = Instant::now();
        Self {
            started,
            deadline: started + config.lock_deadline,
            pause: config.lock_pause_first,
            pause_max: config.lock_pause_max,
        }
    }

    pub(crate) fn waited(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the next try; `false`: the deadline has come.
    pub(crate) async fn pause(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        // Those who wait for the same row must not come back all at once.
        let least = self.pause / 2;
        let pause = rand::rng().random_range(least..=self.pause);
        self.pause = (self.pause * 2).min(self.pause_max);
        tokio::time::sleep(pause.min(left)).await;
        true
    }
}
