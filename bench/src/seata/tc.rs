//! The coordinator: Seata 1.8.0 from `SEATA_1_8`, with its sessions in a file that nobody waits for,
//! so that it costs both clients alike and little.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{Process, bound, free_port};

const START_WITHIN: Duration = Duration::from_mins(1);

pub(super) struct Tc {
    port: u16,
    process: Process,
    _data: tempfile::TempDir,
}

impl Tc {
    pub(super) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let jars = std::env::var("SEATA_1_8")
            .context("SEATA_1_8 must name the coordinator's jars; make bench-seata sets it")?;
        let data = tempfile::Builder::new()
            .prefix("bench-seata-")
            .tempdir_in(directory.canonicalize()?)?;
        let (port, console) = (free_port()?, free_port()?);
        let file = data.path().join("application.yml");
        std::fs::write(&file, configuration(port, console, data.path()))?;
        let mut command = bound("java");
        command
            .args(["-Xms256m", "-Xmx512m", "-cp", &format!("{jars}/*")])
            .arg(format!("-Djava.io.tmpdir={}", data.path().display()))
            .arg(format!("-Dspring.config.location=file:{}", file.display()))
            .args(["io.seata.server.ServerApplication", "-h", "127.0.0.2"])
            .args(["-p", &port.to_string(), "-n", "1"])
            .current_dir(data.path())
            .stdout(std::fs::File::create(data.path().join("out.log"))?)
            .stderr(std::fs::File::create(data.path().join("error.log"))?);
        let mut tc = Self {
            port,
            process: Process::start(command)?,
            _data: data,
        };
        tc.ready(console).await?;
        Ok(tc)
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn ready(&mut self, console: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        while !is_healthy(console).await.unwrap_or(false) {
            ensure!(self.process.is_running()?, "the coordinator has ended");
            ensure!(Instant::now() < deadline, "the coordinator does not start");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

async fn is_healthy(console: u16) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", console)).await?;
    let request = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    // The other answer is "not_ok".
    Ok(answer.ends_with("\r\n\r\nok"))
}

fn configuration(port: u16, console: u16, data: &Path) -> String {
    format!(
        "server: {{port: {console}}}
spring: {{application: {{name: seata-server}}}}
logging: {{level: {{root: WARN, io.seata: WARN}}, file: {{path: '{data}/logs'}}}}
console: {{user: {{username: bench, password: bench}}}}
seata:
  config: {{type: file}}
  registry: {{type: file}}
  server: {{service-port: {port}}}
  store:
    mode: file
    session: {{mode: file}}
    lock: {{mode: file}}
    file: {{dir: '{data}/sessions', flush-disk-mode: async}}
  metrics: {{enabled: false}}
  security:
    secretKey: only-for-a-benchmark-0123456789012345678901234567890123456789
    tokenValidityInMilliseconds: 1800000
    ignore: {{urls: '/health'}}
",
        data = data.display()
    )
}
