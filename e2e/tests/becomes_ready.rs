//! The demo system is ready, and its status says so in the words that tools understand.

use anyhow::{Result, ensure};
use e2e::Scene;
use k8s_openapi::jiff::Timestamp;

#[tokio::test]
async fn every_condition_holds_and_speaks_of_the_present_specification() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = every_condition_holds(&scene).await;
    scene.close(outcome).await
}

async fn every_condition_holds(scene: &Scene) -> Result<()> {
    let object = scene.demo.get().await?;
    let generation = object.metadata.generation;
    let observed = object.data["status"]["observedGeneration"].as_i64();
    ensure!(
        observed == generation,
        "observedGeneration {observed:?}, generation {generation:?}"
    );
    let conditions = scene.demo.conditions().await?;
    for condition in &conditions {
        let line = condition.line();
        ensure!(condition.holds(), "{line}");
        ensure!(
            condition.observed_generation == generation,
            "{line}: of another generation"
        );
        ensure!(
            !condition.reason.is_empty() && !condition.message.is_empty(),
            "{line}: no reason"
        );
        ensure!(
            condition.last_transition.parse::<Timestamp>().is_ok(),
            "{line}: no time"
        );
    }
    ensure!(
        conditions.iter().any(|c| c.kind == "Ready"),
        "no condition Ready"
    );
    ensure!(
        conditions.len() >= 5,
        "one condition per part is missing: {conditions:?}"
    );
    // kstatus: these two are present only while they are true.
    let busy = conditions
        .iter()
        .find(|c| matches!(c.kind.as_str(), "Reconciling" | "Stalled"));
    ensure!(busy.is_none(), "a system at rest still has {busy:?}");
    Ok(())
}

#[tokio::test]
async fn the_status_lists_the_parts_and_their_replicas() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = status_lists_parts(&scene).await;
    scene.close(outcome).await
}

async fn status_lists_parts(scene: &Scene) -> Result<()> {
    let object = scene.demo.get().await?;
    let components = object.data["status"]["components"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for part in [
        "mysql",
        "redis",
        "coordinator",
        "payment",
        "callback",
        "worker",
    ] {
        let name = format!("demo-{part}");
        let component = components
            .iter()
            .find(|component| component["name"] == name.as_str());
        let ready = component
            .and_then(|component| component["ready"].as_str())
            .unwrap_or("absent");
        let full = ready
            .split_once('/')
            .is_some_and(|(is, wanted)| is == wanted && is != "0");
        ensure!(full, "component {name} is {ready}");
    }
    Ok(())
}
