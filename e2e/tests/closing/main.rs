//! A day closes after an hour of traffic with the channels at their worst: every difference is
//! corrected with evidence or listed with its reason, shows where the platform team looks, fires
//! the alert in a real Prometheus, and is gone when the channel's bill is right again. Then the
//! day is proven.

mod traffic;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use contract::{RunSummary, metrics, ports};
use e2e::scene::{CHANNELS, NAME, NAMESPACE};
use e2e::{Prometheus, Scene, Seen, runs, until};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

const RUN_WITHIN: Duration = Duration::from_mins(3);
const ALERT: &str = "ReconciliationDifferencesOpen";
/// The operator reads a run's result, the service its gauges.
const SHOWN_WITHIN: Duration = Duration::from_mins(2);
/// A payment whose callback is lost is asked about along the ladder.
const SOON: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_bad_day_is_corrected_or_listed_and_the_alert_clears() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = bad_day(&scene).await;
    scene.close(outcome).await
}

async fn bad_day(scene: &Scene) -> Result<()> {
    let prometheus = Prometheus::watch(&scene.demo, &scene.environment.kubeconfig).await?;
    let day = runs::bill_day(Timestamp::now());
    traffic::an_hour(scene).await?;
    runs::pass_bill_hour(&scene.simulator, day).await?;
    // What earlier tests of this day left is the same before and after.
    let before = run(scene, day).await?;
    shows(scene, &before).await?;
    for channel in CHANNELS {
        for fault in ["bill-missing-row", "bill-extra-row", "bill-duplicate-row"] {
            let fault = json!({"name": fault, "channel": channel, "count": 1});
            scene.simulator.arm(&fault).await?;
        }
    }
    let during = run(scene, day).await?;
    let (was, is) = (unresolved(&before), unresolved(&during));
    ensure!(is >= was + 6, "{is} differences after {was}");
    ensure!(during.proof_holds == Some(true), "{during:?}");
    shows(scene, &during).await?;
    alert(&prometheus, true).await?;
    every_difference_has_a_reason(scene).await?;

    let after = run(scene, day).await?;
    let left = unresolved(&after);
    ensure!(left <= was, "{left} differences are left, {was} were there");
    ensure!(after.proof_holds == Some(true), "{after:?}");
    ensure!(after.ledger_violations == 0, "{after:?}");
    shows(scene, &after).await?;
    alert(
        &prometheus,
        after.open_differences > threshold(scene).await?,
    )
    .await?;
    let proof = runs::prove(&scene.demo, &day.to_string(), RUN_WITHIN).await?;
    ensure!(proof["proven"] == true, "{proof}");
    Ok(())
}

/// The alert fires or does not, as a Prometheus sees it.
async fn alert(prometheus: &Prometheus, expected: bool) -> Result<()> {
    let what = format!("alert {ALERT} to be {expected}");
    until(&what, SHOWN_WITHIN, async || {
        let fires = prometheus.fires(ALERT).await?;
        Ok(if fires == Some(expected) {
            Seen::Done(())
        } else {
            Seen::not_yet(format!("it is {fires:?}"))
        })
    })
    .await
}

async fn threshold(scene: &Scene) -> Result<u64> {
    let resource = scene.demo.get().await?;
    let threshold = resource.data["spec"]["reconciliation"]["differenceThreshold"].as_u64();
    Ok(threshold.unwrap_or(0))
}

fn unresolved(summary: &RunSummary) -> u64 {
    summary.open_differences + summary.waiting_differences
}

async fn run(scene: &Scene, day: Date) -> Result<RunSummary> {
    let run = runs::reconcile(&scene.demo, &day.to_string(), RUN_WITHIN).await?;
    ensure!(run.summary.pending_bills == 0, "{}", run.log);
    Ok(run.summary)
}

/// The resource's status and the gauge that the alert looks at say what the run said.
async fn shows(scene: &Scene, summary: &RunSummary) -> Result<()> {
    let expected = summary.open_differences;
    until("the status to show the run", SHOWN_WITHIN, async || {
        let resource = scene.demo.get().await?;
        let last = &resource.data["status"]["lastReconciliation"];
        let shown = last["openDifferences"].as_u64();
        Ok(if shown == Some(expected) {
            Seen::Done(())
        } else {
            Seen::not_yet(format!("it shows {shown:?}, the run found {expected}"))
        })
    })
    .await?;
    until("the gauge to show the run", SHOWN_WITHIN, async || {
        let page = scene
            .cluster
            .text(&service_path(
                ports::RECONCILIATION_SERVICE_MANAGEMENT,
                "/actuator/prometheus",
            ))
            .await?;
        let gauge = sum_of(&page, metrics::DIFFERENCES);
        Ok(if gauge == expected {
            Seen::Done(())
        } else {
            Seen::not_yet(format!("it is {gauge}, the run found {expected}"))
        })
    })
    .await
}

fn service_path(port: u16, path: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/services/{NAME}-reconciliation:{port}/proxy{path}")
}

fn sum_of(page: &str, metric: &str) -> u64 {
    let values = page
        .lines()
        .filter(|line| line.starts_with(metric) && line[metric.len()..].starts_with('{'))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    values.sum()
}

async fn every_difference_has_a_reason(scene: &Scene) -> Result<()> {
    let path = service_path(
        ports::RECONCILIATION_SERVICE,
        "/api/reconciliation/differences?limit=200",
    );
    let page = scene.cluster.raw(&path).await?;
    let data = page["data"].as_array().context("the list has no data")?;
    ensure!(!data.is_empty(), "no difference is listed");
    let silent: Vec<&Value> = data
        .iter()
        .filter(|difference| difference["why"].as_str().unwrap_or_default().is_empty())
        .collect();
    ensure!(silent.is_empty(), "without a reason: {silent:?}");
    Ok(())
}
