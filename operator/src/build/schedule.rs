//! Scheduled reconciliation runs.

use contract::Role;
use serde_json::json;

use super::{
    Manifest, Stage, common, labels, names,
    pod::{self, RuntimePod},
};
use crate::{kinds::Kind, observe::Observed, validate::ValidSystem};

/// The channels' days are Beijing days.
const TIME_ZONE: &str = "Asia/Shanghai";
/// A run that could not start within this time is skipped; the next one covers its days.
const START_DEADLINE_SECONDS: u32 = 600;
/// What a run may take beyond its own time-out before Kubernetes stops it.
const GRACE_SECONDS: i64 = 60;

pub fn manifests(system: &ValidSystem, observed: &Observed, image: &str) -> Vec<Manifest> {
    let reconciliation = &system.spec.reconciliation;
    let daily = &reconciliation.daily_run;
    let regular = cron_job(
        system,
        observed,
        image,
        (
            names::reconciliation(&system.name),
            &reconciliation.schedule,
        ),
    );
    let thorough = daily.enabled.then(|| {
        cron_job(
            system,
            observed,
            image,
            (names::reconciliation_daily(&system.name), &daily.schedule),
        )
    });
    std::iter::once(regular).chain(thorough).collect()
}

fn cron_job(
    system: &ValidSystem,
    observed: &Observed,
    image: &str,
    (name, schedule): (String, &str),
) -> Manifest {
    let reconciliation = &system.spec.reconciliation;
    let template = RuntimePod {
        component: labels::component::RECONCILIATION_RUN,
        image,
        args: pod::arguments(
            Role::Reconcile,
            &["--days".to_owned(), reconciliation.days.to_string()],
        ),
        resources: &reconciliation.resources,
        annotations: json!({}),
        channel_keys: Some(pod::channel_keys(system, observed)),
        stores: true,
        files: pod::run_files(system),
        certificate: None,
        serves: false,
    };
    let mut template = pod::pod_template(system, template);
    template["spec"]["restartPolicy"] = json!("Never");
    let run_labels = labels::all(&system.name, labels::component::RECONCILIATION_RUN);
    let spec = json!({
        "schedule": schedule,
        "timeZone": TIME_ZONE,
        "concurrencyPolicy": "Forbid",
        "suspend": reconciliation.suspend,
        "startingDeadlineSeconds": START_DEADLINE_SECONDS,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "metadata": {"labels": run_labels},
            "spec": {
                "backoffLimit": 1,
                "activeDeadlineSeconds": reconciliation.timeout_milliseconds / 1000 + GRACE_SECONDS,
                "template": template,
            },
        },
    });
    let identity = (Kind::CronJob, name, labels::component::RECONCILIATION);
    common::owned(system, identity, Stage::Operations, json!({"spec": spec}))
}
