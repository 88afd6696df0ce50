//! A kube-apiserver and an etcd of the benchmark's own, on free ports, and nothing else: no
//! controllers, no kubelet.
//!
//! Three users: the operator with the permissions it is installed with, the editor whose edits
//! are timed, and the administrator who plays everybody else. The first two are in the audit log.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::{
    api::core::v1::Namespace,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::json;
use tempfile::TempDir;

use super::audit::Log;
use crate::process::{self, Process};

pub(super) const OPERATOR: &str = "system:serviceaccount:payment-system:payment-operator";
pub(super) const EDITOR: &str = "editor";
const ADMINISTRATOR: &str = "administrator";
const START_WITHIN: Duration = Duration::from_mins(1);

/// A watch is logged when it begins, everything else when it is answered; what the administrator
/// and the API server itself do is left out.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
  users: [editor, 'system:serviceaccount:payment-system:payment-operator']
  verbs: [watch]
  omitStages: [RequestReceived, ResponseComplete]
- level: Metadata
  users: [editor, 'system:serviceaccount:payment-system:payment-operator']
  omitStages: [RequestReceived, ResponseStarted]
- level: None
";

/// Kinds of the Prometheus Operator, so that their objects are made too.
const MONITORING: [(&str, &str); 2] = [
    ("ServiceMonitor", "servicemonitors"),
    ("PrometheusRule", "prometheusrules"),
];

pub(super) struct Cluster {
    pub(super) client: Client,
    port: u16,
    directory: TempDir,
    _apiserver: Process,
    _etcd: Process,
}

impl Cluster {
    /// A cluster in which the operator is installed, but does not run.
    pub(super) async fn start(operator: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let (etcd_port, peer_port, port) = (
            process::free_port()?,
            process::free_port()?,
            process::free_port()?,
        );
        std::fs::write(path.join("tokens.csv"), tokens())?;
        std::fs::write(path.join("audit.yaml"), AUDIT_POLICY)?;
        service_account_key(path)?;
        let etcd = start(path, "etcd", &etcd_arguments(path, etcd_port, peer_port))?;
        let arguments = apiserver_arguments(path, etcd_port, port);
        let apiserver = start(path, "kube-apiserver", &arguments)?;
        let cluster = Self {
            client: client(port, ADMINISTRATOR)?,
            port,
            directory,
            _apiserver: apiserver,
            _etcd: etcd,
        };
        cluster.install(operator).await?;
        Ok(cluster)
    }

    pub(super) fn client_of(&self, user: &str) -> anyhow::Result<Client> {
        client(self.port, user)
    }

    pub(super) fn audit_log(&self) -> Log {
        Log::open(self.directory.path().join("audit.log"))
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the operator reads to find the API server.
    pub(super) fn kubeconfig(&self) -> anyhow::Result<PathBuf> {
        let file = self.directory.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bench",
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "operator"}}],
            "clusters": [{"name": "bench", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": "operator", "user": {"token": token(OPERATOR)}}],
        });
        std::fs::write(&file, text.to_string())?;
        Ok(file)
    }

    async fn install(&self, operator: &Path) -> anyhow::Result<()> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        until("the API server", START_WITHIN, async || {
            namespaces.list(&ListParams::default()).await.is_ok()
        })
        .await?;
        let printed = |arguments: &[&str]| -> anyhow::Result<String> {
            let output = Command::new(operator).args(arguments).output()?;
            ensure!(
                output.status.success(),
                "the operator prints no {arguments:?}"
            );
            Ok(String::from_utf8(output.stdout)?)
        };
        let manifests = printed(&[
            "manifests",
            "--image=payment-operator:1",
            "--runtime-image=payment-runtime:1",
            "--simulator-image=channel-simulator:1",
        ])?;
        let definitions = MONITORING.map(|(kind, plural)| definition(kind, plural).to_string());
        for document in printed(&["crds"])?
            .split("---\n")
            .chain(manifests.split("---\n"))
            .chain(definitions.iter().map(String::as_str))
            .filter(|document| !document.trim().is_empty())
        {
            self.apply(document).await?;
        }
        self.definitions_are_served().await
    }

    async fn definitions_are_served(&self) -> anyhow::Result<()> {
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        until("the definitions", START_WITHIN, async || {
            let Ok(list) = api.list(&ListParams::default()).await else {
                return false;
            };
            list.iter().all(|definition| {
                let conditions = definition.status.iter().flat_map(|s| s.conditions.iter());
                conditions
                    .flatten()
                    .any(|c| c.type_ == "Established" && c.status == "True")
            })
        })
        .await
    }

    async fn apply(&self, document: &str) -> anyhow::Result<()> {
        let object: DynamicObject = serde_saphyr::from_str(document)?;
        let types = object.types.as_ref().context("an object without a kind")?;
        let (group, version) = types
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", &types.api_version));
        let gvk = GroupVersionKind::gvk(group, version, &types.kind);
        let resource = ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let name = object.metadata.name.clone().context("no name")?;
        api.patch(
            &name,
            &PatchParams::apply("bench").force(),
            &Patch::Apply(&object),
        )
        .await
        .with_context(|| format!("cannot install {} {name}", types.kind))?;
        Ok(())
    }

    pub(super) async fn create_namespace(&self, name: &str) -> anyhow::Result<()> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        Api::<Namespace>::all(self.client.clone())
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(())
    }
}

