//! Passwords with two phases, on a real MySQL and a real Redis, which start as the operator
//! starts them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use contract::RuntimeConfig;
use futures::future::join_all;
use payment_runtime::rotate::{self, Phase};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{connect_to, free_port, mysql_port, new_database};

const INIT_SQL: &str = include_str!("../../../operator/src/build/mysql_init.sql");
const ORDERS_SQL: &str = include_str!("../../../operator/src/build/mysql_orders.sql");
const REDIS_START: &str = include_str!("../../../operator/src/build/redis_start.sh");

/// Files as the Job sees them.
fn passwords(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, password) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{password}\n")).unwrap();
    }
    directory
}

fn config(user: &str, orders: &str, redis_port: u16) -> RuntimeConfig {
    let mysql = mysql_port();
    let yaml = format!(
        "
system: test/test
mysql: {{host: 127.0.0.1, port: {mysql}, username: {user}, passwordFile: /nowhere}}
redis: {{host: 127.0.0.1, port: {redis_port}, passwordFile: /nowhere}}
orders:
  mysql: {{host: 127.0.0.1, port: {mysql}, database: orders, username: {orders}, passwordFile: /nowhere}}
  stockBuckets: 1
transactionCoordinator: {{host: 127.0.0.1, port: 1, transactionGroup: group}}
channels:
  callbackBaseUrl: http://127.0.0.1:1
  credentialsDirectory: /nowhere
  alipay: {{gatewayUrl: 'http://127.0.0.1:1/gateway.do'}}
"
    );
    RuntimeConfig::parse(&yaml).unwrap()
}

/// What the server runs at each start about a user, for another one of that kind.
async fn start(sql: &str, user: (&str, &str), variable: &str, password: &str, beside: &str) {
    // Waits for the server as well.
    new_database().await;
    let (kind, name) = user;
    let mut root = connect_to("mysql").await;
    let about = format!("'{kind}'@'%'");
    let lines: Vec<&str> = sql.lines().filter(|line| line.contains(&about)).collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in lines {
        let line = line
            .replace(&about, &format!("'{name}'@'%'"))
            .replace(&format!("${{{variable}_BESIDE}}"), beside)
            .replace(&format!("${{{variable}}}"), password);
        execute(&mut root, line).await;
    }
}

async fn execute(connection: &mut MySqlConnection, sql: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.map(drop).unwrap();
}

async fn lets_in(user: &str, password: &str) -> bool {
    let options = MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(mysql_port())
        .username(user)
        .password(password);
    options.connect().await.is_ok()
}

/// Which of the passwords let a user in.
async fn accepted<'a>(user: &str, passwords: &[&'a str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for password in passwords {
        if lets_in(user, password).await {
            found.push(*password);
        }
    }
    found
}

