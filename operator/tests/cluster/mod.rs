//! A real etcd and kube-apiserver for one test, on free ports in a temporary directory.
//!
//! `KUBE_BIN` names the directory with `kube-apiserver` and `etcd`. Both die with the test
//! process, also when it is killed.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use crds::PaymentSystem;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use payment_operator::{
    controller,
    install::{self, Installation},
    kinds::Kind,
    metrics::Metrics,
    validate::Settings,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const NAMESPACE: &str = "payment";
const TOKEN: &str = "test-token-of-the-administrator";

/// Kills its process when it goes away.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A PaymentSystem with the simulator, and more sections.
pub fn demo(more: &Value) -> Value {
    let mut spec = json!({"channels": {"simulator": true}});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more.clone());
    }
    json!({
        "apiVersion": "paymentsystem.dev/v1alpha1",
        "kind": "PaymentSystem",
        "metadata": {"name": "demo", "namespace": NAMESPACE},
        "spec": spec,
    })
}

pub struct Cluster {
    pub client: Client,
    port: u16,
    pub directory: TempDir,
    _apiserver: Process,
    _etcd: Process,
}

fn binary(name: &str) -> PathBuf {
    let directory = std::env::var_os("KUBE_BIN")
        .expect("set KUBE_BIN to a directory with kube-apiserver and etcd: these tests run against a real API server");
    let path = Path::new(&directory).join(name);
    assert!(
        path.exists(),
        "KUBE_BIN has no {name}: {} does not exist",
        path.display()
    );
    path
}

