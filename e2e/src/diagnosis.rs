//! Who blocks, and what happened to it last: the text of every failure.

use anyhow::Result;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::ResourceExt as _;
use kube::api::ListParams;

use crate::cluster::Cluster;
use crate::system::{Condition, System};

const EVENTS_SHOWN: usize = 4;

/// The conditions that do not hold, the pods that are not ready and the last events of each.
pub async fn of(system: &System) -> String {
    let mut lines = Vec::new();
    match system.conditions().await {
        Ok(conditions) => {
            let open = conditions.iter().filter(|condition| !condition.holds());
            lines.extend(open.map(Condition::line));
        }
        Err(error) => lines.push(format!("its status cannot be read: {error:#}")),
    }
    let about = events(
        &system.cluster,
        &system.namespace,
        "PaymentSystem",
        &system.name,
    )
    .await;
    lines.extend(about);
    match blocked_pods(&system.cluster, &system.namespace).await {
        Ok(blocked) => lines.extend(blocked),
        Err(error) => lines.push(format!("the pods cannot be read: {error:#}")),
    }
    format!(
        "PaymentSystem {}/{}:\n    {}",
        system.namespace,
        system.name,
        lines.join("\n    ")
    )
}

async fn blocked_pods(cluster: &Cluster, namespace: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let pods: Vec<Pod> = cluster.list(namespace, &ListParams::default()).await?;
    for pod in pods
        .iter()
        .filter(|pod| !is_ready(pod) && !has_succeeded(pod))
    {
        lines.push(format!("pod {}: {}", pod.name_any(), why_not_ready(pod)));
        lines.extend(events(cluster, namespace, "Pod", &pod.name_any()).await);
    }
    Ok(lines)
}

async fn events(cluster: &Cluster, namespace: &str, kind: &str, name: &str) -> Vec<String> {
    let events = cluster
        .events(namespace, kind, name)
        .await
        .unwrap_or_default();
    let last = events.len().saturating_sub(EVENTS_SHOWN);
    events[last..].iter().map(event_line).collect()
}

fn event_line(event: &Event) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "    event {} {}: {}",
        text(&event.type_),
        text(&event.reason),
        text(&event.message)
    )
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Unknown")
}

/// The first thing that keeps a pod from being ready.
pub fn why_not_ready(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let containers = status.into_iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    let waiting = containers.into_iter().find_map(container_problem);
    let unscheduled = || {
        let conditions = status?.conditions.as_ref()?;
        let unmet = conditions
            .iter()
            .find(|c| c.type_ == "PodScheduled" && c.status != "True")?;
        unmet.message.clone()
    };
    waiting
        .or_else(unscheduled)
        .unwrap_or_else(|| format!("{}, its readiness probe does not succeed yet", phase(pod)))
}

fn container_problem(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    let waiting = state.waiting.as_ref().map(|waiting| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!(
            "{name} waits: {} {}",
            text(&waiting.reason),
            text(&waiting.message)
        )
    });
    let failed = state
        .terminated
        .as_ref()
        .filter(|ended| ended.exit_code != 0);
    let failed = failed.map(|ended| format!("{name} ended with exit code {}", ended.exit_code));
    let before = container
        .last_state
        .as_ref()
        .and_then(|last| last.terminated.as_ref());
    let before = before.map_or(String::new(), |ended| {
        format!(
            " (restarted {} times, last exit code {})",
            container.restart_count, ended.exit_code
        )
    });
    waiting.or(failed).map(|text| text + &before)
}