fn new_user() -> String {
    format!("u_{}", &Uuid::new_v4().simple().to_string()[..12])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_of_the_database_has_two_passwords_in_between() {
    let (payment, orders) = (new_user(), new_user());
    let users = [
        (
            INIT_SQL,
            ("payment", payment.as_str()),
            "PASSWORD",
            "mysql/",
            "password",
        ),
        (
            INIT_SQL,
            ("seata", "seata"),
            "COORDINATOR_PASSWORD",
            "mysql/",
            "coordinator-password",
        ),
        (
            ORDERS_SQL,
            ("orders", orders.as_str()),
            "ORDERS_PASSWORD",
            "orders/",
            "password",
        ),
    ];
    for (sql, user, variable, ..) in users {
        start(sql, user, variable, "old", "old").await;
        assert_eq!(accepted(user.1, &["old", "new"]).await, ["old"]);
    }
    let config = config(&payment, &orders, 1);
    let files = |prefix: &str, now: &'static str, other: &'static str| {
        let named = users.iter().flat_map(|(.., folder, key)| {
            [
                (format!("{folder}{key}"), now),
                (format!("{folder}{prefix}{key}"), other),
            ]
        });
        let named: Vec<(String, &str)> = named.collect();
        let named: Vec<(&str, &str)> = named
            .iter()
            .map(|(path, it)| (path.as_str(), *it))
            .collect();
        passwords(&named)
    };
    // One Job, the same again, and several at a time: the first password is never lost.
    let announced = files("next-", "old", "new");
    for at_a_time in [1, 1, 4] {
        let runs = (0..at_a_time).map(|_| rotate::run(&config, announced.path(), Phase::Accept));
        for run in join_all(runs).await {
            run.unwrap();
        }
        for (_, user, ..) in users {
            assert_eq!(accepted(user.1, &["old", "new"]).await, ["old", "new"]);
        }
    }
    // Nothing is to be refused yet.
    let error = rotate::run(&config, announced.path(), Phase::Discard).await;
    assert!(error.unwrap_err().to_string().contains("nothing to do"));

    let retired = files("retired-", "new", "old");
    for _ in 0..2 {
        rotate::run(&config, retired.path(), Phase::Discard)
            .await
            .unwrap();
        for (_, user, ..) in users {
            assert_eq!(accepted(user.1, &["old", "new"]).await, ["new"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_in_the_middle_accepts_both() {
    let user = new_user();
    let config = config(&user, "nobody", 1);
    let started = |password: &'static str, beside: &'static str| {
        start(INIT_SQL, ("payment", &user), "PASSWORD", password, beside)
    };
    let both = ["old", "new"];
    let retired = passwords(&[("mysql/password", "new"), ("mysql/retired-password", "old")]);
    let announced = passwords(&[("mysql/password", "old"), ("mysql/next-password", "new")]);
    for (password, beside) in [("old", "new"), ("new", "old")] {
        // Whichever stands first: the former one is refused at last, and no Job harms the other.
        started(password, beside).await;
        assert_eq!(accepted(&user, &both).await, both, "{password} {beside}");
        rotate::run(&config, announced.path(), Phase::Accept)
            .await
            .unwrap();
        assert_eq!(accepted(&user, &both).await, both, "{password} {beside}");
        rotate::run(&config, retired.path(), Phase::Discard)
            .await
            .unwrap();
        assert_eq!(accepted(&user, &both).await, ["new"], "{password} {beside}");
    }
    // A start with one password knows no other any more.
    started("old", "new").await;
    started("new", "new").await;
    assert_eq!(accepted(&user, &both).await, ["new"]);
    // A person has changed it meanwhile: the Job brings the missing one back.
    rotate::run(&config, announced.path(), Phase::Accept)
        .await
        .unwrap();
    assert_eq!(accepted(&user, &both).await, both);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_without_passwords() {
    let user = new_user();
    let config = config(&user, "nobody", 1);
    start(INIT_SQL, ("payment", &user), "PASSWORD", "third", "third").await;
    let run = async |files: &[(&str, &str)], phase| {
        let files = passwords(files);
        let error = rotate::run(&config, files.path(), phase).await.unwrap_err();
        format!("{error:#}")
    };
    let announced = [
        ("mysql/password", "first"),
        ("mysql/next-password", "second"),
    ];
    let said = run(&announced, Phase::Accept).await;
    assert!(
        said.contains("both passwords of its Secret are refused"),
        "{said}"
    );
    let retired = [
        ("mysql/password", "second"),
        ("mysql/retired-password", "first"),
    ];
    let said = run(&retired, Phase::Discard).await;
    assert!(
        said.contains("the password of its Secret is refused"),
        "{said}"
    );
    let bad = [("mysql/password", "third"), ("mysql/next-password", "it's")];
    let said = run(&bad, Phase::Accept).await;
    assert!(
        said.contains("choose another one") && !said.contains("it's"),
        "{said}"
    );
    let mut root = connect_to("mysql").await;
    let revoke = format!("REVOKE APPLICATION_PASSWORD_ADMIN ON *.* FROM '{user}'@'%'");
    execute(&mut root, revoke).await;
    let files = [
        ("mysql/password", "third"),
        ("mysql/next-password", "fourth"),
    ];
    let said = run(&files, Phase::Accept).await;
    assert!(said.contains("lacks APPLICATION_PASSWORD_ADMIN"), "{said}");
    assert!(!said.contains("fourth"), "{said}");
}

/// A Redis that is started as its pod starts it.
struct Redis {
    process: Child,
    port: u16,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    async fn start(directory: &Path, port: u16, variables: &[(&str, &str)]) -> Self {
        let file = directory.join("redis.conf");
        let settings = format!("port {port}\nbind 127.0.0.1\nsave \"\"\n");
        std::fs::write(&file, settings).unwrap();
        let script =
            REDIS_START.replace("/etc/payment/redis/redis.conf", &file.display().to_string());
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", &script])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "Redis does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        redis
    }

    async fn accepted<'a>(&self, passwords: &[&'a str]) -> Vec<&'a str> {
        let mut found = Vec::new();
        for password in passwords {
            let url = format!("redis://:{password}@127.0.0.1:{}", self.port);
            let client = redis::Client::open(url).unwrap();
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await {
                let set = redis::cmd("SET").arg("key").arg(1).clone();
                let set = set.query_async::<()>(&mut connection).await;
                found.extend(set.is_ok().then_some(*password));
            }
        }
        found
    }
}

#[tokio::test]
async fn redis_accepts_two_passwords_in_between_also_when_it_restarts() {
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let config = config("nobody", "nobody", port);
    let both = ["old", "new"];
    let start = |variables: &'static [(&'static str, &'static str)]| {
        Redis::start(directory.path(), port, variables)
    };
    let redis = start(&[("REDIS_PASSWORD", "old")]).await;
    assert_eq!(
        redis.accepted(&["old", "new", "", "$REDIS_PASSWORD"]).await,
        ["old"]
    );
    let announced = passwords(&[("redis/password", "old"), ("redis/next-password", "new")]);
    for _ in 0..2 {
        rotate::run(&config, announced.path(), Phase::Accept)
            .await
            .unwrap();
        assert_eq!(redis.accepted(&both).await, both);
    }
    drop(redis);
    let redis = start(&[("REDIS_PASSWORD", "old"), ("NEXT_REDIS_PASSWORD", "new")]).await;
    assert_eq!(redis.accepted(&both).await, both);
    drop(redis);
    let redis = start(&[
        ("REDIS_PASSWORD", "new"),
        ("PREVIOUS_REDIS_PASSWORD", "old"),
    ])
    .await;
    assert_eq!(redis.accepted(&both).await, both);
    let retired = passwords(&[("redis/password", "new"), ("redis/retired-password", "old")]);
    for _ in 0..2 {
        rotate::run(&config, retired.path(), Phase::Discard)
            .await
            .unwrap();
        assert_eq!(redis.accepted(&both).await, ["new"]);
    }
    drop(redis);
    let redis = start(&[("REDIS_PASSWORD", "third")]).await;
    assert_eq!(redis.accepted(&["old", "new", "third"]).await, ["third"]);
    let error = rotate::run(&config, retired.path(), Phase::Discard)
        .await
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("refuses the password"),
        "{error:#}"
    );
}
