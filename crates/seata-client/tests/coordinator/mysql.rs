//! A real MySQL server from `MYSQL_ROOTFS`; its user `root` has no password.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};

use crate::support::{data_folder, free_port, spawn};

pub(crate) struct Mysql {
    port: u16,
    server: Child,
    _data: tempfile::TempDir,
}

impl Mysql {
    pub(crate) fn start() -> Self {
        let Some(rootfs) = std::env::var_os("MYSQL_ROOTFS") else {
            panic!("MYSQL_ROOTFS is not set: it names a folder with a MySQL server's files")
        };
        let data = data_folder();
        let usr = std::path::PathBuf::from(rootfs).join("usr");
        let libraries = usr.join("lib/x86_64-linux-gnu");
        let loader = libraries.join("ld-linux-x86-64.so.2");
        let arguments = [
            "--library-path".to_owned(),
            libraries.display().to_string(),
            usr.join("sbin/mysqld").display().to_string(),
            "--no-defaults".to_owned(),
            format!("--basedir={}", usr.display()),
            format!("--datadir={}", data.path().join("data").display()),
            format!("--lc-messages-dir={}", usr.join("share/mysql").display()),
            "--user=root".to_owned(),
            "--secure-file-priv=".to_owned(),
        ];
        let mut initialize = Command::new(&loader);
        let done = initialize.args(&arguments).arg("--initialize-insecure");
        let done = done.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        let port = free_port();
        let mut server = Command::new("setpriv");
        server
            .args(["--pdeathsig", "KILL"])
            .arg(&loader)
            .args(&arguments)
            .arg(format!("--socket={}", data.path().join("sock").display()))
            .arg(format!("--port={port}"))
            .args(["--bind-address=127.0.0.1", "--mysqlx=OFF"])
            .args(["--skip-log-bin", "--innodb-buffer-pool-size=64M"])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        Self {
            port,
            server: spawn(server),
            _data: data,
        }
    }

    /// A pool on a new database of that name.
    pub(crate) async fn database(&self, name: &str) -> MySqlPool {
        let options = MySqlConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("root");
        let deadline = Instant::now() + Duration::from_mins(2);
        let server = loop {
            match MySqlPool::connect_with(options.clone()).await {
                Ok(pool) => break pool,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&server).await.unwrap();
        server.close().await;
        MySqlPoolOptions::new()
            .max_connections(4)
            .connect_with(options.database(name))
            .await
            .unwrap()
    }
}

impl Drop for Mysql {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
