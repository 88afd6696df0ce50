//! Passes against a real API server. The test plays the controllers and kubelets by writing the
//! status of workloads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod cluster;
#[path = "passes/others.rs"]
mod others;
#[path = "passes/rotation.rs"]
mod rotation;
#[path = "passes/stop.rs"]
mod stop;

use cluster::{Cluster, NAMESPACE, demo};
use k8s_openapi::api::{core::v1::Secret, storage::v1::StorageClass};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use payment_operator::kinds::Kind;
use serde_json::{Value, json};

#[tokio::test]
async fn stages_open_in_order_and_rest_is_silent() {
    let cluster = Cluster::start().await;
    people(&cluster).await;
    let _operator = cluster.operate();
    let people = json!({"reconciliation": {"peopleSecretRef": {"name": "people", "key": "list"}}});
    cluster.apply(&demo(&people)).await.unwrap();
    cluster.exists(Kind::StatefulSet, "demo-mysql").await;
    cluster.exists(Kind::StatefulSet, "demo-redis").await;
    cluster
        .exists(Kind::Deployment, "demo-channel-simulator")
        .await;
    cluster.settled().await;
    assert_eq!(
        cluster.names(Kind::StatefulSet).await,
        ["demo-mysql", "demo-redis"]
    );
    assert_eq!(
        cluster.names(Kind::Deployment).await,
        ["demo-channel-simulator"]
    );
    assert!(cluster.names(Kind::Job).await.is_empty());
    let message = cluster.condition("demo", "DatabaseReady", "False").await;
    assert!(
        message.contains("waiting for StatefulSet demo-mysql: 0/1 ready"),
        "{message}"
    );

    cluster.make_ready(Kind::StatefulSet, "demo-mysql").await;
    cluster.settled().await;
    assert_eq!(
        cluster.get(Kind::StatefulSet, "demo-coordinator").await,
        None
    );
    cluster.make_ready(Kind::StatefulSet, "demo-redis").await;
    cluster.exists(Kind::StatefulSet, "demo-coordinator").await;
    assert!(cluster.names(Kind::Job).await.is_empty());
    cluster.bring_up("demo").await;
    cluster.exists(Kind::CronJob, "demo-reconciliation").await;
    assert_eq!(
        cluster.names(Kind::HorizontalPodAutoscaler).await,
        ["demo-callback", "demo-payment"]
    );

    let object = cluster.systems().get("demo").await.unwrap();
    let status = object.status.unwrap();
    assert_eq!(Some(status.observed_generation), object.metadata.generation);
    assert_eq!(status.version.as_deref(), Some("1.0"));
    assert_eq!(status.payment.as_deref(), Some("3/3"));
    assert!(
        status
            .conditions
            .iter()
            .all(|c| c.type_ != "Reconciling" && c.type_ != "Stalled")
    );

    // A change that means nothing causes passes; none of them writes.
    let before = cluster.settled().await;
    for pass in 0..3 {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"pass": pass.to_string()}}}));
        cluster
            .systems()
            .patch("demo", &PatchParams::default(), &patch)
            .await
            .unwrap();
        cluster.settled().await;
    }
    assert_eq!(
        cluster.settled().await,
        before,
        "{:?}",
        &cluster.operator_writes()[before..]
    );
    restart_writes_nothing(&cluster, before).await;
}

