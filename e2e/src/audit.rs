//! The API server's audit log: who asked for what.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A place in the log from which to read later.
pub struct Mark {
    file: PathBuf,
    offset: u64,
}

/// One request that the API server finished.
#[derive(Clone, Debug)]
pub struct Request {
    pub user: String,
    pub verb: String,
    pub uri: String,
    pub resource: String,
}

impl Request {
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }
}

impl Mark {
    /// The present end of the log.
    pub fn end_of(file: PathBuf) -> Result<Self> {
        let size = std::fs::metadata(&file);
        let offset = size
            .with_context(|| format!("cannot read {}", file.display()))?
            .len();
        Ok(Self { file, offset })
    }

    /// Everything written since, in the order it was finished.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let context = || format!("cannot read {}", self.file.display());
        let mut file = File::open(&self.file).with_context(context)?;
        // A log that is shorter than before was rotated: all of it is new.
        let size = file.metadata().with_context(context)?.len();
        let from = if size < self.offset { 0 } else { self.offset };
        file.seek(SeekFrom::Start(from)).with_context(context)?;
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        Ok(lines.filter_map(|line| finished(&line)).collect())
    }
}

fn finished(line: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (event["stage"] == "ResponseComplete").then(|| Request {
        user: text(&event["user"]["username"]),
        verb: text(&event["verb"]),
        uri: text(&event["requestURI"]),
        resource: text(&event["objectRef"]["resource"]),
    })
}
