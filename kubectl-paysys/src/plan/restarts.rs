//! Which pods an edit replaces, why, and what that costs.
//!
//! Pure. How long a pod takes is not guessed: it is what the pods that run now took.

use k8s_openapi::jiff::Timestamp;
use payment_operator::{
    build::{Manifest, labels},
    cache::Live,
    kinds::Kind,
    observe::Observed,
};
use serde::Serialize;
use serde_json::Value;

use super::changes::Change;

const TEMPLATE: &str = "/spec/template";
/// A pod that took longer was in trouble: it says nothing about the next one.
const STARTUP_SECONDS_MAX: i64 = 1_800;

/// What happens while pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Cost {
    /// The only pod stops before the new one starts.
    Outage,
    /// One pod after the other stops; the others go on.
    OneAtATime,
    /// A new pod is ready before an old one stops.
    None,
}

/// The replacement of a workload's pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Restart {
    pub(super) pods: i64,
    pub(super) why: Vec<String>,
    pub(super) cost: Cost,
    /// How long one pod took to become ready the last time; absent if no ready pod tells.
    pub(super) startup_seconds: Option<i64>,
}

impl Restart {
    /// How long all of it takes, if that is known.
    pub(super) fn seconds(&self) -> Option<i64> {
        self.startup_seconds.map(|seconds| seconds * self.pods)
    }
}

/// Whether these changes replace the pods of a workload that exists.
pub(super) fn restart(
    manifest: &Manifest,
    changes: &[Change],
    live: Option<&Live>,
    observed: &Observed,
) -> Option<Restart> {
    let live = live?;
    let replaces = matches!(manifest.kind, Kind::StatefulSet | Kind::Deployment);
    let why: Vec<String> = changes.iter().filter_map(cause).collect();
    let pods = i64::from(live.replicas());
    if !replaces || why.is_empty() || pods == 0 {
        return None;
    }
    let strategy = &manifest.value["spec"]["strategy"]["type"];
    let cost = match manifest.kind {
        Kind::Deployment if strategy != "Recreate" => Cost::None,
        _ if pods == 1 => Cost::Outage,
        Kind::Deployment => Cost::Outage,
        _ => Cost::OneAtATime,
    };
    let component = &manifest.value["metadata"]["labels"][labels::COMPONENT];
    Some(Restart {
        pods,
        why,
        cost,
        startup_seconds: startup(observed, component),
    })
}

/// Why a change replaces pods, in words.
fn cause(change: &Change) -> Option<String> {
    let field = change.path.strip_prefix(TEMPLATE)?;
    let text = |value: &Option<Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "nothing".to_owned(),
    };
    Some(if field.ends_with("/image") {
        format!("image {} → {}", text(&change.old), text(&change.new))
    } else if field.ends_with(labels::CONFIG_HASH) {
        "its configuration changes".to_owned()
    } else if field.ends_with(labels::CREDENTIALS_HASH) {
        "a Secret it reads changes".to_owned()
    } else {
        let field = field.strip_prefix("/spec").unwrap_or(field);
        format!("{} changes", field.trim_start_matches('/'))
    })
}

/// The longest time that a ready pod of a component took to become ready.
fn startup(observed: &Observed, component: &Value) -> Option<i64> {
    observed
        .pods()
        .filter(|pod| pod["metadata"]["labels"][labels::COMPONENT] == *component)
        .filter_map(|pod| pod_startup(&pod))
        .max()
}

/// From when a pod was scheduled until it was ready. A pod whose containers were started again
/// became ready for another reason.
fn pod_startup(pod: &Value) -> Option<i64> {
    let since = |kind: &str| {
        let conditions = pod["status"]["conditions"].as_array()?;
        let mut conditions = conditions.iter();
        let condition = conditions.find(|c| c["type"] == kind && c["status"] == "True")?;
        let at = condition["lastTransitionTime"].as_str()?;
        at.parse::<Timestamp>().ok()
    };
    let containers = pod["status"]["containerStatuses"].as_array()?;
    if containers
        .iter()
        .any(|c| c["restartCount"].as_i64() != Some(0))
    {
        return None;
    }
    let seconds = since("Ready")?.as_second() - since("PodScheduled")?.as_second();
    (0..=STARTUP_SECONDS_MAX)
        .contains(&seconds)
        .then_some(seconds)
}
