//! The system under test as operating system processes: MySQL, Redis and two of each role of the
//! runtime, any of which can be killed with SIGKILL and started again on the same ports and data.
//!
//! Nothing outlives this program: the kernel kills every child when the thread that started it
//! ends. What a killed run left on disk is removed by the next one.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand::Rng as _;
use sqlx::ConnectOptions as _;
use sqlx::mysql::MySqlConnectOptions;

pub(crate) const DATABASE: &str = "payment";
const DATA_PREFIX: &str = "payment-killed-";
/// Everything here starts within this, also on a busy computer.
const START_WITHIN: Duration = Duration::from_mins(1);

/// Asks until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A free port that the kernel gives to no connection of its own accord: a killed server must find
/// its port free again.
pub(crate) fn lasting_port() -> u16 {
    let mut random = rand::rng();
    loop {
        let port = random.random_range(15_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

type Started = std::io::Result<Child>;

/// The thread to which the kernel ties the lives of all children.
struct Nursery {
    orders: mpsc::Sender<(Command, mpsc::Sender<Started>)>,
}

impl Nursery {
    fn open() -> Self {
        let (orders, inbox) = mpsc::channel::<(Command, mpsc::Sender<Started>)>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let child = command.stdin(Stdio::null()).spawn();
                // Whoever asked may be gone.
                let _ = answer.send(child);
            }
        });
        Self { orders }
    }

    fn start(&self, command: Command) -> Child {
        let (answer, wait) = mpsc::channel();
        self.orders.send((command, answer)).unwrap();
        wait.recv().unwrap().expect("a process cannot be started")
    }
}

/// A program that dies with the thread that started it, and writes to `log`.
fn bound(program: &str, log: &Path) -> Command {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

/// One process that is started, killed and started again.
pub(crate) struct Process {
    pub(crate) name: String,
    make: Box<dyn Fn() -> Command + Send>,
    child: Option<Child>,
    pub(crate) kills: u32,
    /// Ends that nobody asked for.
    pub(crate) deaths: Vec<String>,
}

impl Process {
    fn new(name: &str, make: impl Fn() -> Command + Send + 'static) -> Self {
        Self {
            name: name.to_owned(),
            make: Box::new(make),
            child: None,
            kills: 0,
            deaths: Vec::new(),
        }
    }

    fn kill(&mut self) {
        self.notice_death();
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            self.kills += 1;
        }
    }

    fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let number = child.id().to_string();
            let done = Command::new("kill").args([signal, &number]).status();
            assert!(done.unwrap().success(), "kill {signal} {number}");
        }
    }

    fn notice_death(&mut self) {
        let ended = self.child.as_mut().map(|child| child.try_wait().unwrap());
        if let Some(Some(status)) = ended {
            self.deaths.push(format!("{} ended: {status}", self.name));
            self.child = None;
        }
    }
}

/// A process of the runtime and where it listens.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) role: &'static str,
    http: u16,
    management: u16,
}

impl Seat {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }
}

pub(crate) struct Servers {
    nursery: Nursery,
    folder: tempfile::TempDir,
    mysql_port: u16,
    redis_port: u16,
    mysql: Process,
    redis: Process,
    seats: Vec<Seat>,
    roles: Vec<Process>,
}

/// What the configuration files of the runtime say of the world outside.
pub(crate) struct Outside<'a> {
    pub(crate) callbacks: &'a str,
    pub(crate) simulator: std::net::SocketAddr,
    pub(crate) keys: &'a std::collections::BTreeMap<&'static str, String>,
}

