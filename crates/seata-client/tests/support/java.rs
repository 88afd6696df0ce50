//! Seata's own Java client (`SEATA_PEER_2_0`, `SEATA_PEER_2_6`), stepped by its standard input.
//!
//! What the steps mean stands in `java/src/main/java/peer/Peer.java`. Between steps the client goes
//! on answering the coordinator as a resource manager. Its time zone is UTC.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::database::Mysql;
use super::process::{Process, START_WITHIN, bound, data_folder};
use super::tc::Tc;

/// Which generation of the client: the packages of its classes, which stand in undo rows, differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// `io.seata` 2.0.0.
    Io,
    /// `org.apache.seata` 2.6.0.
    OrgApache,
}

impl Generation {
    pub(crate) const ALL: [Self; 2] = [Self::Io, Self::OrgApache];

    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Io => "io.seata",
            Self::OrgApache => "org.apache.seata",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Io => "SEATA_PEER_2_0",
            Self::OrgApache => "SEATA_PEER_2_6",
        }
    }
}

/// What a failed step says: the message, then each cause as `Class: message`.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) causes: Vec<String>,
}

impl Failure {
    /// Whether one of the causes is of this class.
    pub(crate) fn is(&self, class: &str) -> bool {
        let start = format!("{class}: ");
        self.causes.iter().any(|cause| cause.starts_with(&start))
    }
}

pub(crate) type Answer = Result<Value, Failure>;

#[derive(Debug)]
pub(crate) struct Java {
    process: Process,
    steps: ChildStdin,
    answers: mpsc::UnboundedReceiver<String>,
    /// Where it unpacks its SQL parser to.
    _folder: tempfile::TempDir,
}

impl Java {
    /// Starts a client, and connects it to a coordinator and a database. Each is an application of
    /// its own: of two with one name and one address the coordinator believes that both have the
    /// databases of either, and sends them each other's branches.
    pub(crate) async fn start(
        generation: Generation,
        tc: &Tc,
        mysql: &Mysql,
        database: &str,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let application = format!("java-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = url(mysql, database);
        let step = json!({"tc": tc.address(), "url": url, "application": application});
        Self::start_with(generation, step).await
    }

    /// The same with every argument of `connect`.
    pub(crate) async fn start_with(generation: Generation, mut connect: Value) -> Self {
        let mut java = Self::launch(generation, &["-XX:TieredStopAtLevel=1", "-Xmx128m"]);
        connect["op"] = "connect".into();
        java.step(connect).await.unwrap();
        java
    }

    /// Starts one that is not connected, with options for its virtual machine.
    pub(crate) fn launch(generation: Generation, options: &[&str]) -> Self {
        let mut command = bound(Path::new("java"));
        let jars = super::folder(generation.variable());
        let folder = data_folder("java");
        command
            .arg(format!("-Djava.io.tmpdir={}", folder.path().display()))
            .args(["-XX:+UseSerialGC", "-Xshare:auto", "-Duser.timezone=UTC"])
            .args(options)
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .arg("peer.Peer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(command);
        let steps = process.child.stdin.take().unwrap();
        let output = process.child.stdout.take().unwrap();
        let (send, answers) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            steps,
            answers,
            _folder: folder,
        }
    }

    /// Does one step and waits for what comes of it.
    pub(crate) async fn step(&mut self, step: Value) -> Answer {
        self.ask(&step);
        self.answer().await
    }

    /// Begins a step; [`Java::answer`] gives what comes of it.
    pub(crate) fn ask(&mut self, step: &Value) {
        // A line this short fits into the pipe.
        writeln!(self.steps, "{step}").expect("the Java client is gone");
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let line = tokio::time::timeout(START_WITHIN, self.answers.recv()).await;
        let line = line.expect("the Java client does not answer");
        let answer = line.expect("the Java client has ended; what it said is above");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        if answer.get("error").is_none() {
            return Ok(answer);
        }
        let causes = answer["causes"].as_array().unwrap();
        let causes = causes
            .iter()
            .map(|cause| cause.as_str().unwrap().to_owned());
        Err(Failure {
            causes: causes.collect(),
        })
    }

    async fn text(&mut self, step: Value, name: &str) -> String {
        let answer = self.step(step).await.unwrap();
        answer[name].as_str().unwrap().to_owned()
    }

    /// Begins a global transaction on the client's thread and gives its xid.
    pub(crate) async fn begin(&mut self) -> String {
        self.text(json!({"op": "begin"}), "xid").await
    }

    /// Joins a global transaction that somebody else began.
    pub(crate) async fn bind(&mut self, xid: &str) {
        self.step(json!({"op": "bind", "xid": xid})).await.unwrap();
    }

    pub(crate) async fn unbind(&mut self) {
        self.step(json!({"op": "unbind"})).await.unwrap();
    }

    /// Commits the global transaction that it began; gives the status.
    pub(crate) async fn commit(&mut self) -> String {
        self.text(json!({"op": "commit"}), "status").await
    }

    pub(crate) async fn rollback(&mut self) -> String {
        self.text(json!({"op": "rollback"}), "status").await
    }

    /// One statement in the open local transaction, or in a new one.
    pub(crate) async fn execute(&mut self, sql: &str, arguments: Value) -> Answer {
        self.step(json!({"op": "execute", "sql": sql, "args": arguments}))
            .await
    }

    pub(crate) async fn commit_local(&mut self) -> Answer {
        self.step(json!({"op": "commitLocal"})).await
    }

    pub(crate) async fn rollback_local(&mut self) -> Answer {
        self.step(json!({"op": "rollbackLocal"})).await
    }

    /// A branch of one statement.
    pub(crate) async fn branch(&mut self, sql: &str, arguments: Value) -> Answer {
        self.execute(sql, arguments).await?;
        self.commit_local().await
    }

    /// Ends it in good order: it says goodbye to the coordinator.
    pub(crate) async fn exit(mut self) {
        drop(self.steps);
        super::process::until("the Java client to end", START_WITHIN, async || {
            (!self.process.is_running()).then_some(())
        })
        .await;
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }
}

/// Of a database, for a client that wants no encryption on this machine.
pub(crate) fn url(mysql: &Mysql, database: &str) -> String {
    format!(
        "{}?useSSL=false&allowPublicKeyRetrieval=true&connectionTimeZone=UTC",
        mysql.jdbc_url(database)
    )
}
