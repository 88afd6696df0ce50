//! What goes wrong meanwhile, by the seed: which faults the channels have, and whose pods are
//! deleted.

use std::time::{Duration, Instant};

use e2e::Chance;
use serde_json::{Value, json};

use crate::world::World;

/// Name and the only channel that has it. Refunds that only a person can end are not among them,
/// and `missing-callback` and `query-lag` are armed by the orders that may bear them.
const FAULTS: [(&str, Option<&str>); 22] = [
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

/// Workloads and how often each is hit. The simulator is not among them: its book is the judge.
pub(crate) const PARTS: [(&str, u64); 8] = [
    ("payment", 30),
    ("callback", 25),
    ("worker", 20),
    ("reconciliation", 5),
    ("redis", 8),
    ("mysql", 6),
    ("coordinator", 6),
    ("orders", 10),
];
fn fault(chance: &mut Chance) -> Value {
    let (name, only) = chance.one_of(&FAULTS);
    let channel = only.unwrap_or_else(|| chance.one_of(&["wechat", "alipay"]));
    let mut fault = json!({"name": name, "channel": channel, "count": chance.within(1..4)});
    match name {
        // On both sides of the longest time that the runtime waits.
        "slow-answer" => fault["seconds"] = chance.within(1..15).into(),
        "late-callback" => fault["seconds"] = chance.within(1..60).into(),
        _ => {}
    }
    fault["operation"] = chance.one_of(&OPERATIONS).into();
    fault
}

/// Arms a fault every now and then until the world's end.
pub(crate) async fn arm_faults(world: &World, seed: u64) {
    let mut chance = Chance::new(seed, 0xfa17);
    while Instant::now() < world.ends {
        // Too many may be armed already.
        let _ = world.simulator.arm(&fault(&mut chance)).await;
        let pause = chance.within(500..1500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}
