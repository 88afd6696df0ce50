//! The time in which transfers are made and processes are killed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::{sleep_until, timeout_at};

use crate::client::orders;
use crate::support::rerun::Rerun;
use crate::support::tc::Tc;
use crate::tally::Tally;
use crate::town::Town;

const CLIENTS: u64 = 4;
const TOLD_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Run {
    seed: u64,
    ends: Instant,
    generations: AtomicI64,
    tally: Mutex<Tally>,
}

impl Run {
    pub(crate) fn new(seed: u64, ends: Instant) -> Self {
        Self {
            seed,
            ends,
            generations: AtomicI64::new(0),
            tally: Mutex::default(),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    fn random(&self, who: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (who << 32))
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.ends
    }

    /// A moment from now, or the end.
    fn after(&self, random: &mut StdRng, millis: std::ops::Range<u64>) -> Instant {
        let pause = Duration::from_millis(random.random_range(millis));
        self.ends.min(Instant::now() + pause)
    }

    /// Until the end; the last clients are killed then, too. The coordinator runs afterwards.
    pub(crate) async fn go(&self, town: &Town, tc: &mut Tc) {
        let address = tc.address();
        let clients = (1..=CLIENTS).map(|who| self.clients(town, &address, who));
        tokio::join!(join_all(clients), self.coordinators(tc), self.progress());
    }

    async fn hear(&self, client: &mut Rerun, until: Instant) {
        while let Ok(said) = timeout_at(until.into(), client.says()).await {
            let said = said.expect("a client ended by itself; why stands above");
            self.tally.lock().unwrap().add(&said);
        }
    }

    /// One client process after the other. Some stand still for longer than their transactions may
    /// take, and go on then.
    async fn clients(&self, town: &Town, tc: &str, who: u64) {
        let mut random = self.random(who);
        while !self.is_over() {
            let generation = self.generations.fetch_add(1, Ordering::Relaxed);
            let task = orders(town, tc, generation, random.random());
            let mut client = Rerun::start("client::the_other_process", &task);
            self.hear(&mut client, self.after(&mut random, 1000..8000))
                .await;
            while !self.is_over() && random.random_range(0..3) == 0 {
                client.freeze();
                sleep_until(self.after(&mut random, 500..9000).into()).await;
                client.thaw();
                self.tally.lock().unwrap().clients_frozen += 1;
                self.hear(&mut client, self.after(&mut random, 1000..4000))
                    .await;
            }
            client.kill();
            // What it had said before.
            while let Some(said) = client.says().await {
                self.tally.lock().unwrap().add(&said);
            }
            self.tally.lock().unwrap().clients_killed += 1;
            sleep_until(self.after(&mut random, 0..1000).into()).await;
        }
    }

    /// One life of the coordinator after the other, with pauses in which it stands still.
    async fn coordinators(&self, tc: &mut Tc) {
        let mut random = self.random(CLIENTS + 1);
        loop {
            sleep_until(self.after(&mut random, 5000..20_000).into()).await;
            if self.is_over() {
                return;
            }
            // Also the shortest run has one that is killed.
            let killed_before = self.tally().coordinators_killed > 0;
            if killed_before && random.random_range(0..3) == 0 {
                tc.freeze();
                sleep_until(self.after(&mut random, 500..5000).into()).await;
                tc.thaw();
                self.tally.lock().unwrap().coordinators_frozen += 1;
                continue;
            }
            tc.kill();
            sleep_until(self.after(&mut random, 0..2000).into()).await;
            tc.start_again().await;
            self.tally.lock().unwrap().coordinators_killed += 1;
        }
    }

    async fn progress(&self) {
        let begun = Instant::now();
        loop {
            sleep_until(self.ends.min(Instant::now() + TOLD_EVERY).into()).await;
            if self.is_over() {
                return;
            }
            let minutes = begun.elapsed().as_secs() / 60;
            println!("after {minutes} min: {}", self.tally());
        }
    }
}