impl Servers {
    /// Starts the data stores, migrates, and starts two of each role.
    pub(crate) async fn start(seats: Vec<Seat>, outside: &Outside<'_>) -> Self {
        remove_what_dead_runs_left();
        let prefix = format!("{DATA_PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        let (mysql_port, redis_port) = (lasting_port(), lasting_port());
        let mut servers = Self {
            nursery: Nursery::open(),
            mysql: mysql(folder.path(), mysql_port),
            redis: redis(folder.path(), redis_port),
            folder,
            mysql_port,
            redis_port,
            seats,
            roles: Vec::new(),
        };
        servers.start_mysql();
        servers.start_redis();
        servers.create_database().await;
        servers.write_configuration(outside);
        servers.migrate();
        for seat in servers.seats.clone() {
            let process = servers.role(&seat);
            servers.roles.push(process);
        }
        for index in 0..servers.roles.len() {
            servers.start_role(index);
        }
        servers.wait_ready().await;
        servers
    }

    /// Two of each role that works on payments, on ports of their own.
    pub(crate) fn seats() -> Vec<Seat> {
        ["api", "callback", "worker"]
            .into_iter()
            .flat_map(|role| [role, role])
            .map(|role| Seat {
                role,
                http: lasting_port(),
                management: lasting_port(),
            })
            .collect()
    }

    fn write_configuration(&self, outside: &Outside<'_>) {
        let keys = self.folder.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        for (name, value) in outside.keys {
            std::fs::write(keys.join(name), value).unwrap();
        }
        std::fs::write(self.folder.path().join("empty"), "").unwrap();
        for seat in &self.seats {
            let yaml = self.configuration(seat, outside, &keys);
            // What the process would refuse is a mistake of this test.
            contract::RuntimeConfig::parse(&yaml).unwrap();
            std::fs::write(self.configuration_of(seat), yaml).unwrap();
        }
    }

    /// Short times, so that a worker's lease and an unanswered call end within the test.
    fn configuration(&self, seat: &Seat, outside: &Outside<'_>, keys: &Path) -> String {
        format!(
            "
system: test/killed
listen: {{http: '127.0.0.1:{http}', management: '127.0.0.1:{management}'}}
mysql: {{host: 127.0.0.1, port: {mysql}, database: {DATABASE}, username: root, passwordFile: '{empty}'}}
redis: {{host: 127.0.0.1, port: {redis}}}
channels:
  callbackBaseUrl: {callbacks}
  credentialsDirectory: '{keys}'
  wechat: {{baseUrl: 'http://{simulator}'}}
  alipay: {{gatewayUrl: 'http://{simulator}/gateway.do'}}
  connectTimeoutMilliseconds: 1000
  totalTimeoutMilliseconds: 1500
worker: {{pollIntervalMilliseconds: 100, leaseSeconds: 6}}
shutdown: {{readyOffSeconds: 0, drainSeconds: 5}}
",
            http = seat.http,
            management = seat.management,
            mysql = self.mysql_port,
            redis = self.redis_port,
            empty = self.folder.path().join("empty").display(),
            callbacks = outside.callbacks,
            keys = keys.display(),
            simulator = outside.simulator,
        )
    }

    fn configuration_of(&self, seat: &Seat) -> PathBuf {
        let file = format!("{}-{}.yaml", seat.role, seat.http);
        self.folder.path().join(file)
    }

    fn role(&self, seat: &Seat) -> Process {
        let (role, file) = (seat.role, self.configuration_of(seat));
        let log = self.folder.path().join(format!("{role}-{}.log", seat.http));
        Process::new(role, move || {
            let mut command = bound(env!("CARGO_BIN_EXE_payment-runtime"), &log);
            command.arg(role).arg("--config").arg(&file);
            command
        })
    }

    fn migrate(&self) {
        let file = self.configuration_of(&self.seats[0]);
        let done = Command::new(env!("CARGO_BIN_EXE_payment-runtime"))
            .args(["migrate", "--config"])
            .arg(file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "migrate: {said}");
    }

    /// A new connection to the database; `None` while it does not answer.
    pub(crate) async fn connect(&self) -> Option<sqlx::MySqlConnection> {
        self.options().database(DATABASE).connect().await.ok()
    }

    fn options(&self) -> MySqlConnectOptions {
        MySqlConnectOptions::new()
            .host("127.0.0.1")
            .port(self.mysql_port)
            .username("root")
    }

    async fn create_database(&self) {
        let connect = || async { self.options().connect().await.ok() };
        let mut connection = until("MySQL to answer", START_WITHIN, connect).await;
        sqlx::query("CREATE DATABASE payment")
            .execute(&mut connection)
            .await
            .unwrap();
    }

    async fn wait_ready(&self) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for seat in &self.seats {
            let port = seat.management;
            let url = format!("http://127.0.0.1:{port}/actuator/health/readiness");
            let what = format!("{} to be ready", seat.role);
            until(&what, START_WITHIN, || async {
                let answer = http.get(&url).send().await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await;
        }
    }

    /// Everything runs and answers again.
    pub(crate) async fn settle(&mut self) {
        let connect = || async { self.connect().await };
        until("MySQL to answer again", START_WITHIN, connect).await;
        self.wait_ready().await;
    }

    pub(crate) fn roles(&self) -> usize {
        self.roles.len()
    }

    /// Starts what is not running; what ended by itself has been noticed then.
    pub(crate) fn start_role(&mut self, index: usize) {
        start(&self.nursery, &mut self.roles[index]);
    }

    pub(crate) fn kill_role(&mut self, index: usize) {
        self.roles[index].kill();
    }

    /// Stops a process where it stands; it keeps its connections and learns nothing of the time.
    pub(crate) fn freeze(&self, index: usize) {
        self.roles[index].signal("-STOP");
    }

    pub(crate) fn thaw(&self, index: usize) {
        self.roles[index].signal("-CONT");
    }

    pub(crate) fn start_redis(&mut self) {
        start(&self.nursery, &mut self.redis);
    }

    pub(crate) fn kill_redis(&mut self) {
        self.redis.kill();
    }

    pub(crate) fn start_mysql(&mut self) {
        start(&self.nursery, &mut self.mysql);
    }

    pub(crate) fn kill_mysql(&mut self) {
        self.mysql.kill();
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        self.roles.iter().chain([&self.mysql, &self.redis])
    }

    /// How often each kind of process was killed.
    pub(crate) fn kills(&self) -> String {
        let of = |name: &str| -> u32 {
            let named = self.all().filter(|process| process.name == name);
            named.map(|process| process.kills).sum()
        };
        let names = ["api", "callback", "worker", "redis", "mysql"];
        names.map(|name| format!("{name} {}", of(name))).join(", ")
    }

    /// Processes that ended although nobody killed them.
    pub(crate) fn deaths(&mut self) -> Vec<String> {
        for process in self
            .roles
            .iter_mut()
            .chain([&mut self.mysql, &mut self.redis])
        {
            process.notice_death();
        }
        self.all()
            .flat_map(|process| process.deaths.clone())
            .collect()
    }

    /// Ends every process, so that nobody writes into the folder any more.
    fn end(&mut self) {
        let stores = [&mut self.mysql, &mut self.redis];
        for process in self.roles.iter_mut().chain(stores) {
            process.kill();
        }
    }

    pub(crate) fn stop(mut self) {
        self.end();
    }

    /// Leaves logs and data where a person can look; the next run removes them.
    pub(crate) fn keep_files(mut self) -> PathBuf {
        self.end();
        self.folder.keep()
    }
}

fn start(nursery: &Nursery, process: &mut Process) {
    process.notice_death();
    if process.child.is_none() {
        process.child = Some(nursery.start((process.make)()));
    }
}

fn redis(folder: &Path, port: u16) -> Process {
    let (log, port) = (folder.join("redis.log"), port.to_string());
    Process::new("redis", move || {
        let mut command = bound("redis-server", &log);
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
        command
    })
}

/// The server of `MYSQL_ROOTFS`, with the settings that its owner would keep money in.
fn mysql(folder: &Path, port: u16) -> Process {
    let rootfs = PathBuf::from(std::env::var("MYSQL_ROOTFS").expect(
        "MYSQL_ROOTFS must name a root file system with MySQL; `make integration` sets it",
    ));
    let (usr, data) = (rootfs.join("usr"), folder.join("mysql"));
    let loader = usr.join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
    let arguments = [
        "--library-path".to_owned(),
        usr.join("lib/x86_64-linux-gnu").display().to_string(),
        usr.join("sbin/mysqld").display().to_string(),
        "--no-defaults".to_owned(),
        format!("--basedir={}", usr.display()),
        format!("--datadir={}", data.display()),
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
    let (log, socket) = (folder.join("mysql.log"), folder.join("sock"));
    Process::new("mysql", move || {
        let mut command = bound(loader.to_str().unwrap(), &log);
        command
            .args(&arguments)
            .arg(format!("--socket={}", socket.display()))
            .args([
                &format!("--port={port}"),
                "--bind-address=127.0.0.1",
                "--mysqlx=OFF",
            ])
            .args(["--innodb-flush-log-at-trx-commit=1", "--skip-log-bin"])
            .args(["--innodb-buffer-pool-size=64M", "--max-connections=300"]);
        command
    })
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
