//! Why pods are not ready, in the words of whoever knows: the scheduler, the kubelet, the process.
//!
//! Pure.

use serde_json::Value;

use crate::{build::labels, observe::Observed};

/// Why a pod is not ready.
pub(crate) struct Trouble {
    pub(crate) reason: Option<&'static str>,
    pub(crate) failed: bool,
    pub(crate) message: String,
}

/// Reasons of kubelets that waiting rarely cures, as condition reasons.
const POD_FAULTS: [&str; 7] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// The pod of a component that says most about why it is not ready.
pub(crate) fn trouble(observed: &Observed, component: &str) -> Option<Trouble> {
    let pods: Vec<Value> = observed
        .pods()
        .filter(|pod| pod["metadata"]["labels"][labels::COMPONENT] == component)
        .collect();
    let mut troubles: Vec<Trouble> = pods.iter().filter_map(pod_trouble).collect();
    troubles.sort_by_key(|trouble| !trouble.failed);
    troubles.into_iter().next()
}

fn pod_trouble(pod: &Value) -> Option<Trouble> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = pod["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let condition = |kind: &str| {
        conditions
            .iter()
            .find(|condition| condition["type"] == kind)
    };
    if condition("Ready").is_some_and(|ready| ready["status"] == "True") {
        return None;
    }
    let unscheduled = condition("PodScheduled").filter(|scheduled| scheduled["status"] == "False");
    if let Some(unscheduled) = unscheduled {
        let message = unscheduled["message"].as_str().unwrap_or("no node fits");
        return Some(Trouble {
            reason: Some("Unschedulable"),
            failed: false,
            message: format!("pod {name} is not scheduled: {message}"),
        });
    }
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|field| pod["status"][field].as_array().cloned().unwrap_or_default())
        .find_map(|status| container_trouble(name, &status))
}

fn container_trouble(pod: &str, status: &Value) -> Option<Trouble> {
    if let Some(end) = bad_end(&status["state"]["terminated"]) {
        return Some(Trouble {
            reason: None,
            failed: false,
            message: format!("pod {pod}{end}"),
        });
    }
    let waiting = &status["state"]["waiting"];
    let reason = waiting["reason"].as_str()?;
    let known = POD_FAULTS.into_iter().find(|fault| *fault == reason);
    let detail = waiting["message"]
        .as_str()
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    let exit = bad_end(&status["lastState"]["terminated"]).map(|end| format!("; it last{end}"));
    (reason != "ContainerCreating" && reason != "PodInitializing").then(|| Trouble {
        reason: known,
        failed: known.is_some(),
        message: format!("pod {pod}: {reason}{detail}{}", exit.unwrap_or_default()),
    })
}

/// How a container ended that did not end well, and the end of what it said.
fn bad_end(terminated: &Value) -> Option<String> {
    const CHARACTERS_MAX: usize = 300;
    let code = terminated["exitCode"].as_i64().filter(|code| *code != 0)?;
    let said = terminated["message"].as_str().unwrap_or_default().trim();
    let skipped = said.chars().count().saturating_sub(CHARACTERS_MAX);
    let said: String = said.chars().skip(skipped).collect();
    let text = format!(" ended with exit code {code} {said}");
    Some(text.trim_end().to_owned())
}
