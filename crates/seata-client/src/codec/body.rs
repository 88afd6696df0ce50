//! Messages to bytes and back: a type code of two bytes, then the fields in the protocol's order.
//! A failed answer still carries its remaining fields, empty.

use bytes::{BufMut, Bytes, BytesMut};

use super::fields::{Reader, put_long_text, put_short_text};
use super::{
    BranchEnd, BranchEnded, BranchRegister, BranchRegistered, BranchReport, BranchStatus,
    CodecError, GlobalBegin, GlobalBegun, GlobalEnd, GlobalEnded, GlobalReport, GlobalStatus,
    LockQueried, Merged, Message, Register, Registered, ResultHead, UndoLogDelete,
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

/// One struct of fields, in the protocol's order.
trait Fields: Sized {
    fn read(from: &mut Reader) -> Result<Self, CodecError>;
    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError>;
}

impl Fields for ResultHead {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        let failure = match from.u8("result code")? {
            0 => Some(from.short_text("message")?),
            1 => None,
            found => return Err(CodecError::ResultCode { found }),
        };
        let code = from.u8("exception code")?;
        Ok(Self { failure, code })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        out.put_u8(u8::from(self.failure.is_none()));
        if let Some(message) = &self.failure {
            put_short_text(out, "message", message)?;
        }
        out.put_u8(self.code);
        Ok(())
    }
}

impl Fields for Register {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            version: from.short_text("version")?,
            application_id: from.short_text("application id")?,
            tx_service_group: from.short_text("transaction service group")?,
            extra_data: from.short_text("extra data")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        put_short_text(out, "version", &self.version)?;
        put_short_text(out, "application id", &self.application_id)?;
        put_short_text(out, "transaction service group", &self.tx_service_group)?;
        put_short_text(out, "extra data", &self.extra_data)
    }
}

impl Fields for Registered {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            identified: from.u8("identified")? != 0,
            version: from.short_text("version")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        out.put_u8(u8::from(self.identified));
        put_short_text(out, "version", &self.version)
    }
}

impl Fields for GlobalBegin {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            timeout_ms: from.i32("timeout")?,
            name: from.short_text("name")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        out.put_i32(self.timeout_ms);
        put_short_text(out, "name", &self.name)
    }
}

impl Fields for GlobalBegun {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            result: ResultHead::read(from)?,
            xid: from.short_text("xid")?,
            extra_data: from.short_text("extra data")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        self.result.write(out)?;
        put_short_text(out, "xid", &self.xid)?;
        put_short_text(out, "extra data", &self.extra_data)
    }
}

impl Fields for GlobalEnd {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            xid: from.short_text("xid")?,
            extra_data: from.short_text("extra data")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        put_short_text(out, "xid", &self.xid)?;
        put_short_text(out, "extra data", &self.extra_data)
    }
}

impl Fields for GlobalEnded {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            result: ResultHead::read(from)?,
            status: GlobalStatus::from_number(from.u8("global status")?),
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        self.result.write(out)?;
        out.put_u8(self.status.number());
        Ok(())
    }
}

impl Fields for GlobalReport {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            xid: from.short_text("xid")?,
            extra_data: from.short_text("extra data")?,
            status: GlobalStatus::from_number(from.u8("global status")?),
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        put_short_text(out, "xid", &self.xid)?;
        put_short_text(out, "extra data", &self.extra_data)?;
        out.put_u8(self.status.number());
        Ok(())
    }
}

impl Fields for BranchRegister {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            xid: from.short_text("xid")?,
            branch_type: from.u8("branch type")?,
            resource_id: from.short_text("resource id")?,
            lock_key: from.long_text("lock key")?,
            application_data: from.long_text("application data")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        put_short_text(out, "xid", &self.xid)?;
        out.put_u8(self.branch_type);
        put_short_text(out, "resource id", &self.resource_id)?;
        put_long_text(out, "lock key", &self.lock_key)?;
        put_long_text(out, "application data", &self.application_data)
    }
}

impl Fields for BranchRegistered {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            result: ResultHead::read(from)?,
            branch_id: from.i64("branch id")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        self.result.write(out)?;
        out.put_i64(self.branch_id);
        Ok(())
    }
}

impl Fields for BranchReport {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            xid: from.short_text("xid")?,
            branch_id: from.i64("branch id")?,
            status: BranchStatus::from_number(from.u8("branch status")?),
            resource_id: from.short_text("resource id")?,
            application_data: from.long_text("application data")?,
            branch_type: from.u8("branch type")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        put_short_text(out, "xid", &self.xid)?;
        out.put_i64(self.branch_id);
        out.put_u8(self.status.number());
        put_short_text(out, "resource id", &self.resource_id)?;
        put_long_text(out, "application data", &self.application_data)?;
        out.put_u8(self.branch_type);
        Ok(())
    }
}

impl Fields for LockQueried {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            result: ResultHead::read(from)?,
            lockable: from.i16("lockable")? == 1,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        self.result.write(out)?;
        out.put_i16(i16::from(self.lockable));
        Ok(())
    }
}

impl Fields for BranchEnd {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            xid: from.short_text("xid")?,
            branch_id: from.i64("branch id")?,
            branch_type: from.u8("branch type")?,
            resource_id: from.short_text("resource id")?,
            application_data: from.long_text("application data")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        put_short_text(out, "xid", &self.xid)?;
        out.put_i64(self.branch_id);
        out.put_u8(self.branch_type);
        put_short_text(out, "resource id", &self.resource_id)?;
        put_long_text(out, "application data", &self.application_data)
    }
}

impl Fields for BranchEnded {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            result: ResultHead::read(from)?,
            xid: from.short_text("xid")?,
            branch_id: from.i64("branch id")?,
            status: BranchStatus::from_number(from.u8("branch status")?),
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        self.result.write(out)?;
        put_short_text(out, "xid", &self.xid)?;
        out.put_i64(self.branch_id);
        out.put_u8(self.status.number());
        Ok(())
    }
}

impl Fields for UndoLogDelete {
    fn read(from: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            branch_type: from.u8("branch type")?,
            resource_id: from.short_text("resource id")?,
            save_days: from.i16("save days")?,
        })
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        out.put_u8(self.branch_type);
        put_short_text(out, "resource id", &self.resource_id)?;
        out.put_i16(self.save_days);
        Ok(())
    }
}
