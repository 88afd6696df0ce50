//! A Job made from the schedule, and how it ended.
//!
//! Pure.

use std::collections::BTreeMap;

use contract::RunSummary;
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::civil::Date,
};
use kube::ResourceExt;

use crate::failure::Failure;

/// How `kubectl create job --from` marks what a person asked for.
const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";

/// The Job of one run. The API server completes its name, so that it is unique.
pub(super) fn from(
    schedule: &CronJob,
    date: Option<Date>,
    channel: Option<&str>,
    dry_run: bool,
) -> Result<Job, Failure> {
    let name = schedule.name_any();
    let strange = || {
        let todo = "see who changed it: the operator puts it right unless the system is paused";
        Failure::new(
            format!("CronJob {name} has no container with arguments"),
            todo,
        )
    };
    let template = schedule.spec.as_ref().map(|spec| spec.job_template.clone());
    let template = template.ok_or_else(strange)?;
    let mut spec = template.spec.ok_or_else(strange)?;
    let pod = spec.template.spec.as_mut();
    let container = pod.and_then(|pod| pod.containers.first_mut());
    let arguments = container.and_then(|container| container.args.as_mut());
    change(arguments.ok_or_else(strange)?, date, channel, dry_run);
    let metadata = template.metadata.unwrap_or_default();
    let mut annotations: BTreeMap<String, String> = metadata.annotations.unwrap_or_default();
    annotations.insert(INSTANTIATE.to_owned(), "manual".to_owned());
    Ok(Job {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-manual-")),
            labels: metadata.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "CronJob".to_owned(),
                uid: schedule.uid().unwrap_or_default(),
                controller: Some(true),
                name,
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

/// The scheduled run's arguments, with the days and options that were asked for.
fn change(arguments: &mut Vec<String>, date: Option<Date>, channel: Option<&str>, dry_run: bool) {
    if let Some(date) = date {
        if let Some(days) = arguments.iter().position(|argument| argument == "--days") {
            let end = arguments.len().min(days + 2);
            arguments.drain(days..end);
        }
        arguments.extend(["--date".to_owned(), date.to_string()]);
    }
    if let Some(channel) = channel {
        arguments.extend(["--channel".to_owned(), channel.to_owned()]);
    }
    if dry_run {
        arguments.push("--dry-run".to_owned());
    }
}

/// Whether a Job has ended, and well.
pub(super) fn ended(job: &Job) -> Option<bool> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let holds = |kind: &str| {
        let mut conditions = conditions.iter();
        conditions.any(|condition| condition.type_ == kind && condition.status == "True")
    };
    if holds("Complete") {
        return Some(true);
    }
    holds("Failed").then_some(false)
}

/// What a run's pod said at its end.
pub(super) fn summary(pod: &Pod) -> Option<RunSummary> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let state = statuses.first()?.state.as_ref()?;
    let message = state.terminated.as_ref()?.message.as_ref()?;
    serde_json::from_str(message).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schedule() -> CronJob {
        serde_json::from_value(json!({
            "metadata": {"name": "demo-reconciliation", "uid": "u1"},
            "spec": {
                "schedule": "10 2 * * *",
                "jobTemplate": {
                    "metadata": {"labels": {"app.kubernetes.io/component": "reconciliation-run"}},
                    "spec": {"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never", "containers": [
                        {"name": "runtime", "image": "runtime:1", "args": ["reconcile", "--config", "/etc/x", "--days", "3"]},
                    ]}}},
                },
            },
        }))
        .unwrap()
    }

    fn arguments(job: &Job) -> Vec<String> {
        let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        pod.containers[0].args.clone().unwrap()
    }

    #[test]
    fn a_run_is_the_scheduled_one_and_belongs_to_its_schedule() {
        let job = from(&schedule(), None, None, false).unwrap();
        insta::assert_yaml_snapshot!("job", job);
    }

    #[test]
    fn what_is_asked_for_stands_in_the_arguments() {
        let day: Date = "2026-11-21".parse().unwrap();
        for (date, channel, dry_run, expected) in [
            (None, None, true, "--days 3 --dry-run"),
            (Some(day), None, false, "--date 2026-11-21"),
            (
                Some(day),
                Some("alipay"),
                true,
                "--date 2026-11-21 --channel alipay --dry-run",
            ),
        ] {
            let job = from(&schedule(), date, channel, dry_run).unwrap();
            let said = arguments(&job).join(" ");
            assert_eq!(said, format!("reconcile --config /etc/x {expected}"));
        }
    }

    #[test]
    fn a_schedule_without_arguments_is_refused() {
        let mut schedule = schedule();
        schedule.spec = None;
        let failure = from(&schedule, None, None, false).unwrap_err().to_string();
        assert!(failure.starts_with("CronJob demo-reconciliation has no container"));
    }

    #[test]
    fn a_jobs_end_stands_in_its_conditions() {
        for (kind, expected) in [
            ("Complete", Some(true)),
            ("Failed", Some(false)),
            ("SuccessCriteriaMet", None),
        ] {
            let job = json!({"metadata": {}, "status": {"conditions": [{"type": kind, "status": "True"}]}});
            let job: Job = serde_json::from_value(job).unwrap();
            assert_eq!(ended(&job), expected);
        }
    }
}