/// Waits until something holds, or says what did not.
pub(super) async fn until(
    what: &str,
    within: Duration,
    holds: impl AsyncFn() -> bool,
) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + within;
    while !holds().await {
        if tokio::time::Instant::now() > deadline {
            bail!("{what}: not within {} s", within.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn token(user: &str) -> String {
    format!("token-of-{user}").replace(':', "-")
}

fn tokens() -> String {
    [
        (OPERATOR, "system:serviceaccounts"),
        (EDITOR, "system:masters"),
        (ADMINISTRATOR, "system:masters"),
    ]
    .map(|(user, group)| format!("{},{user},{user},{group}\n", token(user)))
    .concat()
}

fn client(port: u16, user: &str) -> anyhow::Result<Client> {
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse()?);
    config.accept_invalid_certs = true;
    config.auth_info.token = Some(token(user).into());
    Ok(Client::try_from(config)?)
}

fn definition(kind: &str, plural: &str) -> serde_json::Value {
    let group = "monitoring.coreos.com";
    let singular = kind.to_lowercase();
    let schema = json!({"openAPIV3Schema": {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": singular},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

/// Starts a server out of `KUBE_BIN`; what it says goes to a file.
fn start(directory: &Path, program: &str, arguments: &[String]) -> anyhow::Result<Process> {
    let binaries = std::env::var_os("KUBE_BIN")
        .context("set KUBE_BIN to a directory with kube-apiserver and etcd")?;
    let program_path = Path::new(&binaries).join(program);
    ensure!(
        program_path.exists(),
        "KUBE_BIN has no {program}: {} does not exist",
        program_path.display()
    );
    let log = std::fs::File::create(directory.join(format!("{program}.log")))?;
    let mut command = process::bound(program_path.to_str().context("a path that is no text")?);
    command.args(arguments).stdout(Stdio::null()).stderr(log);
    Process::start(command)
}

/// The API server wants a key to sign tokens with, though nobody asks for one here.
fn service_account_key(directory: &Path) -> anyhow::Result<()> {
    let key = rcgen::KeyPair::generate().context("no key")?;
    std::fs::write(directory.join("sa.key"), key.serialize_pem())?;
    std::fs::write(directory.join("sa.pub"), key.public_key_pem())?;
    Ok(())
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
        "--quota-backend-bytes=4294967296".to_owned(),
        "--log-level=warn".to_owned(),
    ]
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
        "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
        format!("--audit-log-path={}", file("audit.log")),
        format!("--audit-policy-file={}", file("audit.yaml")),
        "--audit-log-maxsize=8192".to_owned(),
    ]
}
