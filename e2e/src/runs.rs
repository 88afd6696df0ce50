//! Reconciliation by hand: Jobs made from the CronJob's own template.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use contract::RunSummary;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::Plainly as _;
use crate::diagnosis;
use crate::simulator::Simulator;
use crate::system::System;
use crate::wait::{Seen, until};

/// Label of Jobs made here.
const MARK: &str = "e2e.paymentsystem.dev/run";

/// A run that has ended well.
pub struct Run {
    pub job: String,
    pub log: String,
    pub summary: RunSummary,
}

/// Compares the bills of one day (Beijing calendar, `YYYY-MM-DD`), as the schedule would.
pub async fn reconcile(system: &System, day: &str, limit: Duration) -> Result<Run> {
    let (job, log) = run(system, limit, |scheduled| args(scheduled, day)).await?;
    let summary = log
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok());
    let summary = summary.with_context(|| format!("Job {job} printed no summary:\n{log}"))?;
    Ok(Run { job, log, summary })
}

/// Proves one day. An error, with all that was said, if it cannot be proven.
pub async fn prove(system: &System, day: &str, limit: Duration) -> Result<Value> {
    let (job, log) = run(system, limit, |scheduled| prove_args(scheduled, day)).await?;
    let proof = log
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok());
    proof.with_context(|| format!("Job {job} printed no proof:\n{log}"))
}

/// Runs a Job made from the schedule with other arguments; its name and its log.
async fn run(
    system: &System,
    limit: Duration,
    args: impl FnOnce(&Value) -> Vec<String>,
) -> Result<(String, String)> {
    let cronjobs = system.cluster.api::<CronJob>(&system.namespace);
    let name = format!("{}-reconciliation", system.name);
    let cronjob = cronjobs
        .get(&name)
        .await
        .plainly()
        .with_context(|| format!("cannot read CronJob {name}"))?;
    let jobs = system.cluster.api::<Job>(&system.namespace);
    delete_older(&jobs).await?;
    let manifest: Job = serde_json::from_value(job(&cronjob, args)?)?;
    let made = jobs.create(&PostParams::default(), &manifest).await;
    let job = made.plainly().context("cannot create the Job")?.name_any();
    wait_finished(system, &jobs, &job, limit).await?;
    let log = log_of(system, &job).await?;
    Ok((job, log))
}

/// Bills of a day exist from this hour of the next day.
const BILL_HOUR: i8 = 10;

/// Moves the channels' calendar past the hour from which the bill of `day` exists.
pub async fn pass_bill_hour(simulator: &Simulator, day: Date) -> Result<()> {
    let calendar = simulator.calendar().await?;
    let now: Timestamp = calendar
        .parse()
        .with_context(|| format!("calendar is {calendar:?}"))?;
    let ready = day.tomorrow()?.at(BILL_HOUR, 1, 0, 0);
    let beijing = TimeZone::fixed(jiff::tz::offset(8));
    let ahead = beijing.to_timestamp(ready)?.duration_since(now).as_secs();
    if ahead > 0 {
        simulator.advance(ahead).await?;
    }
    Ok(())
}

/// The day on whose bill something of this moment stands.
pub fn bill_day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::fixed(jiff::tz::offset(8))).date()
}

async fn delete_older(jobs: &Api<Job>) -> Result<()> {
    for job in jobs.list(&ListParams::default().labels(MARK)).await? {
        let deleted = jobs
            .delete(&job.name_any(), &DeleteParams::background())
            .await;
        crate::cluster::ignore_missing(deleted.map(drop))?;
    }
    Ok(())
}

fn job(cronjob: &CronJob, args: impl FnOnce(&Value) -> Vec<String>) -> Result<Value> {
    let name = cronjob.name_any();
    let template = cronjob.spec.as_ref().map(|spec| &spec.job_template);
    let template = template.and_then(|template| template.spec.as_ref());
    let mut spec = json!(template.with_context(|| format!("CronJob {name} has no template"))?);
    let container = &mut spec["template"]["spec"]["containers"][0];
    container["args"] = json!(args(&container["args"]));
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": format!("{name}-by-hand-"),
            "labels": {MARK: "by-hand"},
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
            "ownerReferences": [{
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "name": name,
                "uid": cronjob.uid(),
            }],
        },
        "spec": spec,
    }))
}

/// The schedule's arguments with one day in the place of the last few.
fn args(scheduled: &Value, day: &str) -> Vec<String> {
    let scheduled = scheduled.as_array().cloned().unwrap_or_default();
    let mut kept = Vec::new();
    let mut words = scheduled.iter().filter_map(Value::as_str);
    while let Some(word) = words.next() {
        if word == "--days" {
            words.next();
        } else if !word.starts_with("--days=") {
            kept.push(word.to_owned());
        }
    }
    kept.extend(["--date".to_owned(), day.to_owned()]);
    kept
}

/// `prove` with the schedule's configuration file.
fn prove_args(scheduled: &Value, day: &str) -> Vec<String> {
    let scheduled = scheduled.as_array().cloned().unwrap_or_default();
    let mut words = scheduled.iter().filter_map(Value::as_str);
    let file = words.find(|word| *word == "--config").and(words.next());
    let args = [
        "prove",
        "--config",
        file.unwrap_or_default(),
        "--date",
        day,
        "--json",
    ];
    args.map(ToOwned::to_owned).to_vec()
}

async fn wait_finished(
    system: &System,
    jobs: &Api<Job>,
    name: &str,
    limit: Duration,
) -> Result<()> {
    let ended = until(&format!("Job {name} to end"), limit, async || {
        let status = jobs.get(name).await?.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let is = |kind: &str| {
            conditions
                .iter()
                .any(|c| c.type_ == kind && c.status == "True")
        };
        Ok(match (is("Complete"), is("Failed")) {
            (true, _) => Seen::Done(true),
            (_, true) => Seen::Done(false),
            _ => Seen::not_yet(format!("{} pods are active", status.active.unwrap_or(0))),
        })
    })
    .await;
    match ended {
        Ok(true) => Ok(()),
        Ok(false) => {
            let log = log_of(system, name).await.unwrap_or_default();
            bail!("Job {name} failed; its log:\n{log}")
        }
        Err(error) => bail!("{error:#}\n  {}", diagnosis::of(system).await),
    }
}

async fn log_of(system: &System, job: &str) -> Result<String> {
    let label = format!("batch.kubernetes.io/job-name={job}");
    let pods: Vec<Pod> = system
        .cluster
        .list(&system.namespace, &ListParams::default().labels(&label))
        .await?;
    let pod = pods
        .last()
        .with_context(|| format!("Job {job} has no pod"))?;
    system
        .cluster
        .logs(&system.namespace, &pod.name_any())
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_day_takes_the_place_of_the_last_few() {
        let scheduled = json!(["reconcile", "--config", "/c.yaml", "--days", "7"]);
        let expected = ["reconcile", "--config", "/c.yaml", "--date", "2026-11-22"];
        assert_eq!(args(&scheduled, "2026-11-22"), expected);
        let proof = [
            "prove",
            "--config",
            "/c.yaml",
            "--date",
            "2026-11-22",
            "--json",
        ];
        assert_eq!(prove_args(&scheduled, "2026-11-22"), proof);
        let joined = json!(["reconcile", "--days=7", "--config", "/c.yaml"]);
        let expected = ["reconcile", "--config", "/c.yaml", "--date", "2026-11-22"];
        assert_eq!(args(&joined, "2026-11-22"), expected);
    }
}
