//! Why a system waits, as text for people.
//!
//! Pure.

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;

use super::evidence::{Container, PodState, Warning, Why};
use crate::screen::{Paint, age, instant, wrapped};

const WIDTH: usize = 92;

pub(super) fn why(why: &Why, paint: Paint, now: Timestamp) -> String {
    let name = paint.strong(&format!("{}/{}", why.namespace, why.name));
    let since = why.since.map_or_else(String::new, |since| {
        format!(", for {} (since {})", age(since, now), instant(since))
    });
    let Some(object) = &why.blocked_by else {
        let mut text = format!(
            "{name}: {}{since}.\n",
            paint.good("nothing blocks it, all parts are ready")
        );
        if let Some(next) = &why.next {
            text.push_str(&next_action(next, paint));
        }
        return text;
    };
    let blocked = paint.bad(&format!("{} {}", object.kind, object.name));
    let mut text = format!(
        "{name} is {}: {blocked} blocks it{since}\n",
        why.state.word()
    );
    if !why.message.is_empty() {
        let said = format!("{}: {}", why.reason, why.message);
        text.push_str(&wrapped(&said, "  ", WIDTH));
    }
    if !why.pods.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("Pods"));
        let pods = why.pods.iter().map(|pod| pod_lines(pod, paint));
        text.push_str(&pods.collect::<String>());
    }
    if !why.events.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("Last warnings"));
        let events = why.events.iter().map(|event| event_lines(event, now));
        text.push_str(&events.collect::<String>());
    }
    if let Some(next) = &why.next {
        text.push_str(&next_action(next, paint));
    }
    text
}

fn next_action(next: &str, paint: Paint) -> String {
    format!("\n{}\n{}", paint.strong("Next"), wrapped(next, "  ", WIDTH))
}

fn pod_lines(pod: &PodState, paint: Paint) -> String {
    let ready = if pod.ready {
        paint.good("ready")
    } else {
        paint.bad("not ready")
    };
    let mut text = format!("  {}: {}, {ready}\n", pod.name, pod.phase);
    if let Some(why) = &pod.unscheduled {
        text.push_str(&wrapped(&format!("not scheduled: {why}"), "    ", WIDTH));
    }
    for container in &pod.containers {
        text.push_str(&container_lines(container));
    }
    text
}

fn container_lines(container: &Container) -> String {
    let restarts = match container.restarts {
        0 => String::new(),
        1 => ", restarted once".to_owned(),
        times => format!(", restarted {times} times"),
    };
    let line = format!(
        "{} ({}){restarts}: {}",
        container.name, container.image, container.state
    );
    let mut text = wrapped(&line, "    ", WIDTH);
    if let Some(last) = &container.last {
        text.push_str(&wrapped(&format!("before: {last}"), "      ", WIDTH));
    }
    text
}