#[tokio::test]
async fn a_volume_that_cannot_grow_holds_nothing_back() {
    let cluster = Cluster::start().await;
    let class = json!({
        "metadata": {"name": "fixed"}, "provisioner": "example.com/fixed", "allowVolumeExpansion": false,
    });
    let classes = Api::<StorageClass>::all(cluster.client.clone());
    let class: StorageClass = serde_json::from_value(class).unwrap();
    classes
        .create(&PostParams::default(), &class)
        .await
        .unwrap();
    let _operator = cluster.operate();
    let sized = |size: &str, seconds: u32| {
        demo(&json!({
            "mysql": {"storage": {"size": size, "storageClassName": "fixed"}},
            "payment": {"expiresInSeconds": seconds},
        }))
    };
    cluster.apply(&sized("2Gi", 3600)).await.unwrap();
    cluster.exists(Kind::StatefulSet, "demo-mysql").await;
    bound_claim(&cluster, "data-demo-mysql-0", "2Gi").await;
    cluster.bring_up("demo").await;

    cluster.apply(&sized("4Gi", 1800)).await.unwrap();
    let message = cluster.condition("demo", "DatabaseReady", "False").await;
    for words in [
        "VolumeCannotGrow: PersistentVolumeClaim data-demo-mysql-0 cannot grow to 4Gi:",
        "allowVolumeExpansion: true",
    ] {
        assert!(message.contains(words), "{message}");
    }
    cluster.condition("demo", "Stalled", "True").await;
    // The other half of the edit.
    configured(&cluster, "1800").await;
    // It is asked at a pace, whatever causes passes.
    let refused = || {
        let writes = cluster.operator_writes();
        writes
            .iter()
            .filter(|request| request.contains("persistentvolumeclaims/data-demo-mysql-0"))
            .count()
    };
    let before = refused();
    for pass in 0..3 {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"pass": pass.to_string()}}}));
        cluster
            .systems()
            .patch("demo", &PatchParams::default(), &patch)
            .await
            .unwrap();
        cluster.settled().await;
    }
    assert!(refused() <= before + 1, "{:?}", cluster.operator_writes());

    let grows = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes
        .patch("fixed", &PatchParams::default(), &grows)
        .await
        .unwrap();
    cluster
        .until("the larger claim", async |cluster: &Cluster| {
            let claim = cluster
                .get(Kind::PersistentVolumeClaim, "data-demo-mysql-0")
                .await
                .unwrap();
            claim["spec"]["resources"]["requests"]["storage"] == "4Gi"
        })
        .await;
}

/// Waits until the services are told these words.
async fn configured(cluster: &Cluster, words: &str) {
    cluster
        .until("the new configuration", async |cluster: &Cluster| {
            let config = cluster.get(Kind::ConfigMap, "demo-runtime").await.unwrap();
            config["data"]["config.yaml"]
                .as_str()
                .unwrap()
                .contains(words)
        })
        .await;
}

/// Sets the number of payment pods as somebody else than the operator.
async fn scale_payment(cluster: &Cluster, by: &str, replicas: u32) {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let parameters = PatchParams {
        field_manager: Some(by.to_owned()),
        ..PatchParams::default()
    };
    cluster
        .api(Kind::Deployment)
        .patch("demo-payment", &parameters, &patch)
        .await
        .unwrap();
}

/// The claim that the StatefulSet's controller and the volume's provisioner would make.
async fn bound_claim(cluster: &Cluster, name: &str, size: &str) {
    let claims = cluster.api(Kind::PersistentVolumeClaim);
    let claim = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": payment_operator::build::labels::all("demo", "mysql")},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fixed", "volumeName": "volume",
            "resources": {"requests": {"storage": size}},
        },
    }));
    claims
        .create(&PostParams::default(), &claim.unwrap())
        .await
        .unwrap();
    let status = json!({"status": {"phase": "Bound", "capacity": {"storage": size}}});
    claims
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

/// A Secret that a system names.
async fn people(cluster: &Cluster) {
    let secret = json!({"metadata": {"name": "people"}, "stringData": {"list": "ann:00"}});
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), NAMESPACE);
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}

/// A second operator over a converged system writes nothing.
async fn restart_writes_nothing(cluster: &Cluster, before: usize) {
    drop(cluster.operate());
    let _second = cluster.operate();
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(
        cluster.settled().await,
        before,
        "{:?}",
        &cluster.operator_writes()[before..]
    );
}

