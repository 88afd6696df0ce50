//! A client under measurement: a child process that takes steps and gives answers, one JSON object
//! a line. What the steps mean stands in the Java client's source (`Peer.java`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::process::{Process, bound};

pub(super) struct Client {
    pub(super) name: &'static str,
    /// Updates that it has committed so far.
    pub(super) committed: i64,
    process: Process,
    steps: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    /// Seata's newest Java client, from `SEATA_PEER_2_6`.
    pub(super) fn java() -> anyhow::Result<Self> {
        let jars = std::env::var("SEATA_PEER_2_6")
            .context("SEATA_PEER_2_6 must name the Java client's jars; make bench-seata sets it")?;
        let class_path = format!("{jars}/*");
        let options = ["-Xmx256m", "-Duser.timezone=UTC", "-cp", &class_path];
        Self::start("java", "java", &[&options[..], &["peer.Peer"]].concat())
    }

    /// The Rust client, built beside this program.
    pub(super) fn rust() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("bench-seata-client");
        let there = program.is_file();
        ensure!(
            there,
            "{} is not built: make bench-seata does",
            program.display()
        );
        Self::start("rust", program.to_str().context("not text")?, &[])
    }

    fn start(name: &'static str, program: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = bound(program);
        command
            // What is free goes back at once: the figure is what the client needs, not what its
            // allocator keeps for later. It costs no measurable speed here.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(command)?;
        let (steps, answers) = process.pipes()?;
        Ok(Self {
            name,
            committed: 0,
            process,
            steps,
            answers: BufReader::new(answers),
        })
    }

    /// Does one step. Blocks; nothing else goes on in the benchmark meanwhile.
    pub(super) fn step(&mut self, step: &Value) -> anyhow::Result<Value> {
        writeln!(self.steps, "{step}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the {} client has ended", self.name);
        let answer: Value = serde_json::from_str(&line)?;
        let error = answer.get("error");
        ensure!(error.is_none(), "the {} client: {answer}", self.name);
        Ok(answer)
    }

    pub(super) fn rss_mb(&self) -> anyhow::Result<f64> {
        self.process.rss_mb()
    }
}
