//! A real MySQL for the tests, from `MYSQL_ROOTFS`.
//!
//! It is started once per test program on a free port, with its data in a temporary directory; it
//! dies with this process, also when that is killed. Each test gets a database of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, MySqlPool};

const DATA_PREFIX: &str = "seata-at-mysql-";

/// A port that nobody listens on, below the range that outgoing connections get theirs from.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = std::process::id() * 67 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(11_000 + n % 19_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a child that is killed when this process ends. The kernel ties that to the thread that
/// started it, so a thread is kept for it.
pub(crate) fn spawn_bound(mut command: Command) {
    let (started, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let child: std::io::Result<Child> = command.stdin(Stdio::null()).spawn();
        started
            .send(child.as_ref().map(Child::id).map_err(ToString::to_string))
            .unwrap();
        loop {
            std::thread::park();
        }
    });
    wait.recv()
        .unwrap()
        .expect("the server could not be started");
}

fn remove_what_dead_runs_left() {
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let process = name
            .strip_prefix(DATA_PREFIX)
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| !PathBuf::from(format!("/proc/{id}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The port of the server.
pub(crate) fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(start)
}

fn start() -> u16 {
    let rootfs = std::env::var("MYSQL_ROOTFS")
        .expect("MYSQL_ROOTFS must name a root file system with MySQL; `make integration` sets it");
    let usr = PathBuf::from(rootfs).join("usr");
    remove_what_dead_runs_left();
    let prefix = format!("{DATA_PREFIX}{}-", std::process::id());
    let data = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir()
        .unwrap()
        .keep();
    let mysqld = |command: &mut Command| {
        command
            .arg("--library-path")
            .arg(usr.join("lib/x86_64-linux-gnu"))
            .arg(usr.join("sbin/mysqld"))
            .arg("--no-defaults")
            .arg(format!("--basedir={}", usr.display()))
            .arg(format!("--datadir={}", data.join("data").display()))
            .arg(format!(
                "--lc-messages-dir={}",
                usr.join("share/mysql").display()
            ))
            .args([
                "--user=root",
                "--log-error-verbosity=1",
                "--secure-file-priv=",
            ]);
    };
    let loader = usr.join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
    let mut initialize = Command::new(&loader);
    mysqld(&mut initialize);
    let done = initialize.arg("--initialize-insecure").output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let port = free_port();
    let mut server = Command::new("setpriv");
    server.args(["--pdeathsig", "KILL", loader.to_str().unwrap()]);
    mysqld(&mut server);
    server
        .arg(format!("--socket={}", data.join("sock").display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--mysqlx=OFF", "--skip-log-bin"])
        .args([
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
        ])
        // Small, so that large undo logs are split.
        .args(["--max-connections=300", "--max-allowed-packet=1M"])
        .stderr(std::fs::File::create(data.join("log")).unwrap());
    spawn_bound(server);
    port
}

fn options() -> MySqlConnectOptions {
    MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(port())
        .username("root")
        .disable_statement_logging()
}

/// A new database; its name.
pub(crate) async fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut connection = loop {
        match options().connect().await {
            Ok(connection) => break connection,
            Err(error) => assert!(Instant::now() < deadline, "MySQL does not answer: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let create = format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4");
    connection.execute(AssertSqlSafe(create)).await.unwrap();
    connection.close().await.unwrap();
    name
}

/// Connections to a database, in that zone.
pub(crate) fn pool(database: &str, connections: u32, zone: &str) -> MySqlPool {
    let options = options().database(database).timezone(Some(zone.to_owned()));
    MySqlPoolOptions::new()
        .max_connections(connections)
        .connect_lazy_with(options)
}
