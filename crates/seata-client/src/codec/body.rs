//! Messages to bytes and back: a type code of two bytes, then the message's fields.

use bytes::{BufMut, Bytes, BytesMut};

use super::fields::{Reader, put_long_text};
use super::structs::Fields as _;
use super::{
    BranchEnd, BranchEnded, BranchRegister, BranchRegistered, BranchReport, CodecError,
    GlobalBegin, GlobalBegun, GlobalEnd, GlobalEnded, GlobalReport, LockQueried, Merged, Message,
    Register, Registered, ResultHead, UndoLogDelete,
};

impl Message {
    /// The body of a frame.
    pub fn encode(&self) -> Result<Bytes, CodecError> {
        let mut out = BytesMut::with_capacity(128);
        out.put_i16(self.type_code());
        write_fields(self, &mut out)?;
        Ok(out.freeze())
    }

    /// A whole body: nothing may be left over.
    pub fn decode(body: Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader(body);
        let type_code = reader.i16("type code")?;
        let message = if Self::is_merged(type_code) {
            read_merged(type_code, &mut reader)?
        } else {
            read_fields(type_code, &mut reader)?
        };
        reader.end("the message")?;
        Ok(message)
    }
}

fn read_fields(type_code: i16, from: &mut Reader) -> Result<Message, CodecError> {
    Ok(match type_code {
        1 => Message::GlobalBegin(GlobalBegin::read(from)?),
        2 => Message::GlobalBeginResponse(GlobalBegun::read(from)?),
        3 => Message::BranchCommit(BranchEnd::read(from)?),
        4 => Message::BranchCommitResponse(BranchEnded::read(from)?),
        5 => Message::BranchRollback(BranchEnd::read(from)?),
        6 => Message::BranchRollbackResponse(BranchEnded::read(from)?),
        7 => Message::GlobalCommit(GlobalEnd::read(from)?),
        8 => Message::GlobalCommitResponse(GlobalEnded::read(from)?),
        9 => Message::GlobalRollback(GlobalEnd::read(from)?),
        10 => Message::GlobalRollbackResponse(GlobalEnded::read(from)?),
        11 => Message::BranchRegister(BranchRegister::read(from)?),
        12 => Message::BranchRegisterResponse(BranchRegistered::read(from)?),
        13 => Message::BranchReport(BranchReport::read(from)?),
        14 => Message::BranchReportResponse(ResultHead::read(from)?),
        15 => Message::GlobalStatus(GlobalEnd::read(from)?),
        16 => Message::GlobalStatusResponse(GlobalEnded::read(from)?),
        17 => Message::GlobalReport(GlobalReport::read(from)?),
        18 => Message::GlobalReportResponse(GlobalEnded::read(from)?),
        21 => Message::GlobalLockQuery(BranchRegister::read(from)?),
        22 => Message::GlobalLockQueryResponse(LockQueried::read(from)?),
        101 => Message::RegisterTm(Register::read(from)?),
        102 => Message::RegisterTmResponse(Registered::read(from)?),
        103 => Message::RegisterRm(Register::read(from)?, from.long_text("resource ids")?),
        104 => Message::RegisterRmResponse(Registered::read(from)?),
        111 => Message::UndoLogDelete(UndoLogDelete::read(from)?),
        found => return Err(CodecError::TypeCode { found }),
    })
}

/// The length counts what comes after it; the number of messages is only believed as they arrive.
fn read_merged(type_code: i16, from: &mut Reader) -> Result<Message, CodecError> {
    let said = from.i32("merged length")?;
    let found = from.0.len();
    if usize::try_from(said) != Ok(found) {
        return Err(CodecError::Mismatch {
            what: "the merged length",
            said: i64::from(said),
            found,
        });
    }
    let count = from.count("merged count")?;
    let mut messages = Vec::new();
    for _ in 0..count {
        let code = from.i16("type code")?;
        if Message::is_merged(code) {
            return Err(CodecError::Nested);
        }
        messages.push(read_fields(code, from)?);
    }
    if type_code == 60 {
        return Ok(Message::MergeResult(messages));
    }
    let mut named = Vec::with_capacity(messages.len());
    for message in messages {
        named.push((message, from.i32("message id")?));
    }
    let merged = Merged { messages: named };
    Ok(if type_code == 59 {
        Message::MergedWarp(merged)
    } else {
        Message::BatchResult(merged)
    })
}

fn write_fields(message: &Message, out: &mut BytesMut) -> Result<(), CodecError> {
    match message {
        Message::GlobalBegin(it) => it.write(out),
        Message::GlobalBeginResponse(it) => it.write(out),
        Message::BranchCommit(it) | Message::BranchRollback(it) => it.write(out),
        Message::BranchCommitResponse(it) | Message::BranchRollbackResponse(it) => it.write(out),
        Message::GlobalCommit(it) | Message::GlobalRollback(it) | Message::GlobalStatus(it) => {
            it.write(out)
        }
        Message::GlobalCommitResponse(it)
        | Message::GlobalRollbackResponse(it)
        | Message::GlobalStatusResponse(it)
        | Message::GlobalReportResponse(it) => it.write(out),
        Message::BranchRegister(it) | Message::GlobalLockQuery(it) => it.write(out),
        Message::BranchRegisterResponse(it) => it.write(out),
        Message::BranchReport(it) => it.write(out),
        Message::BranchReportResponse(it) => it.write(out),
        Message::GlobalReport(it) => it.write(out),
        Message::GlobalLockQueryResponse(it) => it.write(out),
        Message::RegisterTm(it) => it.write(out),
        Message::RegisterTmResponse(it) | Message::RegisterRmResponse(it) => it.write(out),
        Message::RegisterRm(it, resources) => {
            it.write(out)?;
            put_long_text(out, "resource ids", resources)
        }
        Message::UndoLogDelete(it) => it.write(out),
        Message::MergedWarp(it) | Message::BatchResult(it) => {
            let messages = it.messages.iter().map(|(message, _)| message);
            let ids = it.messages.iter().map(|(_, id)| *id);
            write_merged(messages, ids, out)
        }
        Message::MergeResult(it) => write_merged(it.iter(), std::iter::empty(), out),
    }
}

fn write_merged<'a>(
    messages: impl ExactSizeIterator<Item = &'a Message>,
    ids: impl Iterator<Item = i32>,
    out: &mut BytesMut,
) -> Result<(), CodecError> {
    let mut rest = BytesMut::new();
    let count = messages.len();
    rest.put_i16(i16::try_from(count).map_err(|_| CodecError::TooLong {
        field: "merged count",
        bytes: count,
        max: i16::MAX as usize,
    })?);
    for message in messages {
        if Message::is_merged(message.type_code()) {
            return Err(CodecError::Nested);
        }
        rest.put_i16(message.type_code());
        write_fields(message, &mut rest)?;
    }
    ids.for_each(|id| rest.put_i32(id));
    out.put_i32(i32::try_from(rest.len()).map_err(|_| CodecError::TooLong {
        field: "merged length",
        bytes: rest.len(),
        max: i32::MAX as usize,
    })?);
    out.put_slice(&rest);
    Ok(())
}
