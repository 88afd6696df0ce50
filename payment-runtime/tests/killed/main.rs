//! The invariants against a real MySQL, a real Redis and real processes that are killed with
//! SIGKILL under load, while the channels misbehave.
//!
//! A seed fixes the orders, the faults and the blows; `SEED=` repeats a schedule (not its timing).
//! Whatever the schedule does, the verdict is about invariants alone, so that it does not depend
//! on how busy the computer is: afterwards everything is left alone until nothing is open, and the
//! channels' own books are compared with the database and with what clients were told.

#![cfg(test)]

mod front;
mod judge;
mod load;
mod quiet;
mod servers;
mod trouble;
mod world;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::SimulatorConfig;

use crate::front::Front;
use crate::judge::Case;
use crate::servers::{Outside, Seat, Servers};
use crate::world::World;

const LOAD_SECONDS: u64 = 60;
/// Shown of what went wrong: one mistake has many consequences.
const BREACHES_SHOWN: usize = 20;

/// Told whether the test fails or not, which a test's own output is not.
fn tell(line: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn urls(seats: &[Seat], role: &str) -> Vec<String> {
    let of_role = seats.iter().filter(|seat| seat.role == role);
    of_role.map(Seat::url).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_charge_is_lost_or_doubled_when_processes_are_killed() {
    let seed = number_of("SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let seconds = number_of("KILLED_SECONDS").unwrap_or(LOAD_SECONDS);
    tell(&format!("SEED={seed}"));
    let local = "127.0.0.1:0".to_owned();
    let simulator = SimulatorConfig {
        listen: local.clone(),
        admin_listen: local,
        ..SimulatorConfig::default()
    };
    let simulator = channel_simulator::start(&simulator).await.unwrap();
    let seats = Servers::seats();
    let front = Front::open(urls(&seats, "callback")).await;
    let outside = Outside {
        callbacks: &front.url,
        simulator: simulator.public(),
        keys: simulator.client_keys(),
    };
    let apis = urls(&seats, "api");
    let mut servers = Servers::start(seats, &outside).await;

    let ends = Instant::now() + Duration::from_secs(seconds);
    let admin = format!("http://{}", simulator.admin());
    let world = Arc::new(World::new(apis, admin, ends));
    let load = tokio::spawn({
        let world = world.clone();
        async move { load::run(&world, seed).await }
    });
    let faults = tokio::spawn({
        let world = world.clone();
        async move { trouble::arm_faults(&world, seed).await }
    });
    trouble::kill(&mut servers, &world, seed).await;
    faults.await.unwrap();
    let orders = load.await.unwrap();

    world.disarm().await;
    servers.settle().await;
    let mut database = servers.connect().await.unwrap();
    let too_early = judge::given_up_too_early(&world, &mut database).await;
    let open = quiet::come_to_rest(&servers, &world, &front).await;
    let case = Case::read(&world, &mut database).await;
    let acknowledged = front.acknowledged();
    let mut breaches = case.breaches(&world, &acknowledged);
    breaches.extend(too_early);
    if open > 0 {
        breaches.push(format!("I14: {open} things never ended"));
    }
    breaches.extend(servers.deaths());
    tell(&format!(
        "seed {seed}: orders {orders}; {}; acknowledged callbacks {}; kills: {}; answers {:?}",
        case.summary(),
        acknowledged.len(),
        servers.kills(),
        world.statuses(),
    ));
    if breaches.is_empty() {
        servers.stop();
        simulator.stop().await;
        return;
    }
    let files = servers.keep_files();
    let shown = breaches[..breaches.len().min(BREACHES_SHOWN)].join("\n");
    panic!(
        "SEED={seed}: {} breaches; logs and data are in {}\n{shown}",
        breaches.len(),
        files.display()
    );
}
