//! A real Prometheus on this machine that watches a system on the cluster: it scrapes through the
//! API server and evaluates the alerts that the operator wrote, as one inside the cluster would.
//!
//! Deliberately not here: how targets are found. In a cluster the ServiceMonitors say it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use contract::ports;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::api::{http_client, send};
use crate::environment::{cluster_setting, local, read_settings};
use crate::system::System;

/// Between two scrapes, and between two evaluations: far below what a cluster's own would take.
const INTERVAL: &str = "1s";
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Runs until it is dropped, or until the test's thread ends.
pub struct Prometheus {
    http: Client,
    base: String,
    _server: Child,
    _proxy: Child,
    _files: TempDir,
}

impl Prometheus {
    /// Watches the reconciliation service of a system.
    pub async fn watch(system: &System, kubeconfig: &Path) -> Result<Self> {
        let (proxy, api_server) = api_server_proxy(kubeconfig).await?;
        let files = tempfile::tempdir().context("cannot make a folder")?;
        let write = |name: &str, content: &Value| {
            std::fs::write(files.path().join(name), content.to_string())
                .with_context(|| format!("cannot write {name}"))
        };
        write("alerts.json", &alerts(system).await?)?;
        write("prometheus.json", &configuration(system, &api_server))?;
        let (server, address) = server(files.path()).await?;
        Ok(Self {
            http: http_client()?,
            base: format!("http://{address}"),
            _server: server,
            _proxy: proxy,
            _files: files,
        })
    }

    /// Whether an alert fires: `None` until its rule has been evaluated on what was scraped.
    pub async fn fires(&self, alert: &str) -> Result<Option<bool>> {
        let url = format!("{}/api/v1/rules?type=alert", self.base);
        let answer = send(self.http.get(&url)).await?;
        let groups = answer.body["data"]["groups"].as_array().cloned();
        let groups = groups.with_context(|| format!("Prometheus answered {}", answer.body))?;
        let rule = groups
            .iter()
            .filter_map(|group| group["rules"].as_array())
            .flatten()
            .find(|rule| rule["name"] == alert)
            .with_context(|| format!("there is no alert {alert}"))?;
        let up = self.value("up").await?;
        let known = up == Some(1) && rule["health"] == "ok";
        Ok(known.then(|| rule["state"] == "firing"))
    }

    /// The first value of an expression.
    async fn value(&self, expression: &str) -> Result<Option<u64>> {
        let query = self.http.get(format!("{}/api/v1/query", self.base));
        let answer = send(query.query(&[("query", expression)])).await?;
        let value = &answer.body["data"]["result"][0]["value"][1];
        Ok(value.as_str().and_then(|value| value.parse().ok()))
    }
}

/// The groups of the system's PrometheusRule: a rule file, as it stands.
async fn alerts(system: &System) -> Result<Value> {
    let path = format!(
        "/apis/monitoring.coreos.com/v1/namespaces/{}/prometheusrules/{}-alerts",
        system.namespace, system.name
    );
    let rule = system.cluster.raw(&path).await?;
    Ok(json!({"groups": rule["spec"]["groups"]}))
}

fn configuration(system: &System, api_server: &str) -> Value {
    let service = format!("{}-reconciliation", system.name);
    let path = format!(
        "/api/v1/namespaces/{}/services/{service}:{}/proxy/actuator/prometheus",
        system.namespace,
        ports::RECONCILIATION_SERVICE_MANAGEMENT
    );
    json!({
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL, "scrape_timeout": INTERVAL},
        "rule_files": ["alerts.json"],
        "scrape_configs": [{
            "job_name": "reconciliation",
            "metrics_path": path,
            "static_configs": [{
                "targets": [api_server],
                // As a ServiceMonitor's targets are labelled.
                "labels": {"namespace": system.namespace, "pod": format!("{service}-0")},
            }],
        }],
    })
}

/// A way to the API server that needs no credentials, and its address.
async fn api_server_proxy(kubeconfig: &Path) -> Result<(Child, String)> {
    let kubectl = cluster_setting("KUBE_BIN").map_or_else(
        || "kubectl".to_owned(),
        |folder| format!("{folder}/kubectl"),
    );
    let mut command = bound(&kubectl);
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["proxy", "--port", "0"])
        .stdout(Stdio::piped());
    let mut child = spawn(command)?;
    let output = child.stdout.take().context("no output")?;
    let address = said(output, "Starting to serve on ").await;
    Ok((child, address.context("kubectl proxy did not start")?))
}

async fn server(files: &Path) -> Result<(Child, String)> {
    let mut command = bound(&program("prometheus")?);
    command
        .args(["--web.listen-address", "127.0.0.1:0"])
        .arg("--config.file")
        .arg(files.join("prometheus.json"))
        .arg("--storage.tsdb.path")
        .arg(files.join("data"))
        .stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let log = child.stderr.take().context("no log")?;
    let address = said(log, "msg=\"Listening on\"").await;
    let address = address.context("Prometheus did not start")?;
    let address = address.rsplit_once("address=").map(|(_, address)| address);
    let address = address.context("Prometheus did not say where it listens")?;
    Ok((child, address.to_owned()))
}

/// What stands behind `mark` on the first line that has it. The rest is read and thrown away, so
/// that whoever writes it never waits.
async fn said(
    output: impl AsyncRead + Unpin + Send + 'static,
    mark: &'static str,
) -> Result<String> {
    let mut lines = BufReader::new(output).lines();
    let find = async {
        let mut seen = String::new();
        while let Some(line) = lines.next_line().await? {
            if let Some((_, rest)) = line.split_once(mark) {
                return Ok(rest.trim().to_owned());
            }
            seen = line;
        }
        anyhow::bail!("it ended after: {seen}")
    };
    let found = tokio::time::timeout(STARTS_WITHIN, find).await;
    let found = found.context("it said nothing in time")??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(found)
}

/// A command that the kernel ends when the thread that starts it ends.
fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", program])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

fn spawn(mut command: Command) -> Result<Child> {
    command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))
}

/// A program of the folder that `e2e/cluster/test-servers.sh` made.
fn program(name: &str) -> Result<String> {
    let settings = read_settings(&local().join("servers.env")).unwrap_or_default();
    let folder = std::env::var("PROMETHEUS_BIN").ok();
    let folder = folder.or_else(|| settings.get("PROMETHEUS_BIN").cloned());
    let folder = folder.context("Prometheus is not built here: run e2e/cluster/test-servers.sh")?;
    Ok(format!("{folder}/{name}"))
}
