//! Why pods are not ready, in the words of whoever knows (the scheduler, the kubelet, the process),
//! and what to do where that is known.
//!
//! Pure. Words of others are cut: a status stays small.

use serde_json::Value;

use crate::{build::labels, observe::Observed, report::cut};

/// How much of what others say is passed on.
const WORDS_MAX: usize = 300;

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

/// What to do about a fault of a pod.
fn cure(reason: &str, pod: &str) -> Option<String> {
    let cure = match reason {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" => {
            "correct the image, or let the nodes reach its registry".to_owned()
        }
        "Unschedulable" => "make room on a node, or ask for less resources".to_owned(),
        "CrashLoopBackOff" | "RunContainerError" => {
            format!("read `kubectl logs {pod} --all-containers --previous`")
        }
        "CreateContainerConfigError" | "CreateContainerError" => {
            format!("read `kubectl describe pod {pod}`")
        }
        _ => return None,
    };
    Some(format!("; {cure}"))
}

/// The beginning of what others say, where they come to the point.
fn beginning(words: &str) -> String {
    cut(words.trim(), WORDS_MAX)
}

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
        const REASON: &str = "Unschedulable";
        let message = beginning(unscheduled["message"].as_str().unwrap_or("no node fits"));
        let cure = cure(REASON, name).unwrap_or_default();
        return Some(Trouble {
            reason: Some(REASON),
            failed: false,
            message: format!("pod {name} is not scheduled: {message}{cure}"),
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
        .map(|message| format!(": {}", beginning(message)))
        .unwrap_or_default();
    let exit = bad_end(&status["lastState"]["terminated"]).map(|end| format!("; it last{end}"));
    let exit = exit.unwrap_or_default();
    let cure = cure(reason, pod).unwrap_or_default();
    (reason != "ContainerCreating" && reason != "PodInitializing").then(|| Trouble {
        reason: known,
        failed: known.is_some(),
        message: format!("pod {pod}: {reason}{detail}{exit}{cure}"),
    })
}

/// How a container ended that did not end well, and the end of what it said.
fn bad_end(terminated: &Value) -> Option<String> {
    let code = terminated["exitCode"].as_i64().filter(|code| *code != 0)?;
    let said = terminated["message"].as_str().unwrap_or_default().trim();
    let skipped = said.chars().count().saturating_sub(WORDS_MAX);
    let said: String = said.chars().skip(skipped).collect();
    let text = format!(" ended with exit code {code} {said}");
    Some(text.trim_end().to_owned())
}
