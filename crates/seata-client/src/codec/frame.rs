//! One frame: a head of 16 bytes, a map that is normally empty, and a body.
//!
//! ```text
//! 0  magic da da        9  message type       12  request id
//! 2  version 1         10  serialiser (1)     16  head map, head length - 16 bytes
//! 3  full length       11  compressor (0)     ..  body, none in heartbeats
//! 7  head length
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::CodecError;
use super::fields::{Reader, put_short_text};

/// The head without its map.
pub const HEAD_BYTES: usize = 16;
/// The longest frame either side accepts.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

const MAGIC: u16 = 0xdada;
const VERSION: u8 = 1;
const SERIALISER_SEATA: u8 = 1;
const COMPRESSOR_NONE: u8 = 0;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    Request,
    Response,
    /// A request without an answer; merged requests also go as this, and are answered all the same.
    Oneway,
    HeartbeatRequest,
    HeartbeatResponse,
}

impl FrameKind {
    fn from_number(number: u8) -> Result<Self, CodecError> {
        Ok(match number {
            0 => Self::Request,
            1 => Self::Response,
            2 => Self::Oneway,
            3 => Self::HeartbeatRequest,
            4 => Self::HeartbeatResponse,
            found => return Err(CodecError::FrameKind { found }),
        })
    }

    fn number(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Response => 1,
            Self::Oneway => 2,
            Self::HeartbeatRequest => 3,
            Self::HeartbeatResponse => 4,
        }
    }

    fn is_heartbeat(self) -> bool {
        matches!(self, Self::HeartbeatRequest | Self::HeartbeatResponse)
    }
}

/// Keys and values of a head; either may be null.
pub type HeadMap = Vec<(Option<String>, Option<String>)>;

/// A frame whose body is not read yet: a bad body spoils one message, a bad frame the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: FrameKind,
    /// Chosen by who asks, repeated by who answers. Each direction counts for itself.
    pub id: i32,
    pub head: HeadMap,
    /// For [`super::Message::decode`]; empty in heartbeats.
    pub body: Bytes,
}

impl Frame {
    pub fn new(kind: FrameKind, id: i32, body: Bytes) -> Self {
        Self {
            kind,
            id,
            head: HeadMap::new(),
            body,
        }
    }

    pub fn heartbeat(kind: FrameKind, id: i32) -> Self {
        Self::new(kind, id, Bytes::new())
    }
}

/// Cuts a stream of bytes into frames and writes frames into one.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCodec;

/// The lengths of a frame, believed only as far as they are possible.
struct Lengths {
    full: usize,
    head: usize,
}

/// Looks at as much of the head as is there; `None` wants more bytes. What is wrong is said as soon
/// as it is seen, so that a stranger's bytes are not waited for.
fn lengths(src: &[u8]) -> Result<Option<Lengths>, CodecError> {
    let mut head = src;
    if head.remaining() < 2 {
        return Ok(None);
    }
    match head.get_u16() {
        MAGIC => {}
        found => return Err(CodecError::Magic { found }),
    }
    if !head.has_remaining() {
        return Ok(None);
    }
    match head.get_u8() {
        VERSION => {}
        found => return Err(CodecError::Version { found }),
    }
    if head.remaining() < 6 {
        return Ok(None);
    }
    let (length, head_length) = (head.get_i32(), head.get_u16());
    let full = usize::try_from(length)
        .ok()
        .filter(|full| (HEAD_BYTES..=MAX_FRAME_BYTES).contains(full))
        .ok_or(CodecError::FrameLength {
            length: i64::from(length),
        })?;
    let head = usize::from(head_length);
    if !(HEAD_BYTES..=full).contains(&head) {
        return Err(CodecError::HeadLength { head, frame: full });
    }
    Ok(Some(Lengths { full, head }))
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = CodecError;

    /// Reserves nothing: the buffer grows with what arrives, not with what a head claims.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        let Some(Lengths { full, head }) = lengths(src)? else {
            return Ok(None);
        };
        if src.len() < full {
            return Ok(None);
        }
        let mut bytes = src.split_to(full).freeze();
        let body = bytes.split_off(head);
        let map = bytes.split_off(HEAD_BYTES);
        // Magic, version and lengths were looked at.
        bytes.advance(9);
        let kind = FrameKind::from_number(bytes.get_u8())?;
        match bytes.get_u8() {
            SERIALISER_SEATA => {}
            found => return Err(CodecError::Serialiser { found }),
        }
        match bytes.get_u8() {
            COMPRESSOR_NONE => {}
            found => return Err(CodecError::Compressor { found }),
        }
        if kind.is_heartbeat() && !body.is_empty() {
            return Err(CodecError::Trailing {
                after: "a heartbeat",
                bytes: body.len(),
            });
        }
        Ok(Some(Frame {
            kind,
            id: bytes.get_i32(),
            head: read_map(map)?,
            body,
        }))
    }

    /// A stream may only end between frames.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        match self.decode(src)? {
            None if !src.is_empty() => Err(CodecError::Short {
                field: "the last frame",
                needed: lengths(src)?.map_or(HEAD_BYTES, |lengths| lengths.full),
                left: src.len(),
            }),
            frame => Ok(frame),
        }
    }
}

fn read_map(bytes: Bytes) -> Result<HeadMap, CodecError> {
    let mut from = Reader(bytes);
    let mut map = HeadMap::new();
    while !from.0.is_empty() {
        let key = read_nullable(&mut from, "head key")?;
        map.push((key, read_nullable(&mut from, "head value")?));
    }
    Ok(map)
}

/// Null is written as the length -1.
fn read_nullable(from: &mut Reader, field: &'static str) -> Result<Option<String>, CodecError> {
    match from.i16(field)? {
        -1 => Ok(None),
        length => from.text(field, i32::from(length)).map(Some),
    }
}

fn write_map(map: &HeadMap, out: &mut BytesMut) -> Result<(), CodecError> {
    for text in map.iter().flat_map(|(key, value)| [key, value]) {
        match text {
            Some(text) => put_short_text(out, "head map", text)?,
            None => out.put_i16(-1),
        }
    }
    Ok(())
}

impl Encoder<Frame> for FrameCodec {
    type Error = CodecError;

    /// A frame that is too long leaves `dst` as it was.
    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), CodecError> {
        let mut map = BytesMut::new();
        write_map(&frame.head, &mut map)?;
        let head = HEAD_BYTES.saturating_add(map.len());
        // Two bytes, which Java reads as signed.
        let head_length = i16::try_from(head).map_err(|_| CodecError::TooLong {
            field: "head map",
            bytes: map.len(),
            max: i16::MAX as usize - HEAD_BYTES,
        })?;
        let full = head.saturating_add(frame.body.len());
        let full_length = i32::try_from(full)
            .ok()
            .filter(|_| full <= MAX_FRAME_BYTES)
            .ok_or(CodecError::TooLong {
                field: "a frame",
                bytes: full,
                max: MAX_FRAME_BYTES,
            })?;
        dst.reserve(full);
        dst.put_u16(MAGIC);
        dst.put_u8(VERSION);
        dst.put_i32(full_length);
        dst.put_i16(head_length);
        dst.put_u8(frame.kind.number());
        dst.put_u8(SERIALISER_SEATA);
        dst.put_u8(COMPRESSOR_NONE);
        dst.put_i32(frame.id);
        dst.put_slice(&map);
        dst.put_slice(&frame.body);
        Ok(())
    }
}
