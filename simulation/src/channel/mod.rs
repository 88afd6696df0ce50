//! The channels: their own books, the payers, and the callbacks they send.
//!
//! Guarantees: a channel keeps its promises as the real ones do (idempotent numbers, a close of a
//! paid order is refused, a refund never exceeds its charge), except where a seed lets it break
//! one, and then the book says so. No code of crate `channels` runs here, only its types.

pub mod bills;
pub mod book;
pub mod delivery;
pub mod notices;
pub mod payer;
pub mod port;
mod spoken;

use payment_core::ChannelKind;

/// The name people know the channel by.
pub const fn name(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Wechat => "WeChat Pay",
        ChannelKind::Alipay => "Alipay",
    }
}
