//! Seata's wire protocol, version 1, with its "seata" binary bodies.
//!
//! Guarantees:
//! - what Java's clients write (2.0.0 and 2.6.0 write the same bytes; servers since 1.8 read them)
//!   is written byte for byte, and read back to the same values;
//! - numbers that a newer peer may have added to an enum are kept, not refused;
//! - whatever bytes arrive end in a value or in a [`CodecError`]: no panic, and no memory taken for
//!   a length somebody merely claims.
//!
//! Deliberately not here: the older protocol 0, compressed bodies, other serialisers (a server
//! answers in the form it was asked in), and any I/O.

mod body;
mod enums;
mod error;
mod fields;
mod frame;
mod message;
mod structs;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use enums::{
    BranchStatus, ExceptionCode, GlobalStatus, ServerGeneration, rolls_back_in_wrong_order,
};
pub use error::CodecError;
pub use frame::{Frame, FrameCodec, FrameKind, HEAD_BYTES, HeadMap, MAX_FRAME_BYTES};
pub use message::{
    BranchEnd, BranchEnded, BranchRegister, BranchRegistered, BranchReport, GlobalBegin,
    GlobalBegun, GlobalEnd, GlobalEnded, GlobalReport, LockQueried, Merged, Message, Register,
    Registered, ResultHead, UndoLogDelete,
};
