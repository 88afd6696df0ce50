//! A real MySQL for the tests, from `MYSQL_ROOTFS`; or MariaDB, if `MARIADB_ROOTFS` names a root
//! file system with it (the unpacked packages mariadb-server-core, libaio1, libnuma1, liburing2).
//!
//! It is started once per test program on a free port, with its data in a temporary directory; it
//! dies with this process, also when that is killed. Each test gets a database of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
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
    remove_what_dead_runs_left();
    let prefix = format!("{DATA_PREFIX}{}-", std::process::id());
    let data = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir()
        .unwrap()
        .keep();
    let port = free_port();
    let mut server = match std::env::var("MARIADB_ROOTFS") {
        Ok(rootfs) => mariadb(&PathBuf::from(rootfs).join("usr"), &data),
        Err(_) => mysql(&data),
    };
    server
        .arg(format!("--socket={}", data.join("sock").display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-log-bin"])
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

/// A program that dies with this one.
fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

fn mysql(data: &Path) -> Command {
    let rootfs = std::env::var("MYSQL_ROOTFS")
        .expect("MYSQL_ROOTFS must name a root file system with MySQL; `make integration` sets it");
    let usr = PathBuf::from(rootfs).join("usr");
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
    let mut server = bound(&loader);
    mysqld(&mut server);
    server.arg("--mysqlx=OFF");
    server
}

fn mariadb(usr: &Path, data: &Path) -> Command {
    let share = usr.join("share/mysql");
    let directory = data.join("data");
    std::fs::create_dir(&directory).unwrap();
    let mariadbd = |command: &mut Command| {
        command
            .env("LD_LIBRARY_PATH", usr.join("lib/x86_64-linux-gnu"))
            .arg("--no-defaults")
            .arg(format!("--basedir={}", usr.display()))
            .arg(format!("--datadir={}", directory.display()))
            .arg(format!("--lc-messages-dir={}", share.display()))
            .args(["--user=root", "--log-warnings=0"]);
    };
    let mut sql = "CREATE DATABASE mysql;\nUSE mysql;\n".to_owned();
    for file in ["mysql_system_tables.sql", "mysql_system_tables_data.sql"] {
        sql += &std::fs::read_to_string(share.join(file)).unwrap();
    }
    let script = data.join("system.sql");
    std::fs::write(&script, sql).unwrap();
    let program = usr.join("sbin/mariadbd");
    let mut initialize = Command::new(&program);
    mariadbd(&mut initialize);
    let input = std::fs::File::open(script).unwrap();
    let done = initialize.arg("--bootstrap").stdin(input).output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let mut server = bound(&program);
    mariadbd(&mut server);
    server
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

/// Connections to a database, in that zone, after that statement.
pub(crate) fn pool(database: &str, connections: u32, zone: &str, setup: &'static str) -> MySqlPool {
    let options = options().database(database).timezone(Some(zone.to_owned()));
    MySqlPoolOptions::new()
        .max_connections(connections)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(setup).await.map(|_| ()) })
        })
        .connect_lazy_with(options)
}
