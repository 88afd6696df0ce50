//! A real MySQL (from `MYSQL_ROOTFS`): started once on a free port, with its data in a temporary
//! directory, and dead when this process is.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use payment_runtime::store::Store;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

struct Server {
    port: u16,
    data: PathBuf,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a child that is killed when this process ends. The kernel ties that to the thread that
/// started it, so a thread is kept for it.
fn spawn_bound(mut command: Command) {
    let (started, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let child = command.stdin(Stdio::null()).spawn();
        started.send(child.map(drop)).unwrap();
        loop {
            std::thread::park();
        }
    });
    wait.recv()
        .unwrap()
        .expect("the server could not be started");
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let rootfs = PathBuf::from(std::env::var("MYSQL_ROOTFS").expect(
            "MYSQL_ROOTFS must name a root file system with MySQL; `make integration` sets it",
        ));
        let prefix = format!("payment-mysql-{}-", std::process::id());
        let data = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir()
            .unwrap()
            .keep();
        let usr = rootfs.join("usr");
        let loader = usr.join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
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
        let mut initialize = Command::new(&loader);
        mysqld(&mut initialize);
        let done = initialize.arg("--initialize-insecure").output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let port = free_port();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", loader.to_str().unwrap()]);
        mysqld(&mut command);
        command
            .arg(format!("--socket={}", data.join("sock").display()))
            .args([
                &format!("--port={port}"),
                "--bind-address=127.0.0.1",
                "--mysqlx=OFF",
            ])
            .args(["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"])
            .args(["--innodb-buffer-pool-size=64M", "--max-connections=300"])
            .stderr(std::fs::File::create(data.join("log")).unwrap());
        spawn_bound(command);
        Server { port, data }
    })
}

/// A store with a database of its own, its schema up to date.
pub(crate) async fn store(database: &str) -> Store {
    let server = server();
    let options = sqlx::mysql::MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port)
        .username("root");
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut connection = loop {
        match options.connect().await {
            Ok(connection) => break connection,
            Err(error) if Instant::now() > deadline => panic!("MySQL does not answer: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let sql = AssertSqlSafe(format!("CREATE DATABASE {database}"));
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    let password = server.data.join("empty");
    std::fs::write(&password, "").unwrap();
    let store = Store::new(&contract::config::Mysql {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        database: database.to_owned(),
        username: "root".to_owned(),
        password_file: password,
        // One: a transaction that was given up is rolled back before the next begins.
        max_connections: 1,
        tls: None,
    });
    let store = store.unwrap();
    store.migrate().await.unwrap();
    store
}