#[tokio::test]
async fn what_is_edited_or_deleted_by_hand_comes_back() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    cluster.settled().await;

    for (kind, name) in [
        (Kind::Service, "demo-payment"),
        (Kind::ConfigMap, "demo-runtime"),
        (Kind::HorizontalPodAutoscaler, "demo-callback"),
        (Kind::CronJob, "demo-reconciliation"),
        (Kind::StatefulSet, "demo-mysql"),
    ] {
        let uid = cluster.get(kind, name).await.unwrap()["metadata"]["uid"].clone();
        cluster
            .api(kind)
            .delete(name, &DeleteParams::background())
            .await
            .unwrap();
        cluster
            .until("its return", async |cluster: &Cluster| {
                cluster
                    .get(kind, name)
                    .await
                    .is_some_and(|live| live["metadata"]["uid"] != uid)
            })
            .await;
    }
    cluster.make_ready(Kind::StatefulSet, "demo-mysql").await;
    for (kind, name, edit, pointer, expected) in [
        (
            Kind::Service,
            "demo-callback",
            json!({"spec": {"ports": [{"name": "http", "port": 8088, "targetPort": 1}]}}),
            "/spec/ports/0/targetPort",
            json!("http"),
        ),
        (
            Kind::ConfigMap,
            "demo-redis",
            json!({"data": {"redis.conf": "port 1"}}),
            "/metadata/name",
            json!("demo-redis"),
        ),
        (
            Kind::HorizontalPodAutoscaler,
            "demo-payment",
            json!({"spec": {"maxReplicas": 99}}),
            "/spec/maxReplicas",
            json!(10),
        ),
        (
            Kind::CronJob,
            "demo-reconciliation",
            json!({"spec": {"concurrencyPolicy": "Allow"}}),
            "/spec/concurrencyPolicy",
            json!("Forbid"),
        ),
    ] {
        cluster
            .api(kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(&edit))
            .await
            .unwrap();
        cluster
            .until(
                &format!("correction of {name}"),
                async |cluster: &Cluster| {
                    cluster.get(kind, name).await.unwrap().pointer(pointer) == Some(&expected)
                },
            )
            .await;
    }
    cluster
        .until("correction of redis.conf", async |cluster: &Cluster| {
            cluster.get(Kind::ConfigMap, "demo-redis").await.unwrap()["data"]["redis.conf"]
                != "port 1"
        })
        .await;
    the_autoscaler_keeps_its_number(&cluster).await;
}

async fn the_autoscaler_keeps_its_number(cluster: &Cluster) {
    scale_payment(cluster, "autoscaler", 7).await;
    // An edit of the system makes the operator apply the Deployment again.
    cluster
        .apply(&demo(&json!({"payment": {"expiresInSeconds": 3600}})))
        .await
        .unwrap();
    configured(cluster, "3600").await;
    cluster.settled().await;
    let live = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
    assert_eq!(live["spec"]["replicas"], 7);
    assert_eq!(
        live["metadata"]["generation"].as_i64().unwrap(),
        3,
        "only one more template: {live}"
    );
    let callback = cluster
        .get(Kind::Deployment, "demo-callback")
        .await
        .unwrap();
    assert_eq!(
        callback["metadata"]["generation"], 1,
        "what does not depend on the edit is left alone"
    );
}

#[tokio::test]
async fn secrets_that_exist_are_adopted_and_survive() {
    let cluster = Cluster::start().await;
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), NAMESPACE);
    let mine: Secret = serde_json::from_value(json!({
        "metadata": {"name": "demo-mysql"},
        "stringData": {"root-password": "mine-root", "password": "it's", "coordinator-password": "mine-tc"},
    }))
    .unwrap();
    secrets.create(&PostParams::default(), &mine).await.unwrap();
    let _operator = cluster.operate();
    cluster
        .apply(&demo(&json!({"redis": {"retention": "Delete"}})))
        .await
        .unwrap();

    // A password that cannot be put into SQL holds the database back, in words.
    cluster
        .until("the fault", async |cluster: &Cluster| {
            cluster
                .find_condition("demo", "DatabaseReady")
                .await
                .is_some_and(|c| c.1.contains("SecretKeyInvalid"))
        })
        .await;
    let message = cluster.condition("demo", "Stalled", "True").await;
    assert!(message.contains("choose another password"), "{message}");
    assert_eq!(cluster.get(Kind::StatefulSet, "demo-mysql").await, None);
    let patch = Patch::Merge(json!({"stringData": {"password": "mine"}}));
    secrets
        .patch("demo-mysql", &PatchParams::default(), &patch)
        .await
        .unwrap();
    cluster.bring_up("demo").await;

    let value = |secret: &Secret, key: &str| {
        String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
    };
    let adopted = secrets.get("demo-mysql").await.unwrap();
    assert_eq!(value(&adopted, "root-password"), "mine-root");
    assert_eq!(
        adopted.metadata.owner_references, None,
        "credentials outlive the system"
    );
    let redis = secrets.get("demo-redis").await.unwrap();
    assert_eq!(
        redis.metadata.owner_references.as_ref().map(Vec::len),
        Some(1),
        "deletion was asked for"
    );
    let password = value(&redis, "password");

    // A rotated password rolls what reads it, and nothing else.
    let generation = async |kind, name: &str| {
        cluster.get(kind, name).await.unwrap()["metadata"]["generation"]
            .as_i64()
            .unwrap()
    };
    let (mysql, coordinator) = (
        generation(Kind::StatefulSet, "demo-mysql").await,
        generation(Kind::StatefulSet, "demo-coordinator").await,
    );
    let patch = Patch::Merge(json!({"stringData": {"password": "rotated"}}));
    secrets
        .patch("demo-mysql", &PatchParams::default(), &patch)
        .await
        .unwrap();
    cluster.settled().await;
    assert_eq!(generation(Kind::StatefulSet, "demo-mysql").await, mysql + 1);
    assert_eq!(
        generation(Kind::StatefulSet, "demo-coordinator").await,
        coordinator
    );
    assert_eq!(
        value(&secrets.get("demo-redis").await.unwrap(), "password"),
        password
    );
    recreation_keeps_passwords(&cluster, &secrets).await;
}

