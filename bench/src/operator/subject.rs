//! The operator under measurement: its release program as a process, seen from outside.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::cluster::{Cluster, until};
use crate::process::{self, Process};

/// A successor waits until the lease of a killed leader is over.
const READY_WITHIN: Duration = Duration::from_mins(2);

pub(super) struct Subject {
    process: Process,
    port: u16,
}

impl Subject {
    /// Starts the operator and waits until it is ready and leads.
    pub(super) async fn start(program: &Path, cluster: &Cluster) -> anyhow::Result<Self> {
        let port = process::free_port()?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(cluster.directory().join("operator.log"))?;
        let mut command = process::bound(program.to_str().context("a path that is no text")?);
        command
            .arg("run")
            .env("KUBECONFIG", cluster.kubeconfig()?)
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("RUNTIME_IMAGE", "registry.example/payment-runtime:1.0")
            .env("SIMULATOR_IMAGE", "registry.example/channel-simulator:1.0")
            .env("RUST_LOG", "warn")
            // As it is installed.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .stdout(log)
            .stderr(Stdio::inherit());
        let subject = Self {
            process: Process::start(command)?,
            port,
        };
        until("the operator to be ready", READY_WITHIN, async || {
            subject.get("/readyz").await.is_ok() && subject.leads().await
        })
        .await?;
        Ok(subject)
    }

    pub(super) fn rss_mb(&self) -> anyhow::Result<f64> {
        self.process.rss_mb()
    }

    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        self.process.cpu()
    }

    pub(super) fn kill(self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Passes that ended well since its start.
    pub(super) async fn passes(&self) -> anyhow::Result<f64> {
        let text = self.get("/metrics").await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("payment_operator_passes_total{result=\"done\"} "));
        Ok(line.map_or(Ok(0.0), str::parse)?)
    }

    /// Also true of one that knows no election.
    async fn leads(&self) -> bool {
        let metrics = self.get("/metrics").await.unwrap_or_default();
        !metrics.contains("\npayment_operator_leads 0\n")
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(
            answer.starts_with("HTTP/1.0 200"),
            "{path}: {}",
            answer.lines().next().unwrap_or_default()
        );
        Ok(answer)
    }
}
