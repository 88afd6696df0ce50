//! A real MySQL server from `MYSQL_ROOTFS`, or MariaDB if `MARIADB_ROOTFS` names one; its user
//! `root` has no password.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlPool, Row as _, ValueRef as _, raw_sql};

use super::mariadb;
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
        Self::start_with(&[]).await
    }

    /// The same with more options for the server.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let data = data_folder("mysql");
        let port = free_port();
        let mut server = match std::env::var_os("MARIADB_ROOTFS") {
            Some(rootfs) => mariadb::prepare(&PathBuf::from(rootfs).join("usr"), data.path()),
            None => prepare(&super::folder("MYSQL_ROOTFS").join("usr"), data.path()),
        };
        server
            .arg(format!("--socket={}", data.path().join("sock").display()))
            .arg(format!("--port={port}"))
            .args(["--bind-address=127.0.0.1", "--skip-log-bin"])
            .args([
                "--innodb-flush-log-at-trx-commit=0",
                "--max-connections=1000",
            ])
            .arg("--innodb-buffer-pool-size=64M")
            .args(options)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(data.path().join("log")).unwrap());
        let mysql = Self {
            port,
            _process: Process::start(server),
            _data: data,
        };
        until("MySQL to answer", START_WITHIN, async || {
            options_for(mysql.port, "").connect().await.ok()
        })
        .await;
        mysql
    }

    pub(crate) fn options(&self, database: &str) -> MySqlConnectOptions {
        options_for(self.port, database)
    }

    pub(crate) async fn connect(&self, database: &str) -> MySqlConnection {
        self.options(database).connect().await.unwrap()
    }

    pub(crate) fn pool(&self, database: &str, connections: u32) -> MySqlPool {
        pool(self.port, database, connections)
    }

    /// A new empty database; gives its name.
    pub(crate) async fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        self.run("", &create).await;
        name
    }

    /// Runs statements, separated by semicolons.
    pub(crate) async fn run(&self, database: &str, sql: &str) {
        let mut connection = self.connect(database).await;
        raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
    }

    /// The address under which Java's client knows a database: also its resource id in AT mode.
    pub(crate) fn jdbc_url(&self, database: &str) -> String {
        format!("jdbc:mysql://127.0.0.1:{}/{database}", self.port)
    }
}

/// A new MySQL's data, and the command that serves it.
fn prepare(usr: &Path, data: &Path) -> Command {
    let lib = usr.join("lib/x86_64-linux-gnu");
    let loader = lib.join("ld-linux-x86-64.so.2");
    let arguments = [
        "--library-path".to_owned(),
        lib.display().to_string(),
        usr.join("sbin/mysqld").display().to_string(),
        "--no-defaults".to_owned(),
        format!("--basedir={}", usr.display()),
        format!("--datadir={}", data.join("data").display()),
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
    let mut server = bound(&loader);
    server.args(&arguments).arg("--mysqlx=OFF");
    server
}

fn options_for(port: u16, database: &str) -> MySqlConnectOptions {
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
        .connect_lazy_with(options_for(port, database))
}

/// Everything in a table: the server's checksum, and every value's bytes.
pub(crate) async fn contents(pool: &MySqlPool, table: &str) -> Vec<String> {
    let checksum = format!("CHECKSUM TABLE {table} EXTENDED");
    let rows = format!("SELECT * FROM {table} ORDER BY 1");
    let mut contents = Vec::new();
    for sql in [checksum, rows] {
        let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
        contents.extend(rows.iter().map(text));
    }
    contents
}

fn text(row: &sqlx::mysql::MySqlRow) -> String {
    let value = |at: usize| {
        let value = row.try_get_raw(at).unwrap();
        if value.is_null() {
            return "NULL".to_owned();
        }
        let bytes = <&[u8] as sqlx::Decode<'_, sqlx::MySql>>::decode(value);
        bytes.unwrap().escape_ascii().to_string()
    };
    let values: Vec<String> = (0..row.len()).map(value).collect();
    values.join(" | ")
}
