//! Pods that no kubelet runs: their state, and what they say of their work.

use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use payment_operator::kinds::Kind;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use super::{
    cluster::{Cluster, NAMESPACE},
    template,
};

/// The metrics of one pod.
pub(crate) struct Metrics {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Metrics {
    /// So many requests of all were answered with 503.
    pub(crate) async fn serve(bad: u64, all: u64) -> Self {
        let series =
            "payment_api_request_duration_seconds_count{method=\"POST\",route=\"/v1/payments\"";
        let well = all - bad;
        let body =
            format!("{series},status=\"201\"}} {well}\n{series},status=\"503\"}} {bad}\n# EOF\n");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { port, task }
    }
}

fn api(cluster: &Cluster) -> Api<Pod> {
    Api::namespaced(cluster.client.clone(), NAMESPACE)
}

/// A ready pod of the payment service on this machine.
pub(crate) async fn create(cluster: &Cluster, name: &str, template: &str, port: u16) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {
            "app.kubernetes.io/managed-by": "payment-operator",
            "app.kubernetes.io/instance": "demo",
            "app.kubernetes.io/component": "payment",
            "pod-template-hash": template,
        }},
        "spec": {"containers": [{
            "name": "runtime",
            "image": "runtime:1",
            "ports": [{"name": "management", "containerPort": port}],
        }]},
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    api(cluster)
        .create(&PostParams::default(), &pod)
        .await
        .unwrap();
    let status = json!({"status": {
        "phase": "Running",
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    api(cluster)
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
}

/// A pod whose time of creation, in whole seconds, is after that of the others.
pub(crate) async fn create_later(cluster: &Cluster, name: &str, template: &str, port: u16) {
    let made = async || {
        let pods = api(cluster).list(&ListParams::default()).await.unwrap();
        let times = pods
            .items
            .into_iter()
            .map(|pod| pod.metadata.creation_timestamp);
        times.max().flatten()
    };
    let earlier = made().await;
    while {
        create(cluster, name, template, port).await;
        made().await == earlier
    } {
        remove(cluster, name).await;
    }
}

pub(crate) async fn remove(cluster: &Cluster, name: &str) {
    let now = DeleteParams::default().grace_period(0);
    api(cluster).delete(name, &now).await.unwrap();
}

/// Lets the migration that is there now run.
pub(crate) async fn migrate(cluster: &Cluster) {
    cluster
        .until("a migration that has not run", async |cluster: &Cluster| {
            let names = cluster.names(Kind::Job).await;
            let [name] = names.as_slice() else {
                return false;
            };
            let job = cluster.get(Kind::Job, name).await;
            job.is_some_and(|job| job["status"]["succeeded"].is_null())
        })
        .await;
    let name = cluster.migration().await;
    cluster.make_ready(Kind::Job, &name).await;
}

/// Waits until the payment service is to run this version.
pub(crate) async fn runs(cluster: &Cluster, tag: &str) {
    image(cluster, "demo-payment", tag).await;
}

/// Waits until a service is to run this version.
pub(crate) async fn image(cluster: &Cluster, name: &str, tag: &str) {
    let what = format!("{name} to run {tag}");
    cluster
        .until(&what, async |cluster: &Cluster| {
            let template = template(cluster, Kind::Deployment, name).await;
            let image = template["spec"]["containers"][0]["image"].as_str();
            image.is_some_and(|image| image.ends_with(&format!(":{tag}")))
        })
        .await;
}

/// One new pod works beside all the earlier ones.
pub(crate) async fn half_rolled(cluster: &Cluster, name: &str) {
    let live = cluster.get(Kind::Deployment, name).await.unwrap();
    let status = json!({"status": {
        "replicas": 4,
        "updatedReplicas": 1,
        "readyReplicas": 4,
        "availableReplicas": 3,
        "observedGeneration": live["metadata"]["generation"],
    }});
    cluster
        .api(Kind::Deployment)
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
}

/// Changes a Deployment by hand.
pub(crate) async fn change(cluster: &Cluster, name: &str, change: &Value) -> Value {
    let parameters = PatchParams::default();
    let changed = cluster
        .api(Kind::Deployment)
        .patch(name, &parameters, &Patch::Merge(change))
        .await
        .unwrap();
    serde_json::to_value(changed).unwrap()
}

/// Notes of the events with a reason, sorted.
pub(crate) async fn events(cluster: &Cluster, reason: &str) -> Vec<String> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), NAMESPACE);
    let events = api.list(&ListParams::default()).await.unwrap().items;
    let of = events
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some(reason));
    let mut notes: Vec<String> = of.filter_map(|event| event.note).collect();
    notes.sort();
    notes
}
