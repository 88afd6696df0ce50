//! Verified TLS to the database and the cache, which start as the operator starts them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use contract::config;
use payment_runtime::cache::Cache;
use payment_runtime::ports::{OrderCache as _, Records as _, Seen};
use payment_runtime::store::Store;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

use crate::authority::{Authority, Issued, Mounted};
use crate::support::{bound, data_directory, free_port, mysqld, spawn_bound};

const TLS_SQL: &str = include_str!("../../../operator/src/build/mysql_tls.sql");

/// A server of its own, with a certificate for some names.
struct Encrypted {
    port: u16,
    mounted: Mounted,
    /// The next run removes it, once the server is gone.
    directory: PathBuf,
}

impl Encrypted {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The authorities of a client.
    fn trusting(&self, authority: &Authority) -> config::Tls {
        let ca_file = self.file(&format!("{}.crt", Uuid::new_v4()));
        std::fs::write(&ca_file, authority.pem()).unwrap();
        config::Tls { ca_file }
    }

    async fn mysql(issued: &Issued) -> Self {
        let mounted = Mounted::new(issued);
        let directory = data_directory();
        let init = directory.join("init.sql");
        // The operator's own statements, more often.
        std::fs::write(&init, TLS_SQL.replace("1 HOUR", "1 SECOND")).unwrap();
        let certificate = |option: &str, file: &str| {
            format!("--{option}={}", mounted.path().join(file).display())
        };
        let port = free_port();
        let options = [
            format!("--port={port}"),
            format!("--init-file={}", init.display()),
            "--require-secure-transport=ON".to_owned(),
            certificate("ssl-ca", "ca.crt"),
            certificate("ssl-cert", "tls.crt"),
            certificate("ssl-key", "tls.key"),
        ];
        mysqld(&directory, &options);
        let server = Self {
            port,
            mounted,
            directory,
        };
        server.until_it_answers().await;
        server
    }

    async fn until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while let Err(error) = self.shown().await {
            assert!(Instant::now() < deadline, "MySQL does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Until when the certificate is valid that new connections see.
    async fn shown(&self) -> sqlx::Result<String> {
        let mut connection = self.connect(MySqlSslMode::Required).await?;
        let shown: (String, String) = sqlx::query_as("SHOW STATUS LIKE 'Ssl_server_not_after'")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(shown.1)
    }

    async fn connect(&self, mode: MySqlSslMode) -> sqlx::Result<MySqlConnection> {
        MySqlConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("root")
            .ssl_mode(mode)
            .connect()
            .await
    }

    fn database(&self, host: &str, tls: Option<config::Tls>) -> config::Mysql {
        let password_file = self.file("empty");
        std::fs::write(&password_file, "").unwrap();
        config::Mysql {
            host: host.to_owned(),
            port: self.port,
            database: "mysql".to_owned(),
            username: "root".to_owned(),
            password_file,
            max_connections: 2,
            tls,
        }
    }
}

/// What a look at the database says, with all causes.
async fn ping(config: &config::Mysql) -> Result<(), String> {
    let store = Store::new(config).map_err(|error| format!("{error:#}"))?;
    let answer = store.ping().await;
    store.close().await;
    answer.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
}

#[tokio::test]
async fn a_database_is_believed_under_its_name_by_its_authority_alone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Encrypted::mysql(&authority.issue(&["localhost"], 2040)).await;
    let trusted = || Some(server.trusting(&authority));
    assert_eq!(ping(&server.database("localhost", trusted())).await, Ok(()));
    let refused = |host, tls| {
        let config = server.database(host, tls);
        async move { ping(&config).await.unwrap_err() }
    };
    let stranger = refused("localhost", Some(server.trusting(&other))).await;
    assert!(stranger.contains("UnknownIssuer"), "{stranger}");
    let misnamed = refused("127.0.0.1", trusted()).await;
    assert!(misnamed.contains("not valid for name"), "{misnamed}");
    assert!(misnamed.contains("127.0.0.1"), "{misnamed}");
    let plain = server.connect(MySqlSslMode::Disabled).await.unwrap_err();
    assert!(plain.to_string().contains("insecure transport"), "{plain}");
}

#[tokio::test]
async fn a_database_shows_a_renewed_certificate_without_a_restart() {
    let authority = Authority::new();
    let mut server = Encrypted::mysql(&authority.issue(&["localhost"], 2040)).await;
    let mut before = server.connect(MySqlSslMode::Required).await.unwrap();
    assert!(server.shown().await.unwrap().contains("2040"));
    server.mounted.renew(&authority.issue(&["localhost"], 2041));
    let deadline = Instant::now() + Duration::from_mins(1);
    while !server.shown().await.unwrap().contains("2041") {
        assert!(Instant::now() < deadline, "the certificate stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    before.ping().await.unwrap();
}

#[tokio::test]
async fn authorities_that_cannot_be_used_are_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    };
    let password_file = file("empty", "");
    let with = |ca_file: &Path| config::Mysql {
        host: "localhost".to_owned(),
        port: 1,
        database: "payment".to_owned(),
        username: "payment".to_owned(),
        password_file: password_file.clone(),
        max_connections: 1,
        tls: Some(config::Tls {
            ca_file: ca_file.to_owned(),
        }),
    };
    let missing = ping(&with(Path::new("/nowhere/ca.crt"))).await.unwrap_err();
    let expected = "mysql.tls cannot be used: cannot read the authorities in /nowhere/ca.crt";
    assert!(missing.starts_with(expected), "{missing}");
    let nonsense = file("nonsense", "no certificate");
    let nonsense = ping(&with(&nonsense)).await.unwrap_err();
    assert!(
        nonsense.contains("nonsense is not a list of certificates"),
        "{nonsense}"
    );
}

/// A cache that speaks TLS and nothing else, with the operator's options.
fn redis(issued: &Issued) -> Encrypted {
    let mounted = Mounted::new(issued);
    let directory = data_directory();
    let port = free_port();
    let mut server = bound("redis-server");
    server
        .args(["--port", "0", "--bind", "127.0.0.1", "--save", ""])
        .args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
        .arg("--tls-cert-file")
        .arg(mounted.path().join("tls.crt"))
        .arg("--tls-key-file")
        .arg(mounted.path().join("tls.key"))
        .stdout(Stdio::null());
    spawn_bound(server);
    Encrypted {
        port,
        mounted,
        directory,
    }
}

fn cache(server: &Encrypted, host: &str, tls: Option<config::Tls>) -> Cache {
    let config = config::Redis {
        host: host.to_owned(),
        port: server.port,
        password_file: None,
        timeout_milliseconds: 2_000,
        tls,
    };
    Cache::new(&config, 300).unwrap()
}

#[tokio::test]
async fn a_cache_is_believed_under_its_name_by_its_authority_alone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = redis(&authority.issue(&["localhost"], 2040));
    let trusted = || Some(server.trusting(&authority));
    let verified = cache(&server, "localhost", trusted());
    let deadline = Instant::now() + Duration::from_mins(1);
    while !verified.ping().await {
        assert!(Instant::now() < deadline, "Redis does not answer");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(verified.remember("O-1").await, Seen::First);
    assert_eq!(verified.remember("O-1").await, Seen::Before);
    let stranger = cache(&server, "localhost", Some(server.trusting(&other)));
    assert!(!stranger.ping().await);
    assert!(!cache(&server, "127.0.0.1", trusted()).ping().await);
    assert!(!cache(&server, "localhost", None).ping().await);
}
