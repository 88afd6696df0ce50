//! What is measured: the runtime under load with a channel that answers at once, and the real
//! binary with the channel simulator.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::mysql::Mysql;
use crate::process::{Process, bound, free_port};

pub(crate) struct Redis {
    port: u16,
    _process: Process,
}

impl Redis {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut server = bound("redis-server");
        server
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null());
        let process = Process::start(server)?;
        until_listening(port).await?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}

/// How a runtime under measurement is put together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) batching: bool,
    pub(crate) channel_milliseconds: u64,
}

/// A runtime that serves, in a process of its own.
pub(crate) struct Runtime {
    pub(crate) port: u16,
    management: u16,
    pub(crate) process: Process,
}

/// Files and servers that every runtime here uses.
pub(crate) struct Scene {
    pub(crate) mysql: Mysql,
    redis: Redis,
    files: tempfile::TempDir,
    log_level: String,
}

impl Scene {
    /// Servers with their data under `directory`.
    pub(crate) async fn new(directory: &Path, options: &[String]) -> anyhow::Result<Self> {
        let mysql = Mysql::start(directory, options).await?;
        mysql.create_database("payment").await?;
        let files = tempfile::tempdir()?;
        std::fs::write(files.path().join("password"), "")?;
        Ok(Self {
            mysql,
            redis: Redis::start().await?,
            files,
            log_level: std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()),
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// As many database connections as merchants: B has no more.
    fn config(&self, http: u16, management: u16, channels: &str) -> String {
        format!(
            "
system: bench/bench
listen: {{http: '127.0.0.1:{http}', management: '127.0.0.1:{management}'}}
mysql: {{host: 127.0.0.1, port: {mysql}, username: root, passwordFile: {password}, maxConnections: 64}}
redis: {{host: 127.0.0.1, port: {redis}}}
payment: {{batching: true}}
channels: {channels}
",
            mysql = self.mysql.port,
            redis = self.redis.port,
            password = self.file("password").display(),
        )
    }

    /// The runtime with a channel that takes as long as it is told.
    pub(crate) async fn runtime(&self, name: &str, setting: Setting) -> anyhow::Result<Runtime> {
        let (port, management) = (free_port()?, free_port()?);
        let channels =
            "{callbackBaseUrl: 'http://127.0.0.1', wechat: {baseUrl: 'http://127.0.0.1'}}";
        let config = self.file(&format!("{name}.yaml"));
        std::fs::write(&config, self.config(port, management, channels))?;
        let program = std::env::current_exe()?;
        let mut command = bound(program.to_str().context("the program's path is not text")?);
        command
            .args(["serve", "--config"])
            .arg(&config)
            .arg("--channel-milliseconds")
            .arg(setting.channel_milliseconds.to_string())
            .args(setting.batching.then_some("--batching"))
            // Written as in a pod, and thrown away by whoever collects them.
            .env("RUST_LOG", format!("{},sqlx::query=warn", self.log_level))
            .stdout(Stdio::null());
        let process = Process::start(command)?;
        until_listening(port).await?;
        Ok(Runtime {
            port,
            management,
            process,
        })
    }

    /// The real binary in role `all`, with the real channels talking to the simulator.
    pub(crate) async fn real(&self) -> anyhow::Result<(Runtime, Process)> {
        let (listen, admin) = (free_port()?, free_port()?);
        let keys = self.file("keys");
        std::fs::create_dir_all(&keys)?;
        let config = self.file("simulator.yaml");
        std::fs::write(
            &config,
            format!("{{listen: '127.0.0.1:{listen}', adminListen: '127.0.0.1:{admin}'}}"),
        )?;
        let mut command = beside_this_program("channel-simulator")?;
        command.arg("--config").arg(&config).stdout(Stdio::null());
        let simulator = Process::start(command)?;
        until_listening(admin).await?;
        write_keys(admin, &keys).await?;
        let (port, management) = (free_port()?, free_port()?);
        let channels = format!(
            "{{callbackBaseUrl: 'http://127.0.0.1:{port}', credentialsDirectory: {keys}, \
             wechat: {{baseUrl: 'http://127.0.0.1:{listen}'}}, \
             alipay: {{gatewayUrl: 'http://127.0.0.1:{listen}/gateway.do'}}}}",
            keys = keys.display()
        );
        let config = self.file("real.yaml");
        std::fs::write(&config, self.config(port, management, &channels))?;
        let mut command = beside_this_program("payment-runtime")?;
        command.args(["all", "--config"]).arg(&config);
        let process = Process::start({
            command.stdout(Stdio::null());
            command
        })?;
        until_listening(port).await?;
        let runtime = Runtime {
            port,
            management,
            process,
        };
        Ok((runtime, simulator))
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.file("keys")
    }
}

/// The workspace's other programs are built into the same directory.
fn beside_this_program(name: &str) -> anyhow::Result<Command> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure!(
        program.exists(),
        "{} is not built; make bench builds it",
        program.display()
    );
    Ok(bound(program.to_str().context("a path is not text")?))
}

/// The client's keys, as the simulator hands them out, one file each.
async fn write_keys(admin: u16, directory: &Path) -> anyhow::Result<()> {
    let answer = get(admin, "/keys").await?;
    let keys: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(&answer)
        .with_context(|| format!("the simulator's keys cannot be read: {answer}"))?;
    for (name, value) in keys {
        if let Some(value) = value.as_str() {
            std::fs::write(directory.join(name), value)?;
        }
    }
    Ok(())
}

impl Runtime {
    /// Forgets and returns how long its records took since the last time.
    pub(crate) async fn timings(&self) -> anyhow::Result<String> {
        get(self.management, "/timings").await
    }
}

async fn until_listening(port: u16) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if Instant::now() > deadline {
            bail!("nothing listens on port {port}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The body of a small page.
async fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    Ok(body.to_owned())
}