/// Waits until the number of writes stays the same for a second, and returns it.
pub async fn settled(writes: impl Fn() -> usize) -> usize {
    let mut before = writes();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = writes();
        if now == before {
            return now;
        }
        before = now;
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Starts a program that is killed by the kernel when this process dies.
fn start(directory: &Path, program: &str, arguments: &[String]) -> Process {
    let log = fs::File::create(directory.join(format!("{program}.log"))).unwrap();
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(binary(program))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Process(child)
}

impl Cluster {
    /// A cluster with the PaymentSystem definition, the namespace [`NAMESPACE`] and what the
    /// operator is granted.
    pub async fn start() -> Self {
        let cluster = Self::bare(&[]).await;
        cluster.grant().await;
        cluster
    }

    /// A cluster with the PaymentSystem definition and the namespace [`NAMESPACE`], whose API
    /// server has further arguments.
    pub async fn bare(arguments: &[String]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_path_buf();
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let etcd = start(&path, "etcd", &etcd_arguments(&path, etcd_port, peer_port));
        fs::write(
            path.join("tokens.csv"),
            format!("{TOKEN},admin,admin,system:masters\n"),
        )
        .unwrap();
        fs::write(path.join("audit.yaml"), AUDIT_POLICY).unwrap();
        service_account_key(&path);
        let apiserver = start(
            &path,
            "kube-apiserver",
            &with(apiserver_arguments(&path, etcd_port, port), arguments),
        );
        let client = Client::try_from(configuration(port)).unwrap();
        let cluster = Self {
            client,
            port,
            directory,
            _apiserver: apiserver,
            _etcd: etcd,
        };
        cluster
            .until("the API server", async |cluster: &Self| {
                cluster.client.apiserver_version().await.is_ok()
            })
            .await;
        cluster.install().await;
        cluster
    }

    async fn install(&self) {
        let api = Api::all(self.client.clone());
        let definition = crds::crd();
        self.until("the definition", async |_: &Self| {
            match api.create(&PostParams::default(), &definition).await {
                Ok(_) => true,
                Err(kube::Error::Api(status)) if status.reason == "Invalid" => {
                    panic!("{}", status.message)
                }
                Err(_) => false,
            }
        })
        .await;
        self.namespace(NAMESPACE).await;
        self.until("the new kind", async |cluster: &Self| {
            cluster.systems().list(&ListParams::default()).await.is_ok()
        })
        .await;
    }

    /// Makes a namespace.
    pub async fn namespace(&self, name: &str) {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        let made = namespaces.create(&PostParams::default(), &namespace).await;
        made.unwrap();
    }

    /// The operator gets the permissions it is installed with, no more.
    async fn grant(&self) {
        let installation = Installation {
            namespace: "payment-system".to_owned(),
            image: "operator:1".to_owned(),
            runtime_image: "runtime:1".to_owned(),
            simulator_image: None,
            ..Installation::default()
        };
        let yaml = install::yaml(&installation).unwrap();
        for document in yaml
            .split("---\n")
            .filter(|document| document.contains("kind: ClusterRole"))
        {
            let object: DynamicObject = serde_saphyr::from_str(document).unwrap();
            let kind = &object.types.as_ref().unwrap().kind;
            let gvk = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", kind);
            let api =
                Api::<DynamicObject>::all_with(self.client.clone(), &ApiResource::from_gvk(&gvk));
            api.create(&PostParams::default(), &object).await.unwrap();
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A kubeconfig of the administrator, for programs.
    pub fn kubeconfig(&self) -> PathBuf {
        let file = self.directory.path().join("kubeconfig.json");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {
                "cluster": "test", "user": "admin", "namespace": NAMESPACE,
            }}],
            "current-context": "test",
        });
        fs::write(&file, config.to_string()).unwrap();
        file
    }

    pub fn systems(&self) -> Api<PaymentSystem> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, &kind.entry().resource())
    }

    /// Creates or changes a PaymentSystem as `kubectl apply --server-side` does.
    pub async fn apply(&self, object: &Value) -> Result<PaymentSystem, kube::Error> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let parameters = PatchParams::apply("test").force().validation_strict();
        self.systems()
            .patch(name, &parameters, &Patch::Apply(object))
            .await
    }

    pub async fn get(&self, kind: Kind, name: &str) -> Option<Value> {
        let object = self.api(kind).get_opt(name).await.unwrap();
        object.map(|object| serde_json::to_value(object).unwrap())
    }

    pub async fn names(&self, kind: Kind) -> Vec<String> {
        let list = self.api(kind).list(&ListParams::default()).await.unwrap();
        let mut names: Vec<String> = list
            .items
            .into_iter()
            .filter_map(|object| object.metadata.name)
            .collect();
        names.sort();
        names
    }

    /// Waits until something holds; fails with its name after a minute.
    pub async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let mut waited = Duration::ZERO;
        while !holds(self).await {
            let step = Duration::from_millis(100);
            tokio::time::sleep(step).await;
            waited += step;
            if waited > Duration::from_mins(1) {
                let log = fs::read_to_string(self.directory.path().join("kube-apiserver.log"))
                    .unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                panic!(
                    "waited a minute for {what}; API server: {tail:?}; system: {:?}",
                    self.systems().list(&ListParams::default()).await.map(|l| l
                        .items
                        .into_iter()
                        .map(|s| s.status)
                        .collect::<Vec<_>>())
                );
            }
        }
    }

    pub async fn exists(&self, kind: Kind, name: &str) {
        self.until(
            &format!("{} {name}", kind.name()),
            async |cluster: &Self| cluster.get(kind, name).await.is_some(),
        )
        .await;
    }

    /// Plays the controllers and kubelets: a workload's status says that all replicas are ready.
    pub async fn make_ready(&self, kind: Kind, name: &str) {
        self.exists(kind, name).await;
        let live = self.get(kind, name).await.unwrap();
        let replicas = live["spec"]["replicas"].as_i64().unwrap_or(1);
        let status = match kind {
            Kind::Job => json!({
                "succeeded": 1,
                "startTime": "2026-01-01T00:00:00Z",
                "completionTime": "2026-01-01T00:00:01Z",
                "conditions": [
                    {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
                    {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
                ],
            }),
            _ => json!({
                "replicas": replicas,
                "readyReplicas": replicas,
                "availableReplicas": replicas,
                "updatedReplicas": replicas,
                "observedGeneration": live["metadata"]["generation"],
            }),
        };
        let patch = Patch::Merge(json!({"status": status}));
        self.api(kind)
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Waits until a workload is to have other pods, and gives it them.
    pub async fn roll(&self, kind: Kind, name: &str) {
        let what = format!("{name} to be rolled");
        self.until(&what, async |cluster: &Self| {
            let live = cluster.get(kind, name).await;
            live.is_some_and(|live| {
                live["metadata"]["generation"] != live["status"]["observedGeneration"]
            })
        })
        .await;
        self.make_ready(kind, name).await;
    }

    /// Name of the only migration Job.
    pub async fn migration(&self) -> String {
        self.until("the migration Job", async |cluster: &Self| {
            cluster.names(Kind::Job).await.len() == 1
        })
        .await;
        self.names(Kind::Job).await.remove(0)
    }

    /// Brings a managed system with the simulator to `Ready`.
    pub async fn bring_up(&self, name: &str) {
        for store in ["mysql", "redis"] {
            self.make_ready(Kind::StatefulSet, &format!("{name}-{store}"))
                .await;
        }
        self.make_ready(Kind::Deployment, &format!("{name}-channel-simulator"))
            .await;
        self.make_ready(Kind::StatefulSet, &format!("{name}-coordinator"))
            .await;
        let migration = self.migration().await;
        self.make_ready(Kind::Job, &migration).await;
        for service in ["payment", "callback"] {
            let deployment = format!("{name}-{service}");
            self.until("the first replicas", async |cluster: &Self| {
                cluster
                    .get(Kind::Deployment, &deployment)
                    .await
                    .is_some_and(|live| live["spec"]["replicas"] == 3)
            })
            .await;
        }
        for service in ["payment", "callback", "worker", "reconciliation"] {
            self.make_ready(Kind::Deployment, &format!("{name}-{service}"))
                .await;
        }
        self.condition(name, "Ready", "True").await;
    }

    /// Ends the pods of a managed system with the simulator that is to stop.
    pub async fn wind_down(&self, name: &str) {
        for (kind, part) in [
            (Kind::Deployment, "payment"),
            (Kind::Deployment, "callback"),
            (Kind::Deployment, "worker"),
            (Kind::Deployment, "reconciliation"),
            (Kind::StatefulSet, "coordinator"),
            (Kind::StatefulSet, "mysql"),
            (Kind::StatefulSet, "redis"),
            (Kind::Deployment, "channel-simulator"),
        ] {
            let workload = format!("{name}-{part}");
            self.until("the last replicas", async |cluster: &Self| {
                let live = cluster.get(kind, &workload).await;
                live.is_some_and(|live| live["spec"]["replicas"] == 0)
            })
            .await;
            self.make_ready(kind, &workload).await;
        }
    }

    pub async fn condition(&self, name: &str, kind: &str, status: &str) -> String {
        let what = format!("condition {kind}={status}");
        self.until(&what, async |cluster: &Self| {
            cluster
                .find_condition(name, kind)
                .await
                .is_some_and(|c| c.0 == status)
        })
        .await;
        self.find_condition(name, kind).await.unwrap().1
    }

    /// Status and `reason: message` of a condition.
    pub async fn find_condition(&self, name: &str, kind: &str) -> Option<(String, String)> {
        let status = self.systems().get(name).await.ok()?.status?;
        let condition = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == kind)?;
        Some((
            condition.status,
            format!("{}: {}", condition.reason, condition.message),
        ))
    }

    /// Requests of the operator that changed anything, from the audit log.
    pub fn operator_writes(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join("audit.log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["userAgent"] == "payment-operator-under-test")
            .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
            .filter(|request| {
                !["\"get\"", "\"list\"", "\"watch\""]
                    .iter()
                    .any(|verb| request.starts_with(verb))
            })
            .collect()
    }

    /// The operator has had time to act. Returns its writes so far.
    pub async fn settled(&self) -> usize {
        settled(|| self.operator_writes().len()).await
    }

    /// How the operator reaches the API server: with the permissions it is installed with.
    pub fn operator_configuration(&self) -> Config {
        let mut config = configuration(self.port);
        config.auth_info.impersonate =
            Some("system:serviceaccount:payment-system:payment-operator".to_owned());
        let agent = "payment-operator-under-test".parse().unwrap();
        config.headers.push(("user-agent".parse().unwrap(), agent));
        config
    }

    /// Runs the operator until the handle is dropped.
    pub fn operate(&self) -> Operator {
        self.operate_with(Settings {
            runtime_image: Some("registry.example/payment-runtime:1.0".to_owned()),
            simulator_image: Some("registry.example/channel-simulator:1.0".to_owned()),
            ..Settings::default()
        })
    }

    /// Runs the operator with other settings until the handle is dropped.
    pub fn operate_with(&self, settings: Settings) -> Operator {
        let metrics = Arc::new(Metrics::default());
        let client = Client::try_from(self.operator_configuration()).unwrap();
        Operator(tokio::spawn(controller::run(
            client,
            settings,
            metrics,
            std::future::pending(),
        )))
    }
}

pub struct Operator(tokio::task::JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn configuration(port: u16) -> Config {
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse().unwrap());
    config.accept_invalid_certs = true;
    config.auth_info.token = Some(TOKEN.into());
    config
}

const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
";

fn service_account_key(directory: &Path) {
    let pair = payment_operator::keys::rsa_pair().unwrap();
    fs::write(directory.join("sa.key"), pair.private).unwrap();
    fs::write(directory.join("sa.pub"), pair.public).unwrap();
}

fn etcd_arguments(directory: &Path, port: u16, peer: u16) -> Vec<String> {
    let url = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer}");
    vec![
        format!("--data-dir={}", directory.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync=true".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

/// The usual arguments, and others, which go before usual ones of the same name.
fn with(usual: Vec<String>, others: &[String]) -> Vec<String> {
    let name = |argument: &str| argument.split('=').next().map(str::to_owned);
    let replaced = |argument: &String| others.iter().any(|other| name(other) == name(argument));
    let kept = usual.into_iter().filter(|argument| !replaced(argument));
    kept.chain(others.iter().cloned()).collect()
}

fn apiserver_arguments(directory: &Path, etcd: u16, port: u16) -> Vec<String> {
    let file = |name: &str| directory.join(name).display().to_string();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--cert-dir={}", file("certificates")),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        format!("--audit-log-path={}", file("audit.log")),
        format!("--audit-policy-file={}", file("audit.yaml")),
    ]
}
