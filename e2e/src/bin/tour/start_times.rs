//! How long the system took from apply to Ready, beside what its images take by themselves.
//!
//! The floor is the sum along the critical path: volume, database, coordinator, schema, service
//! each wait for the one before. The volume is there because its provisioner runs an image of its
//! own before the database's pod can be placed. Kubernetes tells these times in whole seconds.

use anyhow::{Context as _, Result};
use e2e::System;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;

use crate::paint::Paint;

/// A part whose end is further than this from the moment of Ready has been replaced since.
const SAME_START_SECONDS: i64 = 120;

struct Step {
    name: &'static str,
    from: Timestamp,
    to: Timestamp,
}

impl Step {
    fn seconds(&self) -> i64 {
        self.to.duration_since(self.from).as_secs()
    }
}

pub(crate) async fn show(demo: &System, paint: Paint) -> Result<()> {
    println!("\n{}", paint.title("From apply to Ready"));
    let object = demo.get().await?;
    let applied = object
        .creation_timestamp()
        .context("an object without creationTimestamp")?
        .0;
    let conditions = demo.conditions().await?;
    let ready = conditions
        .iter()
        .find(|condition| condition.kind == "Ready");
    let ready: Timestamp = ready
        .context("no condition Ready")?
        .last_transition
        .parse()?;
    let pods: Vec<Pod> = demo
        .cluster
        .list(&demo.namespace, &ListParams::default())
        .await?;
    let steps = path(&demo.name, &pods);
    if steps.len() < 5 || !one_start(&steps, ready) {
        println!(
            "  {}",
            paint.dim("parts have been replaced since: only a fresh system shows it")
        );
        return Ok(());
    }
    let took = ready.duration_since(applied).as_secs();
    let floor: i64 = steps.iter().map(Step::seconds).sum();
    let parts: Vec<String> = steps
        .iter()
        .map(|step| format!("{} {} s", step.name, step.seconds()))
        .collect();
    let tenths = took * 10 / floor.max(1);
    println!("  apply → Ready   {took:>4} s");
    println!(
        "  floor           {floor:>4} s   {}",
        paint.dim(&parts.join(" + "))
    );
    println!("  ratio           {:>2}.{}", tenths / 10, tenths % 10);
    Ok(())
}

fn path(system: &str, pods: &[Pod]) -> Vec<Step> {
    let first = |part: &str, step: fn(&'static str, &Pod) -> Option<Step>, name| {
        let prefix = format!("{system}-{part}-");
        let of_part = pods
            .iter()
            .filter(|pod| pod.name_any().starts_with(&prefix));
        of_part
            .filter_map(|pod| step(name, pod))
            .min_by_key(|step| step.to)
    };
    let steps = [
        first("mysql", until_placed, "volume"),
        first("mysql", until_ready, "database"),
        first("coordinator", until_ready, "coordinator"),
        first("migrate", until_ended, "schema"),
        first("payment", until_ready, "service"),
    ];
    steps.into_iter().flatten().collect()
}

fn one_start(steps: &[Step], ready: Timestamp) -> bool {
    steps.iter().all(|step| step.to <= ready)
        && steps
            .iter()
            .map(|step| ready.duration_since(step.to).as_secs())
            .min()
            .is_some_and(|seconds| seconds <= SAME_START_SECONDS)
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn until_placed(name: &'static str, pod: &Pod) -> Option<Step> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let placed = conditions.iter().find(|c| c.type_ == "PodScheduled")?;
    Some(Step {
        name,
        from: pod.creation_timestamp()?.0,
        to: placed.last_transition_time.as_ref()?.0,
    })
}

fn until_ready(name: &'static str, pod: &Pod) -> Option<Step> {
    let running = container(pod)?.state.as_ref()?.running.as_ref()?;
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|c| c.type_ == "Ready" && c.status == "True")?;
    let from = first_start(pod).or(running.started_at.as_ref().map(|at| at.0))?;
    Some(Step {
        name,
        from,
        to: ready.last_transition_time.as_ref()?.0,
    })
}

/// When the image's own preparation began (MySQL lays out its data directory before it serves).
fn first_start(pod: &Pod) -> Option<Timestamp> {
    let prepared = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let ended = prepared.first()?.state.as_ref()?.terminated.as_ref()?;
    Some(ended.started_at.as_ref()?.0)
}

fn until_ended(name: &'static str, pod: &Pod) -> Option<Step> {
    let ended: &ContainerStateTerminated = container(pod)?.state.as_ref()?.terminated.as_ref()?;
    let (from, to) = (ended.started_at.as_ref()?.0, ended.finished_at.as_ref()?.0);
    Some(Step { name, from, to })
}
