//! A real transaction coordinator (`SEATA_1_8`, `SEATA_2_0`).
//!
//! Rolling back in the right order needs 1.8.0: 2.0.0 rolls branches back in the order of their
//! registration. `SEATA_LOG=INFO` makes it log every request.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::database::Mysql;
use super::process::{Process, START_WITHIN, bound, data_folder, free_port};

/// What the coordinator creates nothing of by itself.
const TABLES: &str = include_str!("tc.sql");
/// How a coordinator names itself in xids: 127.0.0.1 is refused as an address for others.
const HOST: &str = "127.0.0.2";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1_8,
    V2_0,
}

impl Version {
    pub(crate) const ALL: [Self; 2] = [Self::V1_8, Self::V2_0];

    fn variable(self) -> &'static str {
        match self {
            Self::V1_8 => "SEATA_1_8",
            Self::V2_0 => "SEATA_2_0",
        }
    }
}

/// Where a coordinator keeps its sessions. Both survive its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store<'a> {
    File,
    /// In a database of its own on this server.
    Db(&'a Mysql),
}

#[derive(Debug)]
pub(crate) struct Tc {
    version: Version,
    port: u16,
    console: u16,
    metrics: u16,
    /// `None` while it is killed or stopped.
    process: Option<Process>,
    folder: tempfile::TempDir,
    database: Option<String>,
}

impl Tc {
    /// Starts one and waits until it takes requests.
    pub(crate) async fn start(version: Version, store: Store<'_>) -> Self {
        let folder = data_folder("tc");
        let (port, console, metrics) = (free_port(), free_port(), free_port());
        let (store, database) = match store {
            Store::File => (file_store(folder.path()), None),
            Store::Db(mysql) => {
                let database = mysql.database().await;
                mysql.run(&database, TABLES).await;
                (db_store(mysql, &database), Some(database))
            }
        };
        let configuration = configuration([port, console, metrics], folder.path(), &store);
        std::fs::write(folder.path().join("application.yml"), configuration).unwrap();
        let mut tc = Self {
            version,
            port,
            console,
            metrics,
            process: None,
            folder,
            database,
        };
        tc.start_again().await;
        tc
    }

    /// `host:port` for clients.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The database that it keeps its sessions and locks in, if it does.
    pub(crate) fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Ends it as Kubernetes does (SIGTERM) and waits until it has: 3 to 10 seconds.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop().await;
        }
    }

    /// The same coordinator on the same port with the same data, after [`Tc::kill`] or
    /// [`Tc::stop`].
    pub(crate) async fn start_again(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// As [`Tc::start_again`], but does not wait for it to be ready.
    pub(crate) fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.process = Some(Process::start(self.command()));
    }

    /// It stands still where it is: connections stay open and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.running().signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.running().signal("-CONT");
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("it does not run")
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out.log")).unwrap()
    }

    /// What it tells Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        let answer = get(self.metrics, "/metrics").await;
        answer.expect("the coordinator tells no metrics")
    }

    pub(crate) async fn ready(&mut self) {
        let console = self.console;
        let deadline = std::time::Instant::now() + START_WITHIN;
        while healthy(console).await.is_none() {
            let lives = self.process.as_mut().is_some_and(Process::is_running);
            let in_time = std::time::Instant::now() < deadline;
            assert!(
                lives && in_time,
                "the coordinator does not start:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn command(&self) -> Command {
        let folder = self.folder.path();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("out.log"))
            .unwrap();
        let mut command = bound(Path::new("java"));
        // One compiler tier and one collector: it starts in half the time on two cores.
        command
            .args(["-Xms64m", "-Xmx256m", "-XX:MaxDirectMemorySize=64m"])
            .args([
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Xshare:auto",
            ])
            // Tomcat's folders outlive a killed coordinator.
            .arg(format!("-Djava.io.tmpdir={}", folder.display()))
            .arg("-cp")
            .arg(format!(
                "{}/*",
                super::folder(self.version.variable()).display()
            ))
            // Its own arguments go to another parser: what is Spring's must be a property.
            .arg(format!(
                "-Dspring.config.location=file:{}/application.yml",
                folder.display()
            ))
            .args(["io.seata.server.ServerApplication", "-h", HOST])
            .args(["-p", &self.port.to_string(), "-n", "1"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }
}

/// Whether the console says that the coordinator is up; its port for requests is open by then.
async fn healthy(console: u16) -> Option<()> {
    let answer = get(console, "/health").await?;
    // The other answer is "not_ok".
    answer.ends_with("\r\n\r\nok").then_some(())
}

/// The whole answer, head and body.
async fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let within = Duration::from_secs(5);
    tokio::time::timeout(within, read).await.ok()?.ok()?;
    Some(answer)
}

fn file_store(folder: &Path) -> String {
    let folder = folder.join("sessions");
    format!(
        "mode: file
    session: {{mode: file}}
    lock: {{mode: file}}
    file: {{dir: '{}', flush-disk-mode: async}}",
        folder.display()
    )
}

fn db_store(mysql: &Mysql, database: &str) -> String {
    format!(
        "mode: db
    session: {{mode: db}}
    lock: {{mode: db}}
    db:
      datasource: hikari
      db-type: mysql
      driver-class-name: com.mysql.cj.jdbc.Driver
      url: '{}?rewriteBatchedStatements=true&useSSL=false&allowPublicKeyRetrieval=true'
      user: root
      password: ''
      min-conn: 2
      max-conn: 20
      global-table: global_table
      branch-table: branch_table
      lock-table: lock_table
      distributed-lock-table: distributed_lock",
        mysql.jdbc_url(database)
    )
}

fn configuration(ports: [u16; 3], folder: &Path, store: &str) -> String {
    let [port, console, metrics] = ports;
    let level = std::env::var("SEATA_LOG").unwrap_or_else(|_| "WARN".to_owned());
    let logs = folder.join("logs");
    format!(
        "server: {{port: {console}}}
spring: {{application: {{name: seata-server}}}}
logging: {{level: {{root: {level}, io.seata: {level}}}, file: {{path: '{logs}'}}}}
console: {{user: {{username: test, password: test}}}}
seata:
  config: {{type: file}}
  registry: {{type: file}}
  # After so long it takes up what its own end interrupted; 130 s by default.
  server: {{service-port: {port}, retry-dead-threshold: 10000}}
  store:
    {store}
  metrics: {{enabled: true, registry-type: compact, exporter-list: prometheus, exporter-prometheus-port: {metrics}}}
  security:
    secretKey: only-for-tests-0123456789012345678901234567890123456789
    tokenValidityInMilliseconds: 1800000
    ignore: {{urls: '/health'}}
",
        logs = logs.display()
    )
}
