//! `reconcile`: one more run of the reconciliation, now.
//!
//! Guarantees: the run is the scheduled one (`kubectl create job --from` does the same), with the
//! arguments that were asked for; it belongs to its CronJob, so that it is cleaned up like every
//! other run; two commands at a time make two runs, which the runtime keeps apart.

mod job;

use std::{fmt::Write as _, time::Duration};

use clap::{Args, ValueEnum};
use contract::RunSummary;
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
    jiff::civil::Date,
};
use kube::{
    ResourceExt,
    api::{ListParams, LogParams, PostParams},
};
use payment_operator::build::names;
use serde::Serialize;

use crate::{
    Screen,
    cluster::{Cluster, LIST_MAX},
    failure::{Failure, Verdict, request},
    logs,
    screen::Paint,
    status::duration,
    switch::MANAGER,
};

#[derive(Args)]
pub(crate) struct Reconcile {
    /// The system; without it, the only one of the namespace
    name: Option<String>,
    /// Compare this day (Beijing calendar); without it, the days of the scheduled run
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Date>,
    /// Compare only this channel
    #[arg(long, value_enum, value_name = "CHANNEL")]
    channel: Option<Channel>,
    /// Compare and tell, store nothing
    #[arg(long)]
    dry_run: bool,
    /// Follow the run's log until it has ended; the exit code is then the run's
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_parser = duration, default_value = "1h", value_name = "DURATION")]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Channel {
    Wechat,
    Alipay,
}

impl Channel {
    const fn name(self) -> &'static str {
        match self {
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
        }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    namespace: String,
    job: String,
    /// Absent if nobody waited, or not long enough.
    succeeded: Option<bool>,
    /// What the run said at its end.
    summary: Option<RunSummary>,
}

impl Reconcile {
    pub(crate) async fn run(self, cluster: Cluster, screen: Screen) -> Result<Verdict, Failure> {
        let object = cluster.system(self.name.as_deref()).await?;
        let system = object.name_any();
        if object.spec.stopped {
            return Err(Failure::new(
                format!("PaymentSystem {system} is stopped: a run would find no database"),
                "set spec.stopped to false and wait until it is ready",
            ));
        }
        let name = names::reconciliation(&system);
        let schedule = cluster.api::<CronJob>().get_opt(&name).await;
        let schedule = schedule.map_err(request(format!("cannot read CronJob {name}")))?;
        let schedule = schedule.ok_or_else(|| {
            Failure::new(
                format!("CronJob {name} does not exist yet: the system is not that far"),
                format!("`kubectl paysys why {system}` says what it waits for"),
            )
        })?;
        let channel = self.channel.map(Channel::name);
        let job = job::from(&schedule, self.date, channel, self.dry_run)?;
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let made = cluster.api::<Job>().create(&parameters, &job).await;
        let made = made.map_err(request(format!(
            "cannot create a Job in namespace {}",
            cluster.namespace
        )))?;
        let mut outcome = Outcome {
            namespace: cluster.namespace.clone(),
            job: made.name_any(),
            succeeded: None,
            summary: None,
        };
        if self.wait {
            screen.progress(&format!("Job {} runs", outcome.job));
            outcome.succeeded = Box::pin(self.ended(&cluster, &outcome.job, screen)).await?;
            outcome.summary = summary(&cluster, &outcome.job).await?;
        }
        screen.show(&outcome, |outcome, paint| render(outcome, self.wait, paint))?;
        Ok(Verdict::fine_if(
            !self.wait || outcome.succeeded == Some(true),
        ))
    }

