//! Processes: replicas that are started, crash, are restarted, and have a clock of their own.
//!
//! Guarantees: no task of a dead process makes another step that anybody could see: each of its
//! port calls waits for ever.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payment_runtime::payments::Payments;
use payment_runtime::ports::Host;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::points::{Point, Strike};
use crate::world::{World, lock};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Api,
    Callback,
    Worker,
    /// A job: it runs once.
    Reconcile,
}

/// The replicas of every world.
pub const REPLICAS: [(&str, Role); 6] = [
    ("api-1", Role::Api),
    ("api-2", Role::Api),
    ("callback-1", Role::Callback),
    ("callback-2", Role::Callback),
    ("worker-1", Role::Worker),
    ("worker-2", Role::Worker),
];

/// One life of a process, from its start to its death.
pub struct Life {
    pub world: Arc<World>,
    pub name: &'static str,
    pub role: Role,
    number: u64,
    /// Cancelled when it dies, of whatever cause.
    pub died: CancellationToken,
    /// Cancelled when it is asked to stop.
    pub stop: CancellationToken,
    clock_error_ms: AtomicI64,
    chance: Mutex<Chance>,
    pub router: Mutex<Option<axum::Router>>,
}

impl Life {
    pub fn new(world: Arc<World>, (name, role): (&'static str, Role), number: u64) -> Arc<Self> {
        let chance = world.chance().fork();
        Arc::new(Self {
            world,
            name,
            role,
            number,
            died: CancellationToken::new(),
            stop: CancellationToken::new(),
            clock_error_ms: AtomicI64::new(0),
            chance: Mutex::new(chance),
            router: Mutex::new(None),
        })
    }

    pub fn is_dead(&self) -> bool {
        self.died.is_cancelled()
    }

    pub fn die(&self) {
        // The router's payments hold this life, which holds the router.
        lock(&self.router).take();
        self.died.cancel();
    }

    /// Its clock is wrong by so much from now on.
    pub fn set_clock_error(&self, milliseconds: i64) {
        self.clock_error_ms.store(milliseconds, Ordering::Relaxed);
    }

    pub fn clock_error_ms(&self) -> i64 {
        self.clock_error_ms.load(Ordering::Relaxed)
    }

    /// Returns only if the process lives.
    pub async fn alive(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    pub async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        self.alive().await;
    }

    /// Passes a named point. True: the effect goes wrong there, in the point's own way. Does not
    /// return if the process or this task ends here.
    pub async fn at(&self, point: Point, fault_rate: u64) -> bool {
        self.alive().await;
        let strike = self.world.strike_at(point, fault_rate);
        let code = strike.map_or(3, |strike| strike as u8);
        let index = u8::try_from(point.index()).unwrap_or(u8::MAX);
        self.world.mark(&[
            self.name.as_bytes()[0],
            self.name.as_bytes()[self.name.len() - 1],
            index,
            code,
        ]);
        let Some(strike) = strike else {
            return false;
        };
        self.world.hits().struck(point, strike);
        match strike {
            Strike::Crash => {
                self.world
                    .say(self.name, || format!("crashed at {}", point.name()));
                self.world.tally().crashes += 1;
                self.die();
                std::future::pending().await
            }
            Strike::Cancel => {
                self.world
                    .say(self.name, || format!("lost a task at {}", point.name()));
                self.world.tally().cancels += 1;
                if self.role == Role::Worker {
                    self.restart_hung_worker();
                }
                std::future::pending().await
            }
            Strike::Fault => {
                self.world.tally().faults += 1;
                true
            }
        }
    }

    /// A worker whose loop hangs is restarted from outside.
    fn restart_hung_worker(&self) {
        let pause = self.world.chance().millis(20_000, 120_000);
        let died = self.died.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            died.cancel();
        });
    }
}

impl Host for Life {
    fn now(&self) -> Timestamp {
        let error = SignedDuration::from_millis(self.clock_error_ms());
        self.world
            .now()
            .checked_add(error)
            .unwrap_or(Timestamp::MAX)
    }

    fn random(&self) -> u64 {
        lock(&self.chance).bits()
    }
}

/// A replica's ports, put together as the runtime wants them.
pub fn payments(life: &Arc<Life>) -> Arc<Payments> {
    Arc::new(Payments {
        config: crate::setting::config(&life.world.profile),
        records: Arc::new(crate::records::LivingRecords::new(life.clone())),
        cache: Some(Arc::new(crate::cache::SimCache::new(life.clone()))),
        channels: Arc::new(crate::channel::port::SimChannels::new(life)),
        host: life.clone(),
        metrics: crate::setting::metrics(),
    })
}

/// Starts a replica: its router and its work.
pub fn start(world: &Arc<World>, replica: usize, number: u64) -> Arc<Life> {
    let life = Life::new(world.clone(), REPLICAS[replica], number);
    let payments = payments(&life);
    let surface = payment_runtime::http::Surface::new(payments.metrics.clone(), life.clone(), 512);
    let router = match life.role {
        Role::Api => Some(payment_runtime::api::router(payments.clone())),
        Role::Callback => Some(payment_runtime::callback::router(payments.clone())),
        Role::Worker | Role::Reconcile => None,
    };
    *lock(&life.router) = router.map(|router| surface.wrap(router));
    if life.role == Role::Worker {
        tokio::spawn(payment_runtime::worker::run(payments, life.stop.clone()));
    }
    world.lives()[replica] = Some(life.clone());
    if life.number > 0 {
        world.say(life.name, || "started again".to_owned());
    }
    life
}

/// Keeps a replica running: whenever it dies it comes back after a while.
pub async fn keep_running(world: Arc<World>, replica: usize) {
    for number in 0.. {
        while REPLICAS[replica].1 == Role::Worker && world.workers_are_away.load(Ordering::Relaxed)
        {
            let pause = Duration::from_hours(1);
            let back = world.changed.notified();
            let _ = tokio::time::timeout(pause, back).await;
        }
        let life = start(&world, replica, number);
        life.died.cancelled().await;
        world.lives()[replica] = None;
        let pause = world.chance().millis(200, 20_000);
        tokio::time::sleep(pause).await;
    }
}
