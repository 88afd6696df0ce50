//! The operator's program with the identity of a pod, and what the API server saw of it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    coordination::v1::Lease,
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use payment_operator::{
    install::{self, Installation},
    leader::LEASE,
};
use serde_json::{Value, json};

use super::cluster::Cluster;

pub const NAMESPACE: &str = "payment-system";
const ACCOUNT: &str = "payment-operator";
/// The operator, as the API server calls it.
pub const USER: &str = "system:serviceaccount:payment-system:payment-operator";

pub struct Operator {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            println!("{}:\n{log}", self.log.display());
        }
    }
}

/// The usual installation.
pub fn installation() -> Installation {
    Installation {
        namespace: NAMESPACE.to_owned(),
        image: "operator:1".to_owned(),
        runtime_image: "runtime:1".to_owned(),
        simulator_image: None,
        ..Installation::default()
    }
}

/// Applies everything that installs the operator.
pub async fn install(cluster: &Cluster, installation: &Installation) {
    let yaml = install::yaml(installation).unwrap();
    for document in yaml.split("---\n").filter(|text| !text.trim().is_empty()) {
        let object: DynamicObject = serde_saphyr::from_str(document).unwrap();
        let types = object.types.clone().unwrap();
        let (group, version) = types
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", &types.api_version));
        let gvk = GroupVersionKind::gvk(group, version, &types.kind);
        let resource = ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
            None => Api::all_with(cluster.client.clone(), &resource),
        };
        let name = object.metadata.name.clone().unwrap();
        let parameters = PatchParams::apply("installer").force();
        api.patch(&name, &parameters, &Patch::Apply(&object))
            .await
            .unwrap_or_else(|error| panic!("{} {name}: {error}", types.kind));
    }
}

/// A token as the kubelet gives it to the pod of that name.
async fn token(cluster: &Cluster, pod: &str) -> String {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), NAMESPACE);
    let object = json!({
        "metadata": {"name": pod},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "operator",
                "image": "operator:1",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    let object: Pod = serde_json::from_value(object).unwrap();
    let made = pods.create(&PostParams::default(), &object).await.unwrap();
    let request = TokenRequest {
        spec: TokenRequestSpec {
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.to_owned()),
                uid: made.metadata.uid,
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), NAMESPACE);
    let granted = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await
        .unwrap();
    granted.status.unwrap().token
}

pub async fn holder(cluster: &Cluster) -> Option<String> {
    let leases = Api::<Lease>::namespaced(cluster.client.clone(), NAMESPACE);
    leases.get_opt(LEASE).await.unwrap()?.spec?.holder_identity
}

impl Operator {
    /// Starts the program; `api` is the port under which it finds the API server.
    pub async fn start(cluster: &Cluster, pod: &str, api: u16, lease_seconds: u32) -> Self {
        Self::start_in(cluster, pod, (api, lease_seconds), &[]).await
    }

    /// The same, for some namespaces; none: all.
    pub async fn start_in(
        cluster: &Cluster,
        pod: &str,
        (api, lease_seconds): (u16, u32),
        namespaces: &[String],
    ) -> Self {
        let directory = cluster.directory.path();
        let kubeconfig = directory.join(format!("{pod}.kubeconfig"));
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "pod"}}],
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{api}"),
                "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": "pod", "user": {"token": token(cluster, pod).await}}],
        });
        fs::write(&kubeconfig, text.to_string()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let log = directory.join(format!("{pod}.log"));
        let mut command = Command::new("setpriv");
        if !namespaces.is_empty() {
            command
                .env("WATCH_NAMESPACES", namespaces.join(","))
                .env("DISCOVERY_SECONDS", "10");
        }
        let child = command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(env!("CARGO_BIN_EXE_payment-operator"))
            .arg("run")
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAME", pod)
            .env("POD_NAMESPACE", NAMESPACE)
            .env("LEASE_SECONDS", lease_seconds.to_string())
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("RUNTIME_IMAGE", "registry.example/payment-runtime:1.0")
            .env("SIMULATOR_IMAGE", "registry.example/channel-simulator:1.0")
            .stdout(fs::File::create(&log).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self { child, port, log }
    }

    pub async fn until_ready(&self, cluster: &Cluster) {
        cluster
            .until("the operator to be ready", async |_: &Cluster| {
                self.answers("/readyz") && self.answers("/livez")
            })
            .await;
    }

    /// Waits until it has written these words to its log.
    pub async fn says(&self, cluster: &Cluster, words: &str) {
        cluster
            .until(words, async |_: &Cluster| {
                fs::read_to_string(&self.log).is_ok_and(|log| log.contains(words))
            })
            .await;
    }

    fn answers(&self, path: &str) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        let mut answer = String::new();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.0 200")
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end; its exit code.
    pub async fn end(&mut self, cluster: &Cluster) -> Option<i32> {
        let child = std::sync::Mutex::new(&mut self.child);
        cluster
            .until("the operator to end", async |_: &Cluster| {
                child.lock().unwrap().try_wait().unwrap().is_some()
            })
            .await;
        self.child.wait().unwrap().code()
    }
}

/// What a pod asked for, beside reading and its lease.
fn asked(cluster: &Cluster, pod: &str) -> Vec<Value> {
    let log = fs::read_to_string(cluster.directory.path().join("audit.log")).unwrap_or_default();
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] == pod)
        .filter(|event| event["objectRef"]["resource"] != "leases")
        .filter(|event| !["get", "list", "watch"].contains(&event["verb"].as_str().unwrap()))
        .collect()
}

fn line(event: &Value) -> String {
    format!(
        "{} {} {}",
        event["verb"], event["requestURI"], event["responseStatus"]["code"]
    )
}

/// Requests by which a pod tried to change anything.
pub fn writes(cluster: &Cluster, pod: &str) -> Vec<String> {
    asked(cluster, pod).iter().map(line).collect()
}

/// Those that the API server refused.
pub fn refused(cluster: &Cluster, pod: &str) -> Vec<String> {
    let asked = asked(cluster, pod);
    let refused = asked
        .iter()
        .filter(|event| event["responseStatus"]["code"] == 403);
    refused.map(line).collect()
}
