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

/// A way to pay over a channel: who opens what. Names are part of the API and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayMethod {
    /// WeChat Pay: the payer scans a code that the merchant shows.
    WechatNative,
    /// WeChat Pay inside WeChat (official account or mini program); needs the payer's openid.
    WechatJsapi,
    /// WeChat Pay from a browser outside WeChat; needs the payer's IP address.
    WechatH5,
    /// WeChat Pay from the merchant's own app.
    WechatApp,
    /// Alipay: the payer scans a code that the merchant shows.
    AlipayPrecreate,
    /// Alipay on a computer's web page.
    AlipayPage,
    /// Alipay on a phone's web page.
    AlipayWap,
    /// Alipay from the merchant's own app.
    AlipayApp,
    /// Alipay inside Alipay (mini program); needs the buyer's id.
    AlipayCreate,
}

impl PayMethod {
    pub const ALL: [Self; 9] = [
        Self::WechatNative,
        Self::WechatJsapi,
        Self::WechatH5,
        Self::WechatApp,
        Self::AlipayPrecreate,
        Self::AlipayPage,
        Self::AlipayWap,
        Self::AlipayApp,
        Self::AlipayCreate,
    ];

    pub const fn channel(self) -> ChannelKind {
        match self {
            Self::WechatNative | Self::WechatJsapi | Self::WechatH5 | Self::WechatApp => {
                ChannelKind::Wechat
            }
            Self::AlipayPrecreate
            | Self::AlipayPage
            | Self::AlipayWap
            | Self::AlipayApp
            | Self::AlipayCreate => ChannelKind::Alipay,
        }
    }

    /// The name beside its channel: `native`, `jsapi`, `h5`, `app`; `precreate`, `page`, `wap`,
    /// `app`, `create`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WechatNative => "native",
            Self::WechatJsapi => "jsapi",
            Self::WechatH5 => "h5",
            Self::WechatApp | Self::AlipayApp => "app",
            Self::AlipayPrecreate => "precreate",
            Self::AlipayPage => "page",
            Self::AlipayWap => "wap",
            Self::AlipayCreate => "create",
        }
    }

    /// The method of that name on that channel, if there is one.
    pub fn parse(channel: ChannelKind, name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.channel() == channel && method.as_str() == name)
    }

    /// What a channel is asked for when the request does not say.
    pub const fn default_of(channel: ChannelKind) -> Self {
        match channel {
            ChannelKind::Wechat => Self::WechatNative,
            ChannelKind::Alipay => Self::AlipayPrecreate,
        }
    }

    /// Whether the channel hears of the order when it is created here. The others are signed
    /// texts that the payer's browser or app carries to the channel.
    pub const fn calls_the_channel(self) -> bool {
        match self {
            Self::WechatNative
            | Self::WechatJsapi
            | Self::WechatH5
            | Self::WechatApp
            | Self::AlipayPrecreate
            | Self::AlipayCreate => true,
            Self::AlipayPage | Self::AlipayWap | Self::AlipayApp => false,
        }
    }

    /// Whether the channel has to be told who pays (openid at WeChat Pay, buyer id at Alipay).
    pub const fn needs_payer_id(self) -> bool {
        matches!(self, Self::WechatJsapi | Self::AlipayCreate)
    }

    /// Whether the channel has to be told the payer's IP address.
    pub const fn needs_client_ip(self) -> bool {
        matches!(self, Self::WechatH5)
    }
}

impl fmt::Display for PayMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