async fn recreation_keeps_passwords(cluster: &Cluster, secrets: &Api<Secret>) {
    let before = secrets.get("demo-mysql").await.unwrap().data;
    cluster
        .systems()
        .delete("demo", &DeleteParams::default())
        .await
        .unwrap();
    cluster.settled().await;
    cluster.apply(&demo(&json!({}))).await.unwrap();
    let uid = cluster
        .systems()
        .get("demo")
        .await
        .unwrap()
        .metadata
        .uid
        .unwrap();
    cluster
        .until("the new owner", async |cluster: &Cluster| {
            let live = cluster.get(Kind::StatefulSet, "demo-mysql").await.unwrap();
            live["metadata"]["ownerReferences"]
                .as_array()
                .is_some_and(|owners| owners.iter().any(|o| o["uid"] == uid.as_str()))
        })
        .await;
    assert_eq!(secrets.get("demo-mysql").await.unwrap().data, before);
}

#[tokio::test]
async fn a_missing_channel_secret_is_named_and_fixing_it_goes_on_at_once() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    let real = json!({
        "channels": {"alipay": {"enabled": true}, "callbackBaseUrl": "https://pay.example.com"},
        "mysql": {"external": {"host": "db", "secretName": "database"}},
        "redis": {"external": {"host": "cache"}},
        "transactionCoordinator": {"external": {"host": "tc"}},
        "payment": {"autoscaling": {"enabled": false}, "replicas": 2},
    });
    let mut object = demo(&real);
    object["spec"] = real;
    cluster.apply(&object).await.unwrap();
    for (condition, words) in [
        ("DatabaseReady", ["Secret database does not exist", ""]),
        (
            "ChannelsConfigured",
            [
                "payment-service-secret does not exist",
                "alipay-private-key",
            ],
        ),
    ] {
        let said = async |cluster: &Cluster| {
            let found = cluster.find_condition("demo", condition).await;
            found.is_some_and(|(status, message)| {
                status == "False" && words.iter().all(|words| message.contains(words))
            })
        };
        cluster.until(words[0], said).await;
    }

    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), NAMESPACE);
    let make = |name: &str, data: Value| {
        serde_json::from_value::<Secret>(json!({"metadata": {"name": name}, "stringData": data}))
            .unwrap()
    };
    secrets
        .create(
            &PostParams::default(),
            &make("database", json!({"password": "p"})),
        )
        .await
        .unwrap();
    let migration = cluster.migration().await;
    cluster.make_ready(Kind::Job, &migration).await;
    secrets
        .create(
            &PostParams::default(),
            &make("payment-service-secret", json!({"alipay-app-id": "1"})),
        )
        .await
        .unwrap();
    cluster
        .until("the missing keys", async |cluster: &Cluster| {
            cluster
                .find_condition("demo", "ChannelsConfigured")
                .await
                .is_some_and(|c| c.1.contains("lacks alipay-private-key, alipay-public-key"))
        })
        .await;
    assert!(cluster.names(Kind::Deployment).await.is_empty());
    let patch =
        Patch::Merge(json!({"stringData": {"alipay-private-key": "k", "alipay-public-key": "k"}}));
    secrets
        .patch("payment-service-secret", &PatchParams::default(), &patch)
        .await
        .unwrap();
    cluster.exists(Kind::Deployment, "demo-payment").await;
    assert!(
        cluster.names(Kind::StatefulSet).await.is_empty(),
        "all stores are external"
    );
    assert!(
        cluster
            .names(Kind::HorizontalPodAutoscaler)
            .await
            .iter()
            .all(|name| name == "demo-callback")
    );

    // Switching autoscaling on and off makes and removes the autoscaler; paused changes nothing.
    object["spec"]["payment"] = json!({});
    cluster.apply(&object).await.unwrap();
    cluster
        .exists(Kind::HorizontalPodAutoscaler, "demo-payment")
        .await;
    object["spec"]["paused"] = json!(true);
    object["spec"]["payment"] = json!({"autoscaling": {"enabled": false}});
    cluster.apply(&object).await.unwrap();
    cluster
        .until("the pause", async |cluster: &Cluster| {
            cluster
                .find_condition("demo", "Ready")
                .await
                .is_some_and(|c| c.1.starts_with("Paused"))
        })
        .await;
    cluster
        .exists(Kind::HorizontalPodAutoscaler, "demo-payment")
        .await;
    object["spec"]["paused"] = json!(false);
    cluster.apply(&object).await.unwrap();
    cluster
        .until("the removal", async |cluster: &Cluster| {
            cluster
                .get(Kind::HorizontalPodAutoscaler, "demo-payment")
                .await
                .is_none()
        })
        .await;
}

