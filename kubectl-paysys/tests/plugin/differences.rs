//! `differences` reaches the reconciliation service through the real API server's proxy.

use std::net::{IpAddr, UdpSocket};

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    Plugin,
    cluster::{Cluster, NAMESPACE},
    demo,
};

/// An address of this machine that the API server proxies to: not the loopback one. No packet is
/// sent.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

/// A reconciliation service that knows one difference.
async fn answer(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await.unwrap();
    let mut line = String::new();
    while stream.read_line(&mut line).await.unwrap() > 2 {
        assert!(!line.to_lowercase().starts_with("authorization"), "{line}");
        line.clear();
    }
    let difference = json!({"id": 7, "class": "amount", "state": "open", "channel": "wechat"});
    let path = first.split(' ').nth(1).unwrap();
    let (status, body) = match path {
        "/api/reconciliation/differences?state=open" => {
            ("200 OK", json!({"data": [difference], "nextCursor": null}))
        }
        "/api/reconciliation/differences?" | "/api/reconciliation/differences" => {
            ("200 OK", json!({"data": [], "nextCursor": null}))
        }
        "/api/reconciliation/differences/7" => ("200 OK", difference),
        _ => (
            "422 Unprocessable Entity",
            json!({"title": "Invalid", "detail": format!("no such thing: {path}")}),
        ),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
}

async fn publish(cluster: &Cluster, port: u16) {
    let name = "demo-reconciliation";
    let services = Api::<Service>::namespaced(cluster.client.clone(), NAMESPACE);
    let create = PostParams::default();
    let service = json!({
        "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": 8090, "targetPort": port}]},
    });
    services
        .create(&create, &serde_json::from_value(service).unwrap())
        .await
        .unwrap();
    // The API server proxies to addresses of pods alone.
    let address = own_address().to_string();
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), NAMESPACE);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "runtime", "image": "runtime:1"}]},
    }))
    .unwrap();
    pods.create(&create, &pod).await.unwrap();
    let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let endpoints = Api::<Endpoints>::namespaced(cluster.client.clone(), NAMESPACE);
    let endpoint: Endpoints = serde_json::from_value(json!({
        "metadata": {"name": name},
        "subsets": [{
            "addresses": [{
                "ip": address,
                "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE},
            }],
            "ports": [{"name": "http", "port": port}],
        }],
    }))
    .unwrap();
    endpoints.create(&create, &endpoint).await.unwrap();
}

#[tokio::test]
async fn differences_are_read_through_the_api_server() {
    let cluster = Cluster::start().await;
    let plugin = Plugin::new(&cluster);
    cluster.apply(&demo(&json!({}))).await.unwrap();
    let ran = plugin.run(&["differences", "list"]).await;
    ran.expect(
        2,
        &["cannot ask Service demo-reconciliation in namespace payment"],
    );

    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    publish(&cluster, listener.local_addr().unwrap().port()).await;
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream));
        }
    });
    let ran = plugin
        .run(&["differences", "list", "--state", "open"])
        .await;
    ran.expect(1, &["7 ", "amount", "open"]);
    plugin
        .run(&["differences", "list"])
        .await
        .expect(0, &["No difference."]);
    let ran = plugin
        .run(&["differences", "show", "7", "-o", "json"])
        .await;
    assert_eq!(ran.expect(1, &[]).json()["class"], "amount");
    let ran = plugin.run(&["differences", "show", "8"]).await;
    ran.expect(2, &["422, no such thing"]);
    server.abort();
}