    /// How the Job ended, while its log is shown. `None` if it took too long.
    async fn ended(
        &self,
        cluster: &Cluster,
        job: &str,
        screen: Screen,
    ) -> Result<Option<bool>, Failure> {
        let wanted = LogParams {
            follow: true,
            timestamps: true,
            ..LogParams::default()
        };
        let selector = of_job(job);
        let (tell, told) = tokio::sync::oneshot::channel();
        let end = async {
            let ended = cluster.follow(job, self.timeout, job::ended).await;
            // Nobody listens any more where the log could not be read.
            let _ = tell.send(());
            ended
        };
        let stop = async { drop(told.await) };
        let log = logs::follow(cluster, screen, (&selector, &wanted), stop, |line| {
            screen.progress(line.text());
            Ok(())
        });
        let (ended, log) = futures::join!(end, async {
            // A log that hangs must not hold up the answer.
            tokio::time::timeout(self.timeout, log).await
        });
        if let Ok(Err(failure)) = log {
            screen.progress(&format!("error: {failure}"));
        }
        ended
    }
}

fn of_job(job: &str) -> String {
    format!("batch.kubernetes.io/job-name={job}")
}

/// What the Job's last pod said at its end.
async fn summary(cluster: &Cluster, job: &str) -> Result<Option<RunSummary>, Failure> {
    let parameters = ListParams::default().labels(&of_job(job)).limit(LIST_MAX);
    let what = format!("cannot list the pods of Job {job}");
    let pods = cluster.api::<Pod>().list(&parameters).await;
    let mut pods = pods.map_err(request(what))?.items;
    pods.sort_by_key(|pod| pod.creation_timestamp().map(|at| at.0));
    Ok(pods.iter().rev().find_map(job::summary))
}

fn render(outcome: &Outcome, waited: bool, paint: Paint) -> String {
    let name = paint.strong(&format!("{}/{}", outcome.namespace, outcome.job));
    let job = &outcome.job;
    let namespace = &outcome.namespace;
    if !waited {
        return format!(
            "Job {name} is created.\n  Follow it: kubectl logs -n {namespace} -f job/{job}\n"
        );
    }
    let verdict = match outcome.succeeded {
        Some(true) => paint.good("has ended well"),
        Some(false) => paint.bad("has failed"),
        None => paint.waiting("still runs: waiting is over"),
    };
    let mut text = format!("Job {name} {verdict}.\n");
    if let Some(summary) = &outcome.summary {
        text.push_str(&summary_lines(summary, paint));
    } else if outcome.succeeded == Some(false) {
        let _ = writeln!(text, "  Read why: kubectl logs -n {namespace} job/{job}");
    }
    text
}

fn summary_lines(summary: &RunSummary, paint: Paint) -> String {
    let open = format!("{} open differences", summary.open_differences);
    let open = if summary.open_differences == 0 {
        paint.good(&open)
    } else {
        paint.bad(&open)
    };
    let proof = match summary.proof_holds {
        Some(true) => ", the proof holds",
        Some(false) => ", the proof does NOT hold",
        None => "",
    };
    format!(
        "  {} to {}: {} rows agree, {open}, {} corrected, {} waiting{proof}\n  bills: {} not made \
         yet, {} refused; rules of the ledger violated: {}\n",
        summary.from,
        summary.to,
        summary.matched,
        summary.corrected,
        summary.waiting_differences,
        summary.pending_bills,
        summary.refused_bills,
        summary.ledger_violations,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes() {
        let outcome = |succeeded, summary| Outcome {
            namespace: "payment".to_owned(),
            job: "demo-reconciliation-manual-x7k2p".to_owned(),
            succeeded,
            summary,
        };
        let summary: RunSummary = serde_json::from_value(serde_json::json!({
            "finishedAt": "2026-11-23T02:10:00Z", "from": "2026-11-22", "to": "2026-11-22",
            "matched": 42, "openDifferences": 1, "proofHolds": true,
        }))
        .unwrap();
        let texts = [
            render(&outcome(None, None), false, Paint::Plain),
            render(&outcome(Some(true), Some(summary)), true, Paint::Plain),
            render(&outcome(Some(false), None), true, Paint::Plain),
            render(&outcome(None, None), true, Paint::Colours),
        ];
        insta::assert_snapshot!("outcomes", texts.join("\n"));
    }
}
