//! The column `context` of an undo row: `key=value&key=value` in any order.

use std::collections::BTreeMap;
use std::fmt;

use super::UndoError;

/// How `rollback_info` is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    /// An archive with one entry.
    Zip,
    Deflater,
    Zstd,
    Lz4,
    SevenZ,
    Bzip2,
}

const NAMES: [(Compression, &str); 8] = [
    (Compression::None, "NONE"),
    (Compression::Gzip, "GZIP"),
    (Compression::Zip, "ZIP"),
    (Compression::Deflater, "DEFLATER"),
    (Compression::Zstd, "ZSTD"),
    (Compression::Lz4, "LZ4"),
    (Compression::SevenZ, "SEVENZ"),
    (Compression::Bzip2, "BZIP2"),
];

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(kind, _)| kind == self);
        f.write_str(name.map_or("NONE", |(_, name)| name))
    }
}

/// What `context` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub compression: Compression,
    /// The rows with the rest of a log that was too large for one row, in order.
    pub sub_ids: Vec<i64>,
    /// This is such a row, of that branch.
    pub part_of: Option<i64>,
    /// The writer's `max_allowed_packet`, written with split logs.
    pub packet: Option<u64>,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(branch) = self.part_of {
            return write!(f, "branchId={branch}");
        }
        write!(f, "serializer=jackson&compressorType={}", self.compression)?;
        if let Some(packet) = self.packet {
            write!(f, "&map={packet}")?;
        }
        if !self.sub_ids.is_empty() {
            let ids: Vec<_> = self.sub_ids.iter().map(ToString::to_string).collect();
            write!(f, "&subId={}", ids.join(","))?;
        }
        Ok(())
    }
}

impl Context {
    /// Reads the column.
    pub fn parse(text: &str) -> Result<Self, UndoError> {
        let error = |problem: String| UndoError::Context {
            context: text.to_owned(),
            problem,
        };
        let pairs: BTreeMap<&str, &str> = text
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let number = |name: &str, value: &str| {
            value
                .trim()
                .parse::<i64>()
                .map_err(|_| error(format!("{name} {value:?} is no number")))
        };
        if let Some(branch) = pairs.get("branchId") {
            let part_of = Some(number("branchId", branch)?);
            return Ok(Self {
                part_of,
                ..Self::default()
            });
        }
        match pairs.get("serializer") {
            Some(&"jackson") => {}
            Some(other) => {
                let problem = format!(
                    "serializer {other} cannot be read; let all clients use jackson \
                     (client.undo.log-serialization)"
                );
                return Err(error(problem));
            }
            None => return Err(error("it names no serializer".to_owned())),
        }
        let name = pairs.get("compressorType").copied().unwrap_or("NONE");
        let compression = NAMES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name));
        let (compression, _) =
            compression.ok_or_else(|| error(format!("compressor {name} is not known")))?;
        let sub_ids = pairs.get("subId").copied().unwrap_or_default();
        let sub_ids = sub_ids.split(',').filter(|id| !id.is_empty());
        Ok(Self {
            compression: *compression,
            sub_ids: sub_ids
                .map(|id| number("subId", id))
                .collect::<Result<_, _>>()?,
            part_of: None,
            packet: pairs.get("map").and_then(|packet| packet.parse().ok()),
        })
    }
}
