//! A real coordinator, 1.8.0 in file mode, from the jars in the folder that `SEATA_1_8` names.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const START_WITHIN: Duration = Duration::from_mins(2);

/// Killed when dropped, and by the kernel when the test program ends in any other way.
pub(crate) struct Tc {
    port: u16,
    console: u16,
    process: Option<Child>,
    folder: tempfile::TempDir,
}

/// The thread that starts every child; the kernel ends them with it, and it lives as long as the
/// program.
pub(crate) fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<Child>);
    static NURSERY: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);
    let (answer, child) = mpsc::channel();
    NURSERY
        .lock()
        .unwrap()
        .get_or_insert_with(|| {
            let (orders, inbox) = mpsc::channel::<Order>();
            std::thread::spawn(move || {
                for (mut command, answer) in inbox {
                    answer.send(command.spawn().unwrap()).unwrap();
                }
            });
            orders
        })
        .send((command, answer))
        .unwrap();
    child.recv().unwrap()
}

pub(crate) fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// A new empty folder. The owner removes it; what a program left that is no more, the next one.
pub(crate) fn data_folder() -> tempfile::TempDir {
    const PREFIX: &str = "seata-client-";
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let process = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().unwrap()
}

impl Tc {
    pub(crate) async fn start() -> Self {
        let folder = data_folder();
        let (port, console) = (free_port(), free_port());
        let at = folder.path().display();
        let configuration = format!(
            "server: {{port: {console}}}
spring: {{application: {{name: seata-server}}}}
logging: {{level: {{root: WARN, io.seata: WARN}}, file: {{path: '{at}/logs'}}}}
console: {{user: {{username: test, password: test}}}}
seata:
  config: {{type: file}}
  registry: {{type: file}}
  server: {{service-port: {port}}}
  store:
    mode: file
    session: {{mode: file}}
    lock: {{mode: file}}
    file: {{dir: '{at}/sessions', flush-disk-mode: async}}
  metrics: {{enabled: false}}
  security:
    secretKey: only-for-tests-0123456789012345678901234567890123456789
    tokenValidityInMilliseconds: 1800000
    ignore: {{urls: '/health'}}
"
        );
        std::fs::write(folder.path().join("application.yml"), configuration).unwrap();
        let mut tc = Self {
            port,
            console,
            process: None,
            folder,
        };
        tc.launch();
        tc.ready().await;
        tc
    }

    /// `host:port` for clients.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// The same coordinator on the same port with the same data, after [`Tc::kill`]; does not wait
    /// for it to be ready.
    pub(crate) fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.process = Some(spawn(self.command()));
    }

    /// It stands still where it is: connections stay open and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let number = self.process.as_ref().unwrap().id().to_string();
        let done = Command::new("kill").args([signal, &number]).status();
        assert!(done.unwrap().success(), "kill {signal} {number}");
    }

    pub(crate) async fn ready(&mut self) {
        let deadline = Instant::now() + START_WITHIN;
        while healthy(self.console).await.is_none() {
            let lives = self
                .process
                .as_mut()
                .is_some_and(|process| process.try_wait().unwrap().is_none());
            assert!(
                lives && Instant::now() < deadline,
                "the coordinator does not start"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn command(&self) -> Command {
        let Some(jars) = std::env::var_os("SEATA_1_8") else {
            panic!("SEATA_1_8 is not set: it names the folder of the jars of a Seata server 1.8.0")
        };
        let folder = self.folder.path();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "java"])
            .args(["-Xms64m", "-Xmx256m", "-XX:MaxDirectMemorySize=64m"])
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!("{}/*", jars.display()))
            .arg(format!(
                "-Dspring.config.location=file:{}/application.yml",
                folder.display()
            ))
            // 127.0.0.1 is refused as a name for others.
            .args(["io.seata.server.ServerApplication", "-h", "127.0.0.2"])
            .args(["-p", &self.port.to_string(), "-n", "1"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl Drop for Tc {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the console says that the coordinator is up; its port for requests is open by then.
async fn healthy(console: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", console)).await.ok()?;
    let request = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(5), read).await;
    read.ok()?.ok()?;
    // The other answer is "not_ok".
    answer.ends_with("\r\n\r\nok").then_some(())
}