#[tokio::test]
async fn pods_say_what_blocks_and_runs_say_what_they_found() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.exists(Kind::StatefulSet, "demo-mysql").await;
    let pod = |name: &str, component: &str| {
        json!({
            "metadata": {"name": name, "labels": payment_operator::build::labels::all("demo", component)},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
        })
    };
    let status = async |name: &str, state: Value| {
        let status = json!({"status": {"containerStatuses": [{
            "name": "c", "image": "i:1", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]}});
        let pods = cluster.api(Kind::Pod);
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
    };
    for (name, component) in [("demo-mysql-0", "mysql"), ("run-1", "reconciliation-run")] {
        let pod = serde_json::from_value(pod(name, component)).unwrap();
        cluster
            .api(Kind::Pod)
            .create(&PostParams::default(), &pod)
            .await
            .unwrap();
    }
    status(
        "demo-mysql-0",
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}),
    )
    .await;
    let message = cluster.condition("demo", "Stalled", "True").await;
    assert_eq!(
        message,
        "ImagePullBackOff: waiting for StatefulSet demo-mysql: 0/1 ready; pod demo-mysql-0: ImagePullBackOff: no such tag; correct the image, or let the nodes reach its registry"
    );
    let ended = json!({"terminated": {"exitCode": 1, "message": "the disk is full\n"}});
    status("demo-mysql-0", ended).await;
    let told = "pod demo-mysql-0 ended with exit code 1 the disk is full";
    cluster
        .until(told, async |cluster| {
            let condition = cluster.find_condition("demo", "Reconciling").await;
            condition.is_some_and(|(_, message)| message.ends_with(told))
        })
        .await;
    status(
        "demo-mysql-0",
        json!({"waiting": {"reason": "ContainerCreating"}}),
    )
    .await;
    cluster.condition("demo", "Reconciling", "True").await;

    let summary = contract::RunSummary {
        finished_at: "2026-01-02T00:00:00Z".to_owned(),
        from: "2025-12-25".to_owned(),
        to: "2026-01-01".to_owned(),
        matched: 42,
        open_differences: 3,
        pending_bills: 0,
        waiting_differences: 5,
        corrected: 2,
        refused_bills: 1,
        asked_today: 4,
        proof_holds: Some(false),
        ledger_violations: 0,
    };
    let message = serde_json::to_string(&summary).unwrap();
    status(
        "run-1",
        json!({"terminated": {"exitCode": 0, "message": message}}),
    )
    .await;
    let differences = async |cluster: &Cluster| {
        let status = cluster.systems().get("demo").await.unwrap().status.unwrap();
        status.last_reconciliation.is_some_and(|run| {
            run.open_differences == 3
                && run.matched == 42
                && run.waiting_differences == 5
                && run.corrected == 2
                && run.refused_bills == 1
                && run.proof_holds == Some(false)
        })
    };
    cluster.until("the result", differences).await;
    let message = cluster
        .condition("demo", "ReconciliationClean", "False")
        .await;
    assert!(
        message.starts_with("ProofFails: ")
            && message.contains("1 bills were refused")
            && message.contains("3 differences are open"),
        "{message}"
    );
    cluster
        .api(Kind::Pod)
        .delete("run-1", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    cluster.settled().await;
    assert!(
        differences(&cluster).await,
        "the result stays when the run is gone"
    );
}
