//! The pay channels that exist.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Currency;

/// A pay channel, by the name it has in the API, the database and on metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    Wechat,
    Alipay,
}

impl ChannelKind {
    pub const ALL: [Self; 2] = [Self::Wechat, Self::Alipay];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
        }
    }

    /// Whether the channel settles orders in this currency (both are domestic channels).
    pub fn settles(self, currency: Currency) -> bool {
        match self {
            Self::Wechat | Self::Alipay => currency == Currency::CNY,
        }
    }

    /// The largest amount of one order, in minor units: WeChat Pay's field is an `int32` of fen,
    /// Alipay's documented limit is 100 000 000 yuan.
    pub const fn amount_minor_max(self) -> i64 {
        match self {
            Self::Wechat => 2_147_483_647,
            Self::Alipay => 10_000_000_000,
        }
    }

    /// The channel of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