fn event_lines(event: &Warning, now: Timestamp) -> String {
    let ago = event.at.map_or("?".to_owned(), |at| age(at, now));
    let times = if event.count > 1 {
        format!(" ({} times)", event.count)
    } else {
        String::new()
    };
    let line = format!(
        "{ago} ago{times} {} {} {}: {}",
        event.object.kind, event.object.name, event.reason, event.message
    );
    wrapped(&line, "  ", WIDTH)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Event, Pod};
    use payment_operator::gates::condition as part;
    use serde_json::json;

    use super::{super::evidence::*, *};
    use crate::status::view::{self, tests::object};

    fn now() -> Timestamp {
        "2026-11-22T10:05:00Z".parse().unwrap()
    }

    fn blocked(reason: &str, progress: &str, message: &str) -> view::System {
        view::system(&object(&[
            ("Ready", "False", reason, message),
            (progress, "True", reason, message),
            (part::DATABASE, "False", reason, message),
        ]))
    }

    fn pod(state: &serde_json::Value, last: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "demo-mysql-0"},
            "status": {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
                "initContainerStatuses": [{
                    "name": "prepare", "image": "mysql:9.7", "imageID": "", "restartCount": 0, "ready": true,
                    "state": {"terminated": {"exitCode": 0}},
                }],
                "containerStatuses": [{
                    "name": "mysql", "image": "mysql:9.7", "imageID": "", "restartCount": 4, "ready": false,
                    "state": state, "lastState": last,
                }],
            },
        }))
        .unwrap()
    }

    fn event(name: &str, reason: &str, at: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{name}.1")},
            "involvedObject": {"kind": "Pod", "name": name},
            "reason": reason, "message": "Back-off restarting failed container", "count": 7,
            "lastTimestamp": at, "type": "Warning",
        }))
        .unwrap()
    }

    fn crashing() -> Why {
        let message =
            "waiting for StatefulSet demo-mysql: 0/1 ready; pod demo-mysql-0: CrashLoopBackOff";
        let system = blocked("CrashLoopBackOff", "Stalled", message);
        let object = blocking(&system);
        let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}});
        let last = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "InnoDB: no space left"}});
        let evidence = Evidence {
            exists: true,
            pods: vec![pod(&state, &last)],
            events: vec![
                event("demo-mysql-0", "BackOff", "2026-11-22T10:04:00Z"),
                event("demo-redis-0", "BackOff", "2026-11-22T10:04:30Z"),
                event("demo-mysql-0", "Unhealthy", "2026-11-22T10:04:50Z"),
            ],
        };
        super::super::evidence::explain(&system, object, &evidence)
    }

    #[test]
    fn answers() {
        insta::assert_snapshot!("crashing", why(&crashing(), Paint::Plain, now()));
        insta::assert_snapshot!("crashing_coloured", why(&crashing(), Paint::Colours, now()));
        insta::assert_json_snapshot!("crashing_json", crashing());
        let ready = view::system(&object(&[(
            "Ready",
            "True",
            "Available",
            "all parts are ready",
        )]));
        let text = why(&nothing(&ready), Paint::Plain, now());
        insta::assert_snapshot!("nothing", text);
    }

    #[test]
    fn the_operators_messages_name_the_object() {
        for (message, kind, name) in [
            (
                "Secret payment-channels does not exist: create it with the keys wechat-app-id",
                "Secret",
                "payment-channels",
            ),
            (
                "waiting for Deployment demo-payment: 0/3 ready; pod demo-payment-x: ErrImagePull",
                "Deployment",
                "demo-payment",
            ),
            (
                "Job demo-migrate-0a1b2c has failed: read `kubectl logs job/demo-migrate-0a1b2c`",
                "Job",
                "demo-migrate-0a1b2c",
            ),
            (
                "cannot apply the manifests: cannot apply Service demo-payment: forbidden",
                "Service",
                "demo-payment",
            ),
            (
                "no payment channel is switched on: set channels.wechat.enabled",
                "PaymentSystem",
                "demo",
            ),
        ] {
            let object = blocking(&blocked("Any", "Stalled", message));
            assert_eq!((object.kind.as_str(), object.name.as_str()), (kind, name));
        }
    }

    #[test]
    fn a_cause_with_a_usual_cure_says_it() {
        for (reason, words) in [
            ("ImagePullBackOff", "correct the image"),
            ("Unschedulable", "make room on a node"),
            ("CrashLoopBackOff", "--previous"),
            ("CreateContainerConfigError", "kubectl describe pod"),
            ("SecretKeyMissing", "as the message says"),
            ("MigrationFailed", "kubectl delete job"),
            ("NameTaken", "delete, rename or label it"),
            ("ApplyFailed", "tries again by itself"),
        ] {
            let system = blocked(reason, "Stalled", "waiting for StatefulSet demo-mysql: 0/1");
            let object = blocking(&system);
            let why = super::super::evidence::explain(&system, object, &Evidence::default());
            let next = why.next.unwrap();
            assert!(next.contains(words), "{reason}: {next}");
        }
    }
}
