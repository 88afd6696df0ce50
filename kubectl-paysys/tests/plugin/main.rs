//! The program against a real API server and the real operator. The test plays the controllers
//! and kubelets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests"
)]

#[path = "../../../operator/tests/cluster/mod.rs"]
mod cluster;
mod differences;
mod planning;
mod reconciling;
mod waiting;

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
};

pub(crate) use cluster::demo;
use cluster::{Cluster, NAMESPACE};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: code(output.status),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless the exit code and some words are as expected.
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            let said = self.out.contains(word) || self.err.contains(word);
            assert!(said, "{word} is not in {self:?}");
        }
        self
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// The program with a kubeconfig.
pub(crate) struct Plugin(PathBuf);

impl Plugin {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self(cluster.kubeconfig())
    }

    pub(crate) fn with(kubeconfig: &Path) -> Self {
        Self(kubeconfig.to_owned())
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_kubectl-paysys"))
            .args(arguments)
            .arg("--kubeconfig")
            .arg(&self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// What the program prints on a terminal, with these variables.
    pub(crate) async fn on_terminal(&self, arguments: &str, variables: &[(&str, &str)]) -> String {
        let program = env!("CARGO_BIN_EXE_kubectl-paysys");
        let line = format!("{program} {arguments} --kubeconfig {}", self.0.display());
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        ended(self.start(arguments)).await
    }
}

pub(crate) async fn ended(child: Child) -> Ran {
    Ran::of(child.wait_with_output().await.unwrap())
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_what_to_do() {
    let missing = Plugin::with(Path::new("/nonexistent/kubeconfig"));
    let ran = missing.run(&["status"]).await;
    ran.expect(
        2,
        &[
            "cannot use kubeconfig /nonexistent/kubeconfig",
            "check --kubeconfig",
        ],
    );

    let cluster = Cluster::start().await;
    let plugin = Plugin::new(&cluster);
    let ran = plugin.run(&["status", "demo"]).await;
    ran.expect(
        2,
        &[
            "cannot read PaymentSystem demo in namespace payment",
            "status -A",
        ],
    );
    let ran = plugin.run(&["why", "-n", "elsewhere"]).await;
    ran.expect(2, &["there is no PaymentSystem in namespace elsewhere"]);
    let ran = plugin.run(&["status", "--context", "other"]).await;
    ran.expect(2, &["--context"]);
    plugin
        .run(&["status", "--wait=never"])
        .await
        .expect(2, &["ready"]);
    let ran = plugin.run(&["status"]).await;
    ran.expect(0, &["There is no PaymentSystem in namespace payment"]);
    let ran = plugin.run(&["status", "-A", "-o", "json"]).await;
    assert_eq!(ran.json(), json!({"systems": []}));
}

/// Whoever may read but not watch is told so, instead of waiting in vain.
#[tokio::test]
async fn a_watch_that_is_not_allowed_is_no_wait() {
    let cluster = Cluster::start().await;
    cluster.apply(&demo(&json!({}))).await.unwrap();
    let role = json!({
        "metadata": {"name": "reader", "namespace": NAMESPACE},
        "rules": [{"apiGroups": ["paymentsystem.dev"], "resources": ["paymentsystems"], "verbs": ["get"]}],
    });
    let binding = json!({
        "metadata": {"name": "reader", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}],
    });
    let create = PostParams::default();
    Api::<Role>::namespaced(cluster.client.clone(), NAMESPACE)
        .create(&create, &serde_json::from_value(role).unwrap())
        .await
        .unwrap();
    Api::<RoleBinding>::namespaced(cluster.client.clone(), NAMESPACE)
        .create(&create, &serde_json::from_value(binding).unwrap())
        .await
        .unwrap();
    let file = cluster.kubeconfig();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["users"][0]["user"]["as"] = json!("reader");
    std::fs::write(&file, config.to_string()).unwrap();
    let ran = Plugin::with(&file).run(&["status", "demo", "--wait"]).await;
    ran.expect(
        2,
        &[
            "cannot watch PaymentSystem demo",
            "ask whoever runs the cluster",
        ],
    );
}

#[tokio::test]
async fn an_api_server_that_is_away_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let config = json!({
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "current-context": "c",
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let ran = Plugin::with(&file).run(&["status"]).await;
    ran.expect(
        2,
        &[
            "cannot list PaymentSystems in namespace default",
            "is reachable",
        ],
    );
}
