//! Every field of the specification is walked: valid, another valid value, invalid, and back.
//!
//! Guarantees: another valid value changes some object and leaves the system at rest, or is
//! refused in words; an invalid one is refused by the API server with a message that names the
//! field, and so is a field that does not exist; after the way back every object is what it was.
//! The fields come from the generated schema, so a new one is walked at once, or fails the test
//! until it has a value.
//!
//! The method is that of Acto (Gu et al., SOSP 2023).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests"
)]

#[path = "walk/invalid.rs"]
mod invalid;
#[path = "walk/leaf.rs"]
mod leaf;
#[path = "walk/mask.rs"]
mod mask;
#[path = "walk/scene.rs"]
mod scene;
mod support;
#[path = "walk/values.rs"]
mod values;
#[path = "walk/visit.rs"]
mod visit;

use kube::Client;
use payment_operator::kinds::KINDS;
use scene::Scene;
use serde_json::json;
use support::{
    cluster::{self, Cluster},
    optional, run, scenario, state, world,
};
use world::World;

async fn start() -> (Cluster, World, Client) {
    let cluster = Cluster::start().await;
    optional::install(&cluster).await;
    scenario::growing_volumes(&cluster.client).await;
    let mut configuration = cluster.operator_configuration();
    configuration.default_retry = false;
    let operators = Client::try_from(configuration).unwrap();
    let optional = KINDS.iter().filter(|entry| entry.optional);
    let optional = optional.map(|entry| (entry.name, entry.resource()));
    let kinds = world::kinds().into_iter().chain(optional).collect();
    let world = World::record_kinds(cluster.client.clone(), kinds).await;
    (cluster, world, operators)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_reaches_the_system_and_returns() {
    let leaves = leaf::all();
    let missing: Vec<&str> = leaves
        .iter()
        .filter(|leaf| values::other(leaf, &Scene::of(leaf).specification()).is_none())
        .map(|leaf| leaf.path.as_str())
        .collect();
    assert!(
        missing.is_empty(),
        "fields without another valid value, see walk/values.rs: {missing:?}"
    );
    let stale = values::unused(&leaves);
    assert!(
        stale.is_empty(),
        "walk/values.rs names what is no field: {stale:?}"
    );
    let (_cluster, world, operators) = start().await;
    let walks = [Scene::Managed, Scene::External].map(|scene| {
        let leaves = leaves.iter().filter(|leaf| Scene::of(leaf) == scene);
        visit::walk(&world, &operators, scene, leaves.collect())
    });
    let found = futures::future::join_all(walks).await.concat();
    println!("{} fields", leaves.len());
    assert!(
        found.is_empty(),
        "{} findings:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[tokio::test]
async fn what_is_invalid_is_refused_by_name() {
    let cluster = Cluster::start().await;
    let mut found = Vec::new();
    let mut tried = 0;
    for leaf in leaf::all() {
        let specification = Scene::of(&leaf).specification();
        for wrong in invalid::values(&leaf) {
            tried += 1;
            found.extend(
                invalid::must_be_refused(&cluster, &specification, &leaf.path, wrong).await,
            );
        }
    }
    for path in leaf::objects() {
        let path = if path.is_empty() {
            "noSuchField".to_owned()
        } else {
            format!("{path}.noSuchField")
        };
        let specification = Scene::of_path(&path).specification();
        tried += 1;
        found.extend(invalid::must_be_refused(&cluster, &specification, &path, json!(1)).await);
    }
    for path in leaf::required() {
        let specification = Scene::of_path(&path).specification();
        tried += 1;
        found.extend(invalid::must_be_refused(&cluster, &specification, &path, json!(null)).await);
    }
    println!("{tried} invalid specifications");
    assert!(
        found.is_empty(),
        "{} findings:\n{}",
        found.len(),
        found.join("\n")
    );
}
