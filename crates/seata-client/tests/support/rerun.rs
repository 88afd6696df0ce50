//! This very test program once more, as a process that can be killed.
//!
//! A test that is meant to be run so does nothing unless [`task`] gives it something to do.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;
use tokio::sync::mpsc;

use super::process::{Process, START_WITHIN, bound};

const TASK: &str = "SEATA_CLIENT_TEST_TASK";
const MARK: &str = "it says: ";

/// What the program that started this one wants of it.
pub(crate) fn task() -> Option<Value> {
    let task = std::env::var(TASK).ok()?;
    Some(serde_json::from_str(&task).unwrap())
}

/// Tells the program that started this one.
pub(crate) fn say(text: &str) {
    // The test harness leaves its own line open.
    println!("\n{MARK}{text}");
}

#[derive(Debug)]
pub(crate) struct Rerun {
    process: Process,
    said: mpsc::UnboundedReceiver<String>,
}

impl Rerun {
    /// Runs one test of this program.
    pub(crate) fn start(test: &str, task: &Value) -> Self {
        let mut command = bound(&std::env::current_exe().unwrap());
        command
            .args(["--exact", test, "--nocapture"])
            .env(TASK, task.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Process::start(command);
        let output = process.child.stdout.take().unwrap();
        let (send, said) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(text) = line.strip_prefix(MARK) {
                    // Whoever wanted to know may be gone.
                    let _ = send.send(text.to_owned());
                }
            }
        });
        Self { process, said }
    }

    /// The next thing it says; `None` if it ends without.
    pub(crate) async fn says(&mut self) -> Option<String> {
        let said = tokio::time::timeout(START_WITHIN, self.said.recv()).await;
        said.expect("the other process says nothing")
    }

    /// It stands still where it is.
    pub(crate) fn freeze(&self) {
        self.process.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.process.signal("-CONT");
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}
