//! The fields of each message, in the protocol's order. A failed answer still carries its remaining
//! fields, empty.

use bytes::{BufMut, BytesMut};

use super::fields::{Reader, put_long_text, put_short_text};
use super::{
    BranchEnd, BranchEnded, BranchRegister, BranchRegistered, BranchReport, BranchStatus,
    CodecError, GlobalBegin, GlobalBegun, GlobalEnd, GlobalEnded, GlobalReport, GlobalStatus,
    LockQueried, Register, Registered, ResultHead, UndoLogDelete,
};

/// One struct of fields, in the protocol's order.
pub(super) trait Fields: Sized {
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
