//! The payment channels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Name of the channel Secret when the resource does not say.
pub const SECRET_NAME: &str = "payment-service-secret";
pub const WECHAT_URL: &str = "https://api.mch.weixin.qq.com";
pub const ALIPAY_URL: &str = "https://openapi.alipay.com/gateway.do";

/// The payment channels. At least one must be switched on, or the simulator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::CHANNELS))]
pub struct Channels {
    /// `true` runs a simulator of both channels in the namespace, makes keys for it and sends
    /// all payments there. No money moves.
    pub simulator: bool,
    /// Secret in this namespace with the keys of the channels that are switched on:
    /// `wechat-app-id`, `wechat-mch-id`, `wechat-api-key`, `wechat-private-key`,
    /// `wechat-merchant-serial`, `wechat-public-key-id`, `wechat-public-key`; `alipay-app-id`,
    /// `alipay-private-key`, `alipay-public-key`. Changes take effect by a rolling restart.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub secret_name: String,
    /// WeChat Pay.
    pub wechat: Wechat,
    /// Alipay.
    pub alipay: Alipay,
    /// Scheme and host under which the channels reach the callback service, such as
    /// `https://pay.example.com`. Left out: the first host of `expose`, or the callback Service
    /// itself when the simulator is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = r"^https?://[A-Za-z0-9.:-]+$"))]
    pub callback_base_url: Option<String>,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            simulator: false,
            secret_name: SECRET_NAME.to_owned(),
            wechat: Wechat::default(),
            alipay: Alipay::default(),
            callback_base_url: None,
        }
    }
}

/// WeChat Pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Wechat {
    /// `true` takes payments through WeChat Pay.
    pub enabled: bool,
    /// Address of WeChat Pay's API, without a final slash.
    #[schemars(length(max = 500), regex(pattern = r"^https://[A-Za-z0-9.:-]+$"))]
    pub base_url: String,
    /// `true` also trusts WeChat Pay's platform certificates, downloaded and refreshed by the
    /// services; for merchants registered before WeChat Pay public keys existed. The Secret's
    /// `wechat-public-key` and its id are then optional.
    pub platform_certificates: bool,
}

impl Default for Wechat {
    fn default() -> Self {
        Self {
            enabled: false,
            base_url: WECHAT_URL.to_owned(),
            platform_certificates: false,
        }
    }
}

/// Alipay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Alipay {
    /// `true` takes payments through Alipay.
    pub enabled: bool,
    /// Address of Alipay's gateway.
    #[schemars(length(max = 500), regex(pattern = r"^https://[A-Za-z0-9.:/_-]+$"))]
    pub gateway_url: String,
    /// `true` talks to Alipay in certificate mode: the Secret holds `alipay-app-certificate`,
    /// `alipay-certificate` and `alipay-root-certificates` instead of `alipay-public-key`.
    pub certificate_mode: bool,
}

impl Default for Alipay {
    fn default() -> Self {
        Self {
            enabled: false,
            gateway_url: ALIPAY_URL.to_owned(),
            certificate_mode: false,
        }
    }
}
