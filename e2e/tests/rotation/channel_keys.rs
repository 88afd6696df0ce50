//! The channels' keys, as docs/credentials.md says: the next ones beside the present, the change in
//! the portals, then the next ones alone. Only what reads them restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::cluster::MANAGER;
use e2e::scene::CHANNELS;
use e2e::{Order, Scene, Seen, until};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::customers::while_customers_pay;

type Keys = BTreeMap<String, String>;

const SECRET: &str = "demo-channel-simulator";
/// What holds the channels' keys.
const READERS: [&str; 4] = ["payment", "callback", "worker", "reconciliation"];
const OTHERS: [&str; 5] = [
    "mysql",
    "redis",
    "coordinator",
    "orders",
    "channel-simulator",
];
/// Keys of which the Secret may hold two.
const IN_TWO_PHASES: [&str; 4] = [
    "wechat-api-key",
    "wechat-public-key-id",
    "wechat-public-key",
    "alipay-public-key",
];
/// Keys that both are valid of at the channel meanwhile.
const AT_ONCE: [&str; 2] = ["wechat-private-key", "wechat-merchant-serial"];
const SOON: Duration = Duration::from_secs(30);
const ROLLED_WITHIN: Duration = Duration::from_mins(5);
/// As many as come to every callback pod.
const REPEATED: u32 = 6;

#[tokio::test]
async fn the_channels_keys_change_while_customers_pay() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = changes(&scene).await;
    scene.close(outcome).await
}

async fn changes(scene: &Scene) -> Result<()> {
    let before = pods(scene, &OTHERS).await?;
    end_an_earlier_change(scene).await?;
    let next = scene.simulator.make_next_keys().await?;
    while_customers_pay(scene, change(scene, &next)).await?;
    scene.simulator.give_up_keys().await?;
    callbacks_are_believed(scene).await?;
    ensure!(
        pods(scene, &OTHERS).await? == before,
        "a pod was replaced that reads none of these keys"
    );
    Ok(())
}

/// A test that died leaves two sets of keys; those in use are valid alone.
async fn end_an_earlier_change(scene: &Scene) -> Result<()> {
    let (held, in_use) = (read(scene).await?, scene.simulator.keys().await?);
    let same = |(name, value): (&String, &String)| {
        let held = held.get(name).map(|text| text.trim());
        held == Some(value.trim())
    };
    if in_use.iter().all(same) {
        return Ok(());
    }
    roll(scene, &in_use).await
}

async fn change(scene: &Scene, next: &Keys) -> Result<()> {
    let present = read(scene).await?;
    roll(scene, &both(&present, next)?).await?;
    callbacks_are_believed(scene).await?;
    scene.simulator.switch_keys().await?;
    callbacks_are_believed(scene).await?;
    roll(scene, next).await?;
    callbacks_are_believed(scene).await
}

/// The edit that lets the next keys in.
fn both(present: &Keys, next: &Keys) -> Result<Keys> {
    let mut edit = Keys::new();
    for name in IN_TWO_PHASES {
        let [first, second] = [present, next].map(|keys| keys.get(name).map(|text| text.trim()));
        let first = first.with_context(|| format!("no {name}"))?;
        let second = second.with_context(|| format!("no next {name}"))?;
        edit.insert(name.to_owned(), format!("{first}\n{second}\n"));
    }
    for name in AT_ONCE {
        let value = next.get(name).with_context(|| format!("no next {name}"))?;
        edit.insert(name.to_owned(), value.clone());
    }
    Ok(edit)
}

async fn read(scene: &Scene) -> Result<Keys> {
    let api = scene.cluster.api::<Secret>(&scene.demo.namespace);
    let data = api.get(SECRET).await?.data.unwrap_or_default();
    data.into_iter()
        .map(|(name, value)| Ok((name, String::from_utf8(value.0)?)))
        .collect()
}

/// Edits the Secret and waits until all that reads it runs anew.
async fn roll(scene: &Scene, edit: &Keys) -> Result<()> {
    let old = pods(scene, &READERS).await?;
    let api = scene.cluster.api::<Secret>(&scene.demo.namespace);
    let by = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"stringData": edit}));
    api.patch(SECRET, &by, &patch).await?;
    until("new pods to have the keys", ROLLED_WITHIN, async || {
        let now = pods(scene, &READERS).await?;
        let left: Vec<&String> = now.intersection(&old).collect();
        Ok(Seen::when(left.is_empty(), format!("{left:?} are old")))
    })
    .await?;
    scene.demo.wait_settled(ROLLED_WITHIN).await
}

async fn pods(scene: &Scene, parts: &[&str]) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for part in parts {
        let pods = scene.demo.pods_of(part).await?;
        ensure!(!pods.is_empty(), "{part} has no pod");
        all.extend(pods.iter().filter_map(ResourceExt::uid));
    }
    Ok(all)
}

/// What the channels send now is acknowledged by every pod that hears it: a payment may also be
/// found by asking, which would hide that it is not.
async fn callbacks_are_believed(scene: &Scene) -> Result<()> {
    for channel in CHANNELS {
        let order = Order::new("E2E-KEYS", channel, "1.00");
        let created = scene.api.create(&order).await?;
        ensure!(created.status == 201, "{} {}", created.status, created.body);
        let number = created.channel_order_no();
        scene.simulator.pay(channel, number).await?;
        let payment = created.payment_id();
        scene.api.wait_status(payment, "PAID", SOON).await?;
        let acknowledged = scene.simulator.replay(channel, number, REPEATED).await?;
        ensure!(
            acknowledged == u64::from(REPEATED),
            "{acknowledged} of {REPEATED} callbacks of {channel} were believed"
        );
    }
    Ok(())
}
