//! What can be wrong with bytes, or with values that do not fit into them.

/// Why bytes are not a frame or a message, or a message cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end inside a field.
    #[error("{field} needs {needed} bytes and only {left} are left")]
    Short {
        field: &'static str,
        needed: usize,
        left: usize,
    },
    #[error("{field} has the negative length {length}")]
    NegativeLength { field: &'static str, length: i32 },
    #[error("{field} is not UTF-8")]
    Utf8 { field: &'static str },
    /// Bytes are left where the message or the head map should have ended.
    #[error("{bytes} bytes too many after {after}")]
    Trailing { after: &'static str, bytes: usize },
    #[error("the stream does not begin with Seata's magic dada but with {found:04x}")]
    Magic { found: u16 },
    #[error("protocol version {found} is not spoken here, only version 1")]
    Version { found: u8 },
    #[error("a frame of {length} bytes is outside 16 to 8388608")]
    FrameLength { length: i64 },
    #[error("the head of {head} bytes does not fit a frame of {frame} bytes")]
    HeadLength { head: usize, frame: usize },
    #[error("message type {found} is not known")]
    FrameKind { found: u8 },
    #[error("serialiser {found:#04x} is not spoken here, only seata (1)")]
    Serialiser { found: u8 },
    #[error("compressor {found} is not spoken here, only none (0)")]
    Compressor { found: u8 },
    #[error("type code {found} is not a message")]
    TypeCode { found: i16 },
    #[error("result code {found} is neither failed (0) nor success (1)")]
    ResultCode { found: u8 },
    /// A merged message inside a merged message.
    #[error("a merged message holds another merged message")]
    Nested,
    /// What a merged message says of itself and what it holds differ.
    #[error("{what} says {said} and is {found}")]
    Mismatch {
        what: &'static str,
        said: i64,
        found: usize,
    },
    #[error("{field} of {bytes} bytes is longer than the {max} the protocol has room for")]
    TooLong {
        field: &'static str,
        bytes: usize,
        max: usize,
    },
    /// Not about bytes: the connection itself failed. Here because a stream's decoder has one error.
    #[error("input/output: {0}")]
    Io(String),
}

impl From<std::io::Error> for CodecError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}
