//! A real MySQL server from `MYSQL_ROOTFS`; its user `root` has no password.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlPool};

use super::process::{Process, START_WITHIN, bound, data_folder, free_port, until};

#[derive(Debug)]
pub(crate) struct Mysql {
    pub(crate) port: u16,
    _process: Process,
    _data: tempfile::TempDir,
}

impl Mysql {
    /// A server without any database of ours. Commits are not durable: a test kills its clients,
    /// not the server.
    pub(crate) async fn start() -> Self {
        let rootfs = super::folder("MYSQL_ROOTFS");
        let data = data_folder("mysql");
        let usr = rootfs.join("usr");
        let loader = usr.join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
        let arguments = [
            "--library-path".to_owned(),
            usr.join("lib/x86_64-linux-gnu").display().to_string(),
            usr.join("sbin/mysqld").display().to_string(),
            "--no-defaults".to_owned(),
            format!("--basedir={}", usr.display()),
            format!("--datadir={}", data.path().join("data").display()),
            format!("--lc-messages-dir={}", usr.join("share/mysql").display()),
            "--user=root".to_owned(),
            "--log-error-verbosity=1".to_owned(),
            "--secure-file-priv=".to_owned(),
        ];
        let mut initialize = Command::new(&loader);
        let done = initialize
            .args(&arguments)
            .arg("--initialize-insecure")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        let port = free_port();
        let mut server = bound(&loader);
        server
            .args(&arguments)
            .arg(format!("--socket={}", data.path().join("sock").display()))
            .args([
                &format!("--port={port}"),
                "--bind-address=127.0.0.1",
                "--mysqlx=OFF",
            ])
            .args(["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"])
            .args(["--innodb-buffer-pool-size=64M", "--max-connections=300"])
            .stdin(std::process::Stdio::null())
            .stderr(std::fs::File::create(data.path().join("log")).unwrap());
        let mysql = Self {
            port,
            _process: Process::start(server),
            _data: data,
        };
        until("MySQL to answer", START_WITHIN, async || {
            options(mysql.port, "").connect().await.ok()
        })
        .await;
        mysql
    }

    pub(crate) async fn connect(&self, database: &str) -> MySqlConnection {
        options(self.port, database).connect().await.unwrap()
    }

    pub(crate) fn pool(&self, database: &str, connections: u32) -> MySqlPool {
        pool(self.port, database, connections)
    }

    /// A new empty database; gives its name.
    pub(crate) async fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.run("", &format!("CREATE DATABASE {name}")).await;
        name
    }

    /// Runs statements, separated by semicolons.
    pub(crate) async fn run(&self, database: &str, sql: &str) {
        let mut connection = self.connect(database).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
    }

    /// The address under which Java's client knows a database: also its resource id in AT mode.
    pub(crate) fn jdbc_url(&self, database: &str) -> String {
        format!("jdbc:mysql://127.0.0.1:{}/{database}", self.port)
    }
}

fn options(port: u16, database: &str) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(port)
        .username("root")
        .disable_statement_logging();
    if database.is_empty() {
        options
    } else {
        options.database(database)
    }
}

/// Connections to a database of whichever process started the server, opened when they are needed.
pub(crate) fn pool(port: u16, database: &str, connections: u32) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(connections)
        .connect_lazy_with(options(port, database))
}
