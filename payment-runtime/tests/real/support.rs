//! Real servers for the tests: MySQL (from `MYSQL_ROOTFS`), Redis and the channel simulator.
//!
//! Servers are started once per test program on free ports, with their data in a temporary
//! directory; they die with this process, also when it is killed. Each test gets a database and a
//! simulator of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use channel_simulator::Running;
use contract::{Role, RuntimeConfig, SimulatorConfig};
use payment_runtime::roles::Parts;
use payment_runtime::roles::{self, Service};
use payment_runtime::store::Store;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A port that nobody listens on. It lies below the range that outgoing connections get theirs
/// from, and no two callers get the same, so it is still free a moment later.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = std::process::id() * 61 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(12_000 + n % 18_000).unwrap();
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

pub(crate) fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

struct Mysql {
    port: u16,
}

pub(crate) fn mysql_port() -> u16 {
    mysql().port
}

const DATA_PREFIX: &str = "payment-mysql-";

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

fn mysql() -> &'static Mysql {
    static MYSQL: OnceLock<Mysql> = OnceLock::new();
    MYSQL.get_or_init(|| {
        remove_what_dead_runs_left();
        let port = free_port();
        mysqld(&data_directory(), &[format!("--port={port}")]);
        Mysql { port }
    })
}

/// For a server, which outlives every test; the next run removes what it leaves.
pub(crate) fn data_directory() -> PathBuf {
    let prefix = format!("{DATA_PREFIX}{}-", std::process::id());
    let directory = tempfile::Builder::new().prefix(&prefix).tempdir();
    directory.unwrap().keep()
}

/// Starts a server with its data in a directory; it dies with this process.
pub(crate) fn mysqld(directory: &Path, options: &[String]) {
    let rootfs = PathBuf::from(std::env::var("MYSQL_ROOTFS").expect(
        "MYSQL_ROOTFS must name a root file system with MySQL; `make integration` sets it",
    ));
    let mysqld = |command: &mut Command| {
        let usr = rootfs.join("usr");
        command
            .arg("--library-path")
            .arg(usr.join("lib/x86_64-linux-gnu"))
            .arg(usr.join("sbin/mysqld"))
            .arg("--no-defaults")
            .arg(format!("--basedir={}", usr.display()))
            .arg(format!("--datadir={}", directory.join("data").display()))
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
    let loader = rootfs.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
    let mut initialize = Command::new(&loader);
    mysqld(&mut initialize);
    let done = initialize.arg("--initialize-insecure").output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let mut server = bound(loader.to_str().unwrap());
    mysqld(&mut server);
    server
        .arg(format!("--socket={}", directory.join("sock").display()))
        .args(["--bind-address=127.0.0.1", "--mysqlx=OFF"])
        .args(["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"])
        .args(["--innodb-buffer-pool-size=64M", "--max-connections=300"])
        .args(options)
        .stderr(std::fs::File::create(directory.join("log")).unwrap());
    spawn_bound(server);
}

pub(crate) struct Redis {
    pub(crate) port: u16,
}

pub(crate) fn redis() -> &'static Redis {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    REDIS.get_or_init(|| {
        let port = free_port();
        let mut server = bound("redis-server");
        server.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]);
        server.stdout(Stdio::null());
        spawn_bound(server);
        Redis { port }
    })
}

/// Where the cache of a test is.
#[derive(Clone, Copy)]
pub(crate) enum CacheAt {
    Real,
    /// Nothing listens there.
    Down,
    None,
}

/// A whole runtime (role `all`) against a database, a cache and a simulator.
pub(crate) struct System {
    pub(crate) api: String,
    pub(crate) management: String,
    pub(crate) callbacks: String,
    pub(crate) simulator: Running,
    pub(crate) parts: Arc<Parts>,
    pub(crate) http: reqwest::Client,
    stop: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
    _keys: tempfile::TempDir,
}

impl System {
    pub(crate) async fn start(cache: CacheAt) -> Self {
        Self::start_with(cache, |_| {}).await
    }

