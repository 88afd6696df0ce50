//! Prepay: what an order must say, and what its payer is led to.

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, ApiError, Input};
use crate::book::{CreateError, NewCharge};
use crate::fingerprint::fingerprint;
use crate::{Channel, ids};

/// `time_expire` lies at least a minute ahead; five seconds of it may pass on the way.
const EXPIRY_SECONDS_MIN: i64 = 55;
const EXPIRY_SECONDS_MAX: i64 = 90 * 86_400;
/// The number behind INVALID_REQUEST when a repeat differs from the first request.
const CAUSE_CHANGED: u64 = 268_498_688;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TradeKind {
    Native,
    Jsapi,
    App,
    H5,
}

impl TradeKind {
    pub(super) fn parse(segment: &str) -> Option<Self> {
        Some(match segment {
            "native" => Self::Native,
            "jsapi" => Self::Jsapi,
            "app" => Self::App,
            "h5" => Self::H5,
            _ => return None,
        })
    }

    const fn trade_type(self) -> &'static str {
        match self {
            Self::Native => "NATIVE",
            Self::Jsapi => "JSAPI",
            Self::App => "APP",
            Self::H5 => "MWEB",
        }
    }

    const fn code_seconds(self) -> i64 {
        match self {
            Self::Native | Self::Jsapi | Self::App => 2 * 3600,
            Self::H5 => 300,
        }
    }

    /// What the payer is led to.
    fn answer(self, code: &str) -> Value {
        match self {
            Self::Native => json!({"code_url": format!("weixin://wxpay/bizpayurl?pr={code}")}),
            Self::Jsapi | Self::App => json!({"prepay_id": code}),
            Self::H5 => json!({"h5_url": format!(
                "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id={code}"
            )}),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Prepay {
    appid: Option<String>,
    mchid: Option<String>,
    description: Option<String>,
    out_trade_no: Option<String>,
    notify_url: Option<String>,
    time_expire: Option<String>,
    #[serde(default)]
    attach: String,
    amount: Option<Amount>,
    payer: Option<Payer>,
    scene_info: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Amount {
    total: i64,
    currency: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Payer {
    openid: Option<String>,
}

pub(super) fn prepay(input: &Input<'_>, kind: TradeKind) -> Result<Answer, ApiError> {
    let body = input.json()?;
    let request = Prepay::deserialize(&body)
        .map_err(|error| ApiError::parameter("/body", &error.to_string()))?;
    let now = input.simulator.clock.moment();
    let new = checked(input, request, &body, kind)?;
    let known = input
        .simulator
        .book(Channel::Wechat)
        .charge(&new.out_trade_no)
        .is_some();
    if !known {
        check_expiry(new.expires, now.wall)?;
    }
    let mut book = input.simulator.book(Channel::Wechat);
    match book.create(new, now) {
        Ok((charge, _)) => Ok(Answer::ok(&kind.answer(&charge.code))),
        Err(error) => Err(create_error(&error)),
    }
}

fn checked(
    input: &Input<'_>,
    request: Prepay,
    body: &Value,
    kind: TradeKind,
) -> Result<NewCharge, ApiError> {
    let keys = input.simulator.keys.wechat();
    let required = |value: Option<String>, field: &str| {
        value
            .filter(|text| !text.is_empty())
            .ok_or_else(|| ApiError::parameter(field, "缺少必填字段"))
    };
    if required(request.mchid, "/mchid")? != keys.mch_id {
        return Err(ApiError::parameter("/mchid", "与签名的商户号不一致"));
    }
    if required(request.appid, "/appid")? != keys.app_id {
        let (code, message) = ("APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, code, message));
    }
    let description = required(request.description, "/description")?;
    let out_trade_no = required(request.out_trade_no, "/out_trade_no")?;
    let notify_url = required(request.notify_url, "/notify_url")?;
    let amount = request
        .amount
        .ok_or_else(|| ApiError::parameter("/amount", "缺少必填字段"))?;
    let openid = request.payer.and_then(|payer| payer.openid);
    let has_type = |scene: Value| scene.pointer("/h5_info/type").is_some();
    let rules = [
        (
            description.chars().count() <= 127,
            "/description",
            "长度超过127",
        ),
        (
            valid_number(&out_trade_no),
            "/out_trade_no",
            "须为6至32位字母数字_-|*",
        ),
        (
            valid_url(&notify_url),
            "/notify_url",
            "须为不带参数的http(s)地址，长度不超过255",
        ),
        (
            request.attach.chars().count() <= 128,
            "/attach",
            "长度超过128",
        ),
        (
            amount.total >= 1,
            "/amount/total",
            "须为大于0的整数，单位为分",
        ),
        (
            amount.currency.is_none_or(|code| code == "CNY"),
            "/amount/currency",
            "只支持CNY",
        ),
        (
            kind != TradeKind::Jsapi || openid.is_some(),
            "/payer/openid",
            "缺少必填字段",
        ),
        (
            kind != TradeKind::H5 || request.scene_info.is_some_and(has_type),
            "/scene_info/h5_info",
            "缺少必填字段",
        ),
    ];
    if let Some((_, field, issue)) = rules.into_iter().find(|(holds, ..)| !holds) {
        return Err(ApiError::parameter(field, issue));
    }
    Ok(NewCharge {
        out_trade_no,
        fingerprint: fingerprint(kind.trade_type(), body),
        trade_type: kind.trade_type(),
        description,
        attach: request.attach,
        amount_minor: amount.total,
        notify_url,
        code: ids::prepay(),
        code_seconds: Some(kind.code_seconds()),
        expires: request
            .time_expire
            .as_deref()
            .map(parse_expiry)
            .transpose()?,
    })
}

fn parse_expiry(text: &str) -> Result<Timestamp, ApiError> {
    text.parse()
        .map_err(|_| ApiError::parameter("/time_expire", "须为RFC3339格式"))
}

fn check_expiry(expires: Option<Timestamp>, now: Timestamp) -> Result<(), ApiError> {
    let Some(expires) = expires else {
        return Ok(());
    };
    let ahead = expires.duration_since(now);
    let range = SignedDuration::from_secs(EXPIRY_SECONDS_MIN)
        ..=SignedDuration::from_secs(EXPIRY_SECONDS_MAX);
    if range.contains(&ahead) {
        Ok(())
    } else {
        Err(ApiError::parameter(
            "/time_expire",
            "须在1分钟之后、90天之内",
        ))
    }
}

fn valid_number(number: &str) -> bool {
    (6..=32).contains(&number.len())
        && number
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-|*".contains(&b))
}

fn valid_url(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= 255
        && !url.contains(['?', '#'])
}

fn create_error(error: &CreateError) -> ApiError {
    let invalid = |message| ApiError::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message);
    match error {
        CreateError::Changed => ApiError {
            cause: CAUSE_CHANGED,
            ..invalid("请求重入时，参数与首次请求时不一致")
        },
        CreateError::Expired => invalid("订单已过期"),
        CreateError::Paid | CreateError::Closed => {
            ApiError::new(StatusCode::FORBIDDEN, "OUT_TRADE_NO_USED", "商户订单号重复")
        }
        CreateError::Full => super::system_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merchant_numbers_and_urls_are_bounded() {
        for (number, valid) in [("abc-_|*", true), ("short", false), ("with space", false)] {
            assert_eq!(valid_number(number), valid, "{number}");
        }
        assert!(!valid_number(&"a".repeat(33)));
        assert!(valid_url("http://host:1/callbacks/wechat"));
        assert!(!valid_url("https://host/path?x=1"));
        assert!(!valid_url("ftp://host/"));
    }
}
