//! The API server's audit log: who asked for what, and when.
//!
//! Guarantees: each request is counted once. A watch is counted when it begins, everything else
//! when it is answered; the log's policy (`cluster`) leaves out all other stages.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) user: String,
    pub(super) verb: String,
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) code: u64,
    pub(super) received: Timestamp,
}

impl Request {
    pub(super) fn is_watch(&self) -> bool {
        self.verb == "watch"
    }

    pub(super) fn is_lease(&self) -> bool {
        self.resource == "leases"
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list")
    }

    pub(super) fn is_write(&self) -> bool {
        !self.is_watch() && !self.is_read()
    }

    /// Something that was not there before, and is no Event.
    pub(super) fn is_new_child(&self) -> bool {
        self.code == 201 && self.is_write() && !self.is_lease() && self.resource != "events"
    }

    fn parse(line: &str) -> anyhow::Result<Self> {
        let event: Value = serde_json::from_str(line)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let received = event["requestReceivedTimestamp"].as_str();
        Ok(Self {
            user: text(&event["user"]["username"]),
            verb: text(&event["verb"]),
            resource: text(&event["objectRef"]["resource"]),
            namespace: text(&event["objectRef"]["namespace"]),
            code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            received: received.context("a request without a time")?.parse()?,
        })
    }
}

/// Reads the log from where it was read last.
pub(super) struct Log {
    file: PathBuf,
    offset: u64,
}

impl Log {
    pub(super) fn open(file: PathBuf) -> Self {
        Self { file, offset: 0 }
    }

    /// The requests since the last call, in the order they were logged.
    pub(super) fn read(&mut self) -> anyhow::Result<Vec<Request>> {
        let context = || format!("cannot read {}", self.file.display());
        let mut file = File::open(&self.file).with_context(context)?;
        file.seek(SeekFrom::Start(self.offset))
            .with_context(context)?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(context)?;
        // What is behind the last line feed is still being written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.offset += u64::try_from(whole)?;
        text[..whole]
            .lines()
            .map(Request::parse)
            .collect::<anyhow::Result<_>>()
            .with_context(context)
    }
}
