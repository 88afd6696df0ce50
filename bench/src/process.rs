//! Child processes that end with this one, and what the kernel counts of them.

use std::io::Read as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// The kernel's clock tick in `/proc`: 100 a second on every Linux that runs this.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running child.
pub struct Process {
    child: Child,
}

/// A command that the kernel kills when the thread that starts it ends.
pub fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", program])
        .stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a [`bound`] command. Called on the main thread, which lives as long as the process.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child })
    }

    /// Processor time so far, all threads, user and system.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(&self.child.id().to_string())
    }

    /// Resident memory now, in MiB.
    pub fn rss_mb(&self) -> anyhow::Result<f64> {
        status_mb(&self.child.id().to_string(), "VmRSS")
    }

    /// Its standard input and output, once, if it was given pipes for both.
    pub fn pipes(&mut self) -> anyhow::Result<(ChildStdin, ChildStdout)> {
        let stdin = self.child.stdin.take().context("no pipe to write to")?;
        let stdout = self.child.stdout.take().context("no pipe to read from")?;
        Ok((stdin, stdout))
    }

    /// Waits for its end and returns what it wrote, if it was given a pipe to write to.
    pub fn output(mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut text)?;
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "a child ended with {status}");
        Ok(text)
    }

    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it as a crash does: it gets no chance to do anything more.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A size out of the kernel's account of a process, in MiB.
pub fn status_mb(process: &str, name: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .with_context(|| format!("{path} has no {name}"))?;
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kb / 1024.0)
}

/// Processor time of this process so far.
pub fn own_cpu() -> anyhow::Result<Duration> {
    cpu("self")
}

fn cpu(process: &str) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name may hold blanks; what follows its closing bracket does not.
    let (_, rest) = text.rsplit_once(')').context("no process name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    ensure!(fields.len() > 13, "{path} is too short");
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}

/// A port that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
