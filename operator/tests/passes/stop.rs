//! A system is stopped and started again.

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use payment_operator::{
    build::labels::{self, component},
    kinds::Kind,
};
use serde_json::{Value, json};

use super::{cluster::Cluster, demo, people, scale_payment};

const SERVICES: [&str; 4] = [
    "demo-payment",
    "demo-callback",
    "demo-worker",
    "demo-reconciliation",
];
const STORES: [&str; 2] = ["demo-mysql", "demo-redis"];

async fn replicas(cluster: &Cluster, kind: Kind, name: &str) -> i64 {
    let live = cluster.get(kind, name).await.unwrap();
    live["spec"]["replicas"].as_i64().unwrap()
}

/// Waits until a workload is to have as many pods.
async fn wants(cluster: &Cluster, kind: Kind, name: &str, wanted: i64) {
    let what = format!("{name} to want {wanted} replicas");
    cluster
        .until(&what, async |cluster: &Cluster| {
            replicas(cluster, kind, name).await == wanted
        })
        .await;
}

/// Waits until a workload is to have as many pods, and gives it them.
async fn follow(cluster: &Cluster, kind: Kind, name: &str, wanted: i64) {
    wants(cluster, kind, name, wanted).await;
    cluster.make_ready(kind, name).await;
}

async fn pod(cluster: &Cluster, name: &str, component: &str) {
    let pod = json!({
        "metadata": {"name": name, "labels": labels::all("demo", component)},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    let pod = serde_json::from_value(pod).unwrap();
    let pods = cluster.api(Kind::Pod);
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    let parameters = PatchParams::default();
    pods.patch_status(name, &parameters, &running)
        .await
        .unwrap();
}

async fn remove_pod(cluster: &Cluster, name: &str) {
    let now = DeleteParams::default().grace_period(0);
    cluster.api(Kind::Pod).delete(name, &now).await.unwrap();
}

async fn suspended(cluster: &Cluster) -> Value {
    let schedule = cluster.get(Kind::CronJob, "demo-reconciliation").await;
    schedule.unwrap()["spec"]["suspend"].clone()
}

#[tokio::test]
async fn pods_end_services_first_and_start_stores_first() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    cluster.exists(Kind::CronJob, "demo-reconciliation").await;
    pod(&cluster, "run-1", component::RECONCILIATION_RUN).await;

    let stopped = json!({"stopped": true});
    cluster.apply(&demo(&stopped)).await.unwrap();
    for service in SERVICES {
        follow(&cluster, Kind::Deployment, service, 0).await;
    }
    let message = cluster.condition("demo", "Stopped", "False").await;
    assert!(message.starts_with("Stopping: "), "{message}");
    cluster.settled().await;
    assert_eq!(suspended(&cluster).await, true);
    let message = cluster.condition("demo", "Ready", "False").await;
    assert_eq!(
        message,
        "Stopping: spec.stopped is true: waiting for pod run-1 to end"
    );
    let coordinator = (Kind::StatefulSet, "demo-coordinator");
    assert_eq!(replicas(&cluster, coordinator.0, coordinator.1).await, 1);
    remove_pod(&cluster, "run-1").await;

    wants(&cluster, coordinator.0, coordinator.1, 0).await;
    cluster.settled().await;
    for store in STORES {
        assert_eq!(replicas(&cluster, Kind::StatefulSet, store).await, 1);
    }
    cluster.make_ready(coordinator.0, coordinator.1).await;
    for store in STORES {
        follow(&cluster, Kind::StatefulSet, store, 0).await;
    }
    follow(&cluster, Kind::Deployment, "demo-channel-simulator", 0).await;
    cluster.condition("demo", "Stopped", "True").await;
    let message = cluster.condition("demo", "Ready", "False").await;
    assert!(message.starts_with("Stopped: "), "{message}");
    let reconciling = cluster.find_condition("demo", "Reconciling").await;
    assert_eq!(reconciling, None);
    let message = cluster.condition("demo", "PaymentAvailable", "False").await;
    assert_eq!(message, "Stopped: Deployment demo-payment is stopped");

    stays_stopped(&cluster).await;
    starts_again(&cluster).await;
}

/// What is edited meanwhile takes effect, and what is scaled by hand goes back, without a pod.
async fn stays_stopped(cluster: &Cluster) {
    let edited = json!({"stopped": true, "payment": {"expiresInSeconds": 900}});
    cluster.apply(&demo(&edited)).await.unwrap();
    let by_hand = Patch::Merge(json!({"spec": {"replicas": 2}}));
    let deployments = cluster.api(Kind::Deployment);
    let parameters = PatchParams::default();
    deployments
        .patch("demo-payment", &parameters, &by_hand)
        .await
        .unwrap();
    follow(cluster, Kind::Deployment, "demo-payment", 0).await;
    for service in SERVICES {
        cluster.make_ready(Kind::Deployment, service).await;
    }
    cluster.condition("demo", "Stopped", "True").await;
    let before = cluster.settled().await;
    assert_eq!(cluster.settled().await, before);
}

async fn starts_again(cluster: &Cluster) {
    let edited = json!({"payment": {"expiresInSeconds": 900}});
    cluster.apply(&demo(&edited)).await.unwrap();
    wants(cluster, Kind::StatefulSet, "demo-mysql", 1).await;
    cluster.settled().await;
    assert_eq!(
        replicas(cluster, Kind::StatefulSet, "demo-coordinator").await,
        0
    );
    assert_eq!(
        suspended(cluster).await,
        true,
        "no run begins without its database"
    );
    for store in STORES {
        follow(cluster, Kind::StatefulSet, store, 1).await;
    }
    follow(cluster, Kind::Deployment, "demo-channel-simulator", 1).await;
    wants(cluster, Kind::StatefulSet, "demo-coordinator", 1).await;
    cluster.settled().await;
    assert_eq!(replicas(cluster, Kind::Deployment, "demo-payment").await, 0);
    cluster
        .make_ready(Kind::StatefulSet, "demo-coordinator")
        .await;
    // The autoscaled ones begin with their fewest.
    for (service, wanted) in SERVICES.into_iter().zip([3, 3, 1, 1]) {
        wants(cluster, Kind::Deployment, service, wanted).await;
    }
    // That they are no longer stopped is written next, which is another generation.
    cluster.settled().await;
    for service in SERVICES {
        cluster.make_ready(Kind::Deployment, service).await;
    }
    cluster.condition("demo", "Ready", "True").await;
    let status = cluster.systems().get("demo").await.unwrap().status.unwrap();
    assert_eq!(status.scale.unwrap().replicas, 3);
    assert_eq!(cluster.find_condition("demo", "Stopped").await, None);
    cluster.settled().await;
    assert_eq!(suspended(cluster).await, false);
    let payment = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
    assert!(payment["metadata"]["annotations"][labels::STOPPED].is_null());
    // The number is the autoscaler's again.
    let parameters = PatchParams::default();
    let scaled = Patch::Merge(json!({"spec": {"replicas": 7}}));
    let deployments = cluster.api(Kind::Deployment);
    deployments
        .patch("demo-payment", &parameters, &scaled)
        .await
        .unwrap();
    cluster.settled().await;
    assert_eq!(replicas(cluster, Kind::Deployment, "demo-payment").await, 7);
}

/// `kubectl scale` and autoscalers of one's own act on the payment service.
#[tokio::test]
async fn the_system_itself_can_be_scaled() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    let fixed = json!({"payment": {"replicas": 3, "autoscaling": {"enabled": false}}});
    cluster.apply(&demo(&fixed)).await.unwrap();
    cluster.bring_up("demo").await;
    let systems = cluster.systems();
    let parameters = PatchParams::default();
    let five = Patch::Merge(json!({"spec": {"replicas": 5}}));
    systems
        .patch_scale("demo", &parameters, &five)
        .await
        .unwrap();
    follow(&cluster, Kind::Deployment, "demo-payment", 5).await;
    let shown = async |cluster: &Cluster| {
        let scale = cluster.systems().get_scale("demo").await.unwrap();
        let (spec, status) = (scale.spec.unwrap(), scale.status.unwrap());
        let selector = "app.kubernetes.io/instance=demo,app.kubernetes.io/component=payment";
        spec.replicas == Some(5)
            && status.replicas == 5
            && status.selector.as_deref() == Some(selector)
    };
    cluster.until("the scale", shown).await;

    let scaled = json!({"payment": {"replicas": 5}});
    cluster.apply(&demo(&scaled)).await.unwrap();
    cluster
        .exists(Kind::HorizontalPodAutoscaler, "demo-payment")
        .await;
    let six = Patch::Merge(json!({"spec": {"replicas": 6}}));
    let refused = systems.patch_scale("demo", &parameters, &six).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("has no effect while"), "{refused}");
}

