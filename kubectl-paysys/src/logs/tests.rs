//! Logs over an API server that is played: a real one reads logs only from real kubelets.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::screen::Paint;

fn pod(name: &str, role: &str, state: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": {labels::COMPONENT: role}},
        "spec": {"containers": [{"name": "runtime"}]},
        "status": {"containerStatuses": [
            {"name": "runtime", "image": "", "imageID": "", "ready": true, "restartCount": 2, "state": state},
        ]},
    })
}

fn running() -> Value {
    json!({"running": {"startedAt": "2026-11-22T10:00:00Z"}})
}

/// An API server with these pods and their logs.
fn cluster(pods: Vec<Value>, asked: Arc<Mutex<Vec<String>>>) -> Cluster {
    let answer = move |request: Request<Body>| {
        let path = request.uri().to_string();
        let body = if path.contains("/log?") {
            let pod = path.split('/').nth_back(1).unwrap_or_default().to_owned();
            format!(
                "2026-11-22T10:00:0{}.5Z first of {pod}\n2026-11-22T10:00:09.25Z last of {pod}\n",
                pod.len() % 9
            )
        } else {
            json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": pods})
                .to_string()
        };
        asked.lock().unwrap().push(path);
        async move { Ok::<_, Infallible>(Response::new(Body::from(body.into_bytes()))) }
    };
    Cluster {
        client: kube::Client::new(tower::service_fn(answer), "payment"),
        namespace: "payment".to_owned(),
    }
}

fn pods() -> Vec<Value> {
    vec![
        pod("demo-worker-1", "worker", &running()),
        pod("demo-payment-12", "payment", &running()),
        pod(
            "demo-callback-x",
            "callback",
            &json!({"waiting": {"reason": "ContainerCreating"}}),
        ),
    ]
}

#[tokio::test]
async fn the_lines_of_all_pods_stand_in_the_order_of_their_times() {
    let asked = Arc::default();
    let cluster = cluster(pods(), Arc::clone(&asked));
    let wanted = LogParams {
        timestamps: true,
        ..LogParams::default()
    };
    let mut sources = Vec::new();
    for value in pods() {
        let pod: Pod = serde_json::from_value(value).unwrap();
        if begun(&pod).is_some() {
            sources.push(open(&cluster, &pod, &wanted).await.unwrap());
        }
    }
    let mut text = String::new();
    merge::in_order(sources, |line| {
        text.push_str(&merge::render(line, Paint::Plain));
        Ok(())
    })
    .await
    .unwrap();
    insta::assert_snapshot!("merged", text);
    let asked = asked.lock().unwrap();
    assert!(
        asked.iter().all(|path| path.contains("container=runtime")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn following_takes_each_started_container_once_and_ends_when_it_is_told() {
    let cluster = cluster(pods(), Arc::default());
    let lines = Mutex::new(Vec::new());
    let (enough, told) = tokio::sync::oneshot::channel::<()>();
    let mut enough = Some(enough);
    let stop = async move { drop(told.await) };
    let screen = Screen::of(crate::Format::Json);
    let wanted = LogParams::default();
    follow(&cluster, screen, ("a=b", &wanted), stop, |line| {
        let mut lines = lines.lock().unwrap();
        lines.push(format!("{} {}", line.role, line.text));
        if lines.len() == 4 {
            drop(enough.take());
        }
        Ok(())
    })
    .await
    .unwrap();
    let mut lines = lines.into_inner().unwrap();
    lines.sort();
    assert_eq!(
        lines,
        [
            "payment first of demo-payment-12",
            "payment last of demo-payment-12",
            "worker first of demo-worker-1",
            "worker last of demo-worker-1",
        ]
    );
}

#[test]
fn pods_are_chosen_by_system_and_role() {
    assert_eq!(
        selector("demo", &["payment".to_owned(), "worker".to_owned()]),
        "app.kubernetes.io/managed-by=payment-operator,app.kubernetes.io/instance=demo,\
         app.kubernetes.io/component in (payment,worker)"
    );
}

#[test]
fn each_pod_has_a_colour_of_its_own() {
    let line = Line {
        role: "payment".to_owned(),
        pod: "demo-payment-1".to_owned(),
        at: None,
        text: "hello".to_owned(),
    };
    insta::assert_snapshot!("coloured", merge::render(&line, Paint::Colours));
}