    /// The same with a changed configuration.
    pub(crate) async fn start_with(
        cache: CacheAt,
        change: impl FnOnce(&mut RuntimeConfig),
    ) -> Self {
        a_day_that_lasts().await;
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_max_level(tracing::Level::WARN)
            .try_init();
        let local = "127.0.0.1:0".to_owned();
        let simulator = SimulatorConfig {
            listen: local.clone(),
            admin_listen: local,
            ..SimulatorConfig::default()
        };
        let simulator = channel_simulator::start(&simulator).await.unwrap();
        let keys = tempfile::tempdir().unwrap();
        for (name, value) in simulator.client_keys() {
            std::fs::write(keys.path().join(name), value).unwrap();
        }
        let port = free_port();
        let mut config = config(cache, port, &simulator, keys.path().to_str().unwrap()).await;
        change(&mut config);
        let parts = roles::prepare(config).unwrap();
        let service = Service::bind(Role::All, parts.clone()).await.unwrap();
        let addresses = service.addresses;
        let stop = CancellationToken::new();
        let served = tokio::spawn(service.run(stop.clone()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let system = Self {
            api: format!("http://{}/api/payments", addresses.http),
            management: format!("http://{}/actuator", addresses.management),
            callbacks: format!("http://{}/callbacks", addresses.http),
            simulator,
            parts,
            http,
            stop,
            served,
            _keys: keys,
        };
        system
            .until("ready", || async { system.ready().await.then_some(()) })
            .await;
        system
    }

    async fn ready(&self) -> bool {
        let answer = self
            .http
            .get(format!("{}/health/readiness", self.management))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Asks until there is an answer; a minute is long enough for everything here.
    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        mut ask: impl FnMut() -> F,
    ) -> T {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(Instant::now() < deadline, "gave up waiting: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn post(&self, body: &Value) -> (u16, Value) {
        let answer = self.http.post(&self.api).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// `POST` below the payments' path, under a key if one is given: status, body, and whether the
    /// answer was a replay.
    pub(crate) async fn post_to(
        &self,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> (u16, String, bool) {
        let mut request = self.http.post(format!("{}{path}", self.api)).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await.unwrap();
        let replayed = answer.headers().contains_key("idempotent-replayed");
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap(), replayed)
    }

    /// `POST` without a key.
    pub(crate) async fn act(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text, _) = self.post_to(path, None, body).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    /// A payment that was paid.
    pub(crate) async fn paid(&self, channel: &str) -> Value {
        let (status, created) = self.post(&order(channel)).await;
        assert_eq!(status, 201, "{created}");
        self.pay(&created).await;
        self.until_status(created["paymentId"].as_str().unwrap(), "PAID")
            .await
    }

    pub(crate) async fn until_refund(&self, id: &str, number: &str, status: &str) -> Value {
        let what = format!("refund {number} to become {status}");
        self.until(&what, || async {
            let (_, refund) = self.get(&format!("/{id}/refunds/{number}")).await;
            (refund["status"] == status).then_some(refund)
        })
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self
            .http
            .get(format!("{}{path}", self.api))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn payment(&self, id: &str) -> Value {
        self.get(&format!("/{id}")).await.1
    }

    pub(crate) async fn until_status(&self, id: &str, status: &str) -> Value {
        let what = format!("{id} to become {status}");
        self.until(&what, || async {
            let payment = self.payment(id).await;
            (payment["status"] == status).then_some(payment)
        })
        .await
    }

    pub(crate) async fn admin(&self, path: &str, body: &Value) -> Value {
        let url = format!("http://{}{path}", self.simulator.admin());
        let answer = self.http.post(url).json(body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path} {body}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) async fn fault(&self, name: &str, channel: &str) {
        self.admin("/faults", &json!({"name": name, "channel": channel}))
            .await;
    }

    /// The payer opens the payment without paying. At WeChat Pay that changes nothing.
    pub(crate) async fn scan(&self, payment: &Value) {
        if payment["channel"] != "alipay" {
            return;
        }
        let body = json!({"channel": payment["channel"], "outTradeNo": payment["channelOrderNo"]});
        self.admin("/scan", &body).await;
    }

    /// The channel sends the payment's callback again, or at last.
    pub(crate) async fn replay_callback(&self, payment: &Value) {
        let body = json!({"channel": payment["channel"], "outTradeNo": payment["channelOrderNo"]});
        self.admin("/callbacks/replay", &body).await;
    }

    pub(crate) async fn pay(&self, payment: &Value) {
        let body = json!({"channel": payment["channel"], "outTradeNo": payment["channelOrderNo"]});
        self.admin("/pay", &body).await;
    }

    /// The charges in the channel's own book.
    pub(crate) async fn charges(&self, channel: &str) -> Vec<Value> {
        let url = format!("http://{}/book?channel={channel}", self.simulator.admin());
        let book: Value = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let paid = |charge: &&Value| charge["transactionId"].is_string();
        book["charges"]
            .as_array()
            .unwrap()
            .iter()
            .filter(paid)
            .cloned()
            .collect()
    }

    /// The refunds in the channel's own book.
    pub(crate) async fn book_refunds(&self, channel: &str) -> Vec<Value> {
        let url = format!("http://{}/book?channel={channel}", self.simulator.admin());
        let answer = self.http.get(url).send().await.unwrap();
        let book: Value = answer.json().await.unwrap();
        book["refunds"].as_array().unwrap().clone()
    }

    /// Makes the questions about open payments and refunds due now instead of along the ladder.
    pub(crate) async fn ask_now(&self) {
        let payments = "UPDATE payment_records SET next_question_at = NOW(3) - INTERVAL 1 DAY \
                        WHERE next_question_at IS NOT NULL";
        self.execute(payments).await;
        let refunds = "UPDATE payment_refunds SET next_question_at = NOW(3) - INTERVAL 1 DAY \
                       WHERE next_question_at IS NOT NULL";
        self.execute(refunds).await;
    }

    /// Lets the channels' visibility delay pass for every refund whose outcome is open.
    pub(crate) async fn let_refunds_become_visible(&self) {
        let sql = "UPDATE payment_refunds SET updated_at = NOW(3) - INTERVAL 1 DAY";
        self.execute(sql).await;
    }

    /// Executes statements without parameters; again, where the runtime's own work won a deadlock
    /// against them.
    pub(crate) async fn execute(&self, sql: &'static str) {
        const TRIES: u32 = 5;
        let mut connection = connect(self).await;
        for tries_left in (0..TRIES).rev() {
            match sqlx::raw_sql(sql).execute(&mut connection).await {
                Ok(_) => return,
                Err(sqlx::Error::Database(error))
                    if error.code().as_deref() == Some("40001") && tries_left > 0 => {}
                Err(error) => panic!("{sql}: {error}"),
            }
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
        self.simulator.stop().await;
    }
}

async fn config(cache: CacheAt, port: u16, simulator: &Running, keys: &str) -> RuntimeConfig {
    let database = format!("test_{}", Uuid::new_v4().simple());
    create_database(&database).await;
    let password = format!("{keys}/empty");
    std::fs::write(&password, "").unwrap();
    let redis = match cache {
        CacheAt::Real => format!("redis: {{host: 127.0.0.1, port: {}}}", redis().port),
        CacheAt::Down => format!("redis: {{host: 127.0.0.1, port: {}}}", free_port()),
        CacheAt::None => String::new(),
    };
    let yaml = format!(
        "
system: test/test
listen: {{http: '127.0.0.1:{port}', management: '127.0.0.1:0'}}
mysql: {{host: 127.0.0.1, port: {mysql}, database: {database}, username: root, passwordFile: {password}}}
{redis}
channels:
  callbackBaseUrl: http://127.0.0.1:{port}
  credentialsDirectory: {keys}
  wechat: {{baseUrl: 'http://{simulator}'}}
  alipay: {{gatewayUrl: 'http://{simulator}/gateway.do'}}
  totalTimeoutMilliseconds: 1500
worker: {{pollIntervalMilliseconds: 50}}
# Tests run at any hour, also around midnight.
reconciliation: {{lateRows: {{minutesAroundMidnight: 0}}}}
shutdown: {{readyOffSeconds: 0, drainSeconds: 5}}
",
        mysql = mysql().port,
        simulator = simulator.public(),
    );
    RuntimeConfig::parse(&yaml).unwrap()
}

/// What a test pays stands on one day's bill: close to Beijing's midnight it begins after it.
async fn a_day_that_lasts() {
    use payment_runtime::clock;
    const LONGEST_TEST: Duration = Duration::from_mins(3);
    let now = clock::now();
    let midnight = clock::beginning_of(clock::bill_day(now).tomorrow().unwrap());
    let left = Duration::try_from(midnight.duration_since(now)).unwrap();
    if left < LONGEST_TEST {
        tokio::time::sleep(left + Duration::from_secs(1)).await;
    }
}

/// A database without a runtime: nobody but the test works in it.
pub(crate) struct Database {
    pub(crate) store: Store,
    name: String,
    config: contract::config::Mysql,
    _password: tempfile::TempDir,
}

impl Database {
    pub(crate) async fn new() -> Self {
        Self::with_connections(10).await
    }

    pub(crate) async fn with_connections(max_connections: u32) -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        create_database(&name).await;
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("empty");
        std::fs::write(&password, "").unwrap();
        let config = contract::config::Mysql {
            host: "127.0.0.1".to_owned(),
            port: mysql().port,
            database: name.clone(),
            username: "root".to_owned(),
            password_file: password,
            max_connections,
            tls: None,
        };
        let store = Store::new(&config).unwrap();
        store.migrate().await.unwrap();
        Self {
            store,
            name,
            config,
            _password: directory,
        }
    }

    /// As another process would have it.
    pub(crate) fn another_store(&self) -> Store {
        Store::new(&self.config).unwrap()
    }

    pub(crate) async fn connect(&self) -> sqlx::MySqlConnection {
        connect_to(&self.name).await
    }
}

/// A new empty database; gives its name.
pub(crate) async fn new_database() -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    create_database(&name).await;
    name
}

async fn create_database(name: &str) {
    use sqlx::{AssertSqlSafe, ConnectOptions as _};
    let options = sqlx::mysql::MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(mysql().port)
        .username("root");
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut connection = loop {
        match options.connect().await {
            Ok(connection) => break connection,
            Err(error) if Instant::now() > deadline => panic!("MySQL does not answer: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let sql = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(sql).execute(&mut connection).await.unwrap();
}

pub(crate) fn order(channel: &str) -> Value {
    json!({
        "orderId": format!("O-{}", Uuid::new_v4().simple()), "amount": 99.99,
        "currency": "CNY", "userId": "USER-1", "channel": channel,
    })
}

pub(crate) async fn connect(system: &System) -> sqlx::MySqlConnection {
    connect_to(&system.parts.payments.config.mysql.database).await
}

pub(crate) async fn connect_to(database: &str) -> sqlx::MySqlConnection {
    use sqlx::ConnectOptions as _;
    sqlx::mysql::MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(mysql().port)
        .username("root")
        .database(database)
        .connect()
        .await
        .unwrap()
}

pub(crate) async fn query_text(system: &System, sql: &'static str) -> Option<String> {
    let row: Option<(Option<String>,)> = sqlx::query_as(sql)
        .fetch_optional(&mut connect(system).await)
        .await
        .unwrap();
    row.and_then(|(text,)| text)
}

pub(crate) async fn execute_with(system: &System, sql: &'static str, value: &str) {
    sqlx::query(sql)
        .bind(value)
        .execute(&mut connect(system).await)
        .await
        .unwrap();
}

pub(crate) async fn redis_command(words: &[&str]) {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", redis().port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
        .query_async::<redis::Value>(&mut connection)
        .await
        .unwrap();
}