#[tokio::test]
async fn a_system_whose_keys_were_taken_away_stops_nevertheless() {
    let cluster = Cluster::start().await;
    people(&cluster).await;
    let _operator = cluster.operate();
    let named = json!({"peopleSecretRef": {"name": "people", "key": "list"}});
    let spec = json!({"reconciliation": named});
    cluster.apply(&demo(&spec)).await.unwrap();
    cluster.bring_up("demo").await;
    let secrets = cluster.api(Kind::Secret);
    let parameters = DeleteParams::default();
    secrets.delete("people", &parameters).await.unwrap();
    let missing = "ReconciliationConfigured";
    cluster.condition("demo", missing, "False").await;

    let spec = json!({"reconciliation": named, "stopped": true});
    cluster.apply(&demo(&spec)).await.unwrap();
    cluster.wind_down("demo").await;
    cluster.condition("demo", "Stopped", "True").await;
}

#[tokio::test]
async fn a_store_beside_an_external_one_ends_with_the_system_and_does_not_begin_again() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    let external = json!({"external": {"host": "redis.example"}});
    let spec = json!({"redis": external, "stopped": true});
    cluster.apply(&demo(&spec)).await.unwrap();
    cluster.wind_down("demo").await;
    cluster.condition("demo", "Stopped", "True").await;

    let spec = json!({"redis": external});
    cluster.apply(&demo(&spec)).await.unwrap();
    follow(&cluster, Kind::StatefulSet, "demo-mysql", 1).await;
    follow(&cluster, Kind::Deployment, "demo-channel-simulator", 1).await;
    follow(&cluster, Kind::StatefulSet, "demo-coordinator", 1).await;
    let coordinator = "CoordinatorReady";
    cluster.condition("demo", coordinator, "True").await;
    cluster.settled().await;
    let redis = replicas(&cluster, Kind::StatefulSet, "demo-redis").await;
    assert_eq!(redis, 0);

    cluster.apply(&demo(&json!({}))).await.unwrap();
    wants(&cluster, Kind::StatefulSet, "demo-redis", 1).await;
}

#[tokio::test]
async fn a_service_without_pods_is_not_ready() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    scale_payment(&cluster, "somebody", 0).await;
    cluster.make_ready(Kind::Deployment, "demo-payment").await;
    let message = cluster.condition("demo", "PaymentAvailable", "False").await;
    assert!(
        message.contains("kubectl scale deployment demo-payment --replicas=1"),
        "{message}"
    );
    cluster.condition("demo", "Ready", "False").await;
}
