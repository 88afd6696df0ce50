//! Processes that end with the test program, and their folders.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

const DATA_PREFIX: &str = "seata-client-";
/// Everything here starts and stops within this, also on a busy computer.
pub(crate) const START_WITHIN: Duration = Duration::from_mins(2);

/// Asks until there is an answer.
pub(crate) async fn until<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
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

/// A port that nobody listens on. It lies below the range that outgoing connections get theirs
/// from, and no two callers get the same: a server that was killed finds it free again.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = std::process::id() * 61 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(12_000 + n % 18_000).unwrap();
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// A new empty folder. The owner removes it; a killed program's is removed by the next one.
pub(crate) fn data_folder(name: &str) -> tempfile::TempDir {
    static CLEANED: OnceLock<()> = OnceLock::new();
    CLEANED.get_or_init(remove_what_dead_runs_left);
    let prefix = format!("{DATA_PREFIX}{}-{name}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().unwrap()
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

/// A command that the kernel kills when the thread that starts it ends.
pub(crate) fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The thread that starts every child; it lives as long as the program.
fn nursery() -> &'static Mutex<mpsc::Sender<Order>> {
    static NURSERY: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    NURSERY.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Whoever asked may be gone.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    })
}

/// A running child; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
}

impl Process {
    /// Starts a [`bound`] command.
    pub(crate) fn start(command: Command) -> Self {
        let what = format!("{command:?}");
        let (answer, wait) = mpsc::channel();
        nursery().lock().unwrap().send((command, answer)).unwrap();
        match wait.recv().unwrap() {
            Ok(child) => Self { child },
            Err(error) => panic!("cannot start {what}: {error}"),
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// `-TERM`, `-STOP` or `-CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let number = self.child.id().to_string();
        let done = Command::new("kill").args([signal, &number]).status();
        assert!(done.unwrap().success(), "kill {signal} {number}");
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.signal("-TERM");
        until("a process to stop", START_WITHIN, async || {
            (!self.is_running()).then_some(())
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
