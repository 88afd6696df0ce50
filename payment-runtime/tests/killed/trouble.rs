//! What goes wrong meanwhile, by the seed: faults of the channels, and processes that are killed
//! or stand still.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::servers::Servers;
use crate::world::World;

/// Name and the only channel that has it. Refunds that only a person can end are not among them,
/// and `missing-callback` and `query-lag` are armed by the orders that may bear them.
const FAULTS: [(&str, Option<&str>); 23] = [
    ("drop-answer", None),
    ("error-500", None),
    ("error-500-before", None),
    ("slow-answer", None),
    ("unsigned-answer", None),
    ("bad-signature", None),
    ("rate-limited-429", None),
    ("rate-limited-429-with-effect", None),
    ("late-callback", None),
    ("duplicate-callback", None),
    ("forged-callback", None),
    ("reordered-callback", None),
    ("drop-answer", None),
    ("signtest-answer", Some("wechat")),
    ("stale-answer", Some("wechat")),
    ("unknown-serial", Some("wechat")),
    ("accepted-202", Some("wechat")),
    ("signtest-callback", Some("wechat")),
    ("refund-closed", Some("wechat")),
    ("error-response-unsigned", Some("alipay")),
    ("system-error-misspelt", Some("alipay")),
    ("service-unavailable-20000", Some("alipay")),
    ("fund-change-n", Some("alipay")),
];
/// Faults of answers strike where something is changed unless they are told otherwise.
const OPERATIONS: [&str; 6] = [
    "default",
    "default",
    "any",
    "query",
    "close",
    "refund-query",
];

fn fault(random: &mut StdRng) -> Value {
    let (name, only) = FAULTS[random.random_range(0..FAULTS.len())];
    let mut fault = json!({"name": name, "count": random.random_range(1..4)});
    match only {
        Some(channel) => fault["channel"] = channel.into(),
        None => fault["channel"] = ["wechat", "alipay"][random.random_range(0..2)].into(),
    }
    match name {
        "slow-answer" => fault["seconds"] = random.random_range(1..4).into(),
        "late-callback" => fault["seconds"] = random.random_range(1..30).into(),
        _ => {}
    }
    fault["operation"] = OPERATIONS[random.random_range(0..OPERATIONS.len())].into();
    fault
}

/// Arms a fault every now and then until the world's end.
pub(crate) async fn arm_faults(world: &World, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed ^ 0xfa17);
    while Instant::now() < world.ends {
        world.arm(&fault(&mut random)).await;
        let pause = random.random_range(250..600);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// What is done to a process.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Redis,
    Mysql,
    /// It stands still for longer than its leases last, and then goes on as if nothing had been.
    Freeze,
}

/// Kills a process of the runtime about every second, and the data stores at their times, until
/// the world's end; everything runs again afterwards.
pub(crate) async fn kill(servers: &mut Servers, world: &World, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0b10);
    let began = Instant::now();
    let length = world.ends.duration_since(began);
    let mut blows = Vec::new();
    for (blow, times) in [(Blow::Redis, 2), (Blow::Mysql, 1), (Blow::Freeze, 3)] {
        for _ in 0..times {
            let at = length * random.random_range(10..85) / 100;
            blows.push((at, blow));
        }
    }
    blows.sort_by_key(|(at, _)| *at);
    let mut blows = blows.into_iter().peekable();
    let mut frozen: Option<(usize, Instant)> = None;
    while Instant::now() < world.ends {
        if let Some((_, blow)) = blows.next_if(|(at, _)| *at <= began.elapsed()) {
            match blow {
                Blow::Redis => {
                    servers.kill_redis();
                    pause(&mut random, 300..1500).await;
                    servers.start_redis();
                }
                Blow::Mysql => {
                    servers.kill_mysql();
                    pause(&mut random, 0..1500).await;
                    servers.start_mysql();
                }
                Blow::Freeze if frozen.is_none() => {
                    let index = random.random_range(0..servers.roles());
                    servers.freeze(index);
                    let until = Instant::now() + Duration::from_millis(7500);
                    frozen = Some((index, until));
                }
                Blow::Freeze => {}
            }
        }
        if let Some((index, until)) = frozen
            && Instant::now() >= until
        {
            servers.thaw(index);
            frozen = None;
        }
        let index = random.random_range(0..servers.roles());
        if frozen.is_none_or(|(still, _)| still != index) {
            servers.kill_role(index);
            pause(&mut random, 0..500).await;
            servers.start_role(index);
        }
        pause(&mut random, 500..1000).await;
    }
    if let Some((index, _)) = frozen {
        servers.thaw(index);
    }
    for index in 0..servers.roles() {
        servers.start_role(index);
    }
}

async fn pause(random: &mut StdRng, milliseconds: std::ops::Range<u64>) {
    let pause = random.random_range(milliseconds);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}
