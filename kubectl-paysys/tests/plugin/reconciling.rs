//! `reconcile` makes a Job of the schedule and waits for it.

use kube::api::{Patch, PatchParams};
use payment_operator::kinds::Kind;
use serde_json::json;

use crate::{Plugin, cluster::Cluster, demo, ended};

#[tokio::test]
async fn a_run_is_made_from_the_schedule_and_waited_for() {
    let cluster = Cluster::start().await;
    let plugin = Plugin::new(&cluster);
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    let ran = plugin.run(&["reconcile"]).await;
    ran.expect(
        2,
        &["CronJob demo-reconciliation does not exist yet", "why demo"],
    );
    cluster.bring_up("demo").await;
    cluster.exists(Kind::CronJob, "demo-reconciliation").await;

    let asked = [
        "reconcile",
        "--date",
        "2026-11-21",
        "--channel",
        "alipay",
        "--dry-run",
        "-o",
        "json",
    ];
    let made = plugin.run(&asked).await.expect(0, &[]).json();
    let name = made["job"].as_str().unwrap();
    assert!(name.starts_with("demo-reconciliation-manual-"), "{name}");
    let job = cluster.get(Kind::Job, name).await.unwrap();
    let owner = &job["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["controller"]),
        (&json!("CronJob"), &json!(true))
    );
    let arguments = &job["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<&str> = arguments
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|a| a.as_str())
        .collect();
    assert!(
        arguments
            .join(" ")
            .ends_with("--date 2026-11-21 --channel alipay --dry-run"),
        "{arguments:?}"
    );

    for (ends_well, code, words) in [(true, 0, "has ended well"), (false, 1, "has failed")] {
        let known = cluster.names(Kind::Job).await;
        let waiting = plugin.start(&["reconcile", "--wait", "--timeout", "2m"]);
        let is_new = |name: &String| !known.contains(name);
        cluster
            .until("the Job", async |cluster: &Cluster| {
                cluster.names(Kind::Job).await.iter().any(is_new)
            })
            .await;
        let job = cluster
            .names(Kind::Job)
            .await
            .into_iter()
            .find(is_new)
            .unwrap();
        if ends_well {
            cluster.make_ready(Kind::Job, &job).await;
        } else {
            fail(&cluster, &job).await;
        }
        ended(waiting).await.expect(code, &[words, &job]);
    }
}

async fn fail(cluster: &Cluster, job: &str) {
    let at = "2026-01-01T00:00:01Z";
    let status = json!({"status": {
        "failed": 1,
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [
            {"type": "FailureTarget", "status": "True", "lastTransitionTime": at},
            {"type": "Failed", "status": "True", "lastTransitionTime": at},
        ],
    }});
    let patch = Patch::Merge(status);
    let api = cluster.api(Kind::Job);
    api.patch_status(job, &PatchParams::default(), &patch)
        .await
        .unwrap();
}
