//! From the body of `POST /api/payments` to a checked [`Order`].

use std::fmt::Write as _;
use std::time::Duration;

use payment_core::{ChannelKind, Currency, Money};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Problem;
use crate::payments::{Order, Payments};

const ITEMS_MAX: usize = 100;
/// The shortest and longest time a payer may get; WeChat Pay takes no less than a minute.
const EXPIRES_IN_SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400 * 7;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    order_id: String,
    /// Kept as text: a binary float must never touch an amount.
    amount: Box<RawValue>,
    currency: String,
    user_id: String,
    channel: Option<String>,
    method: Option<String>,
    subject: Option<String>,
    #[serde(default)]
    items: Vec<Item>,
    expires_in_seconds: Option<u64>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Item {
    product_id: String,
    quantity: u32,
}

/// Parses and checks a request.
pub(super) fn parse(body: &[u8], payments: &Payments) -> Result<Order, Problem> {
    let body: Body = serde_json::from_slice(body).map_err(|error| Problem::bad_json(&error))?;
    let configured = payments.kinds();
    check(
        body,
        &configured,
        payments.config.payment.expires_in_seconds,
    )
}

fn check(body: Body, configured: &[ChannelKind], default_expiry: u64) -> Result<Order, Problem> {
    check_id("orderId", &body.order_id)?;
    check_id("userId", &body.user_id)?;
    check_items(&body.items)?;
    let channel = channel(body.channel.as_deref(), configured)?;
    let amount = amount(&body.amount, &body.currency, channel)?;
    let method = method(body.method.as_deref(), channel)?;
    let subject = body
        .subject
        .unwrap_or_else(|| format!("Order {}", body.order_id));
    if subject.is_empty() || subject.chars().count() > 128 || subject.chars().any(char::is_control)
    {
        return Err(Problem::invalid(
            "subject",
            "must have 1 to 128 printable characters",
        ));
    }
    let expires_in = body.expires_in_seconds.unwrap_or(default_expiry);
    if !EXPIRES_IN_SECONDS.contains(&expires_in) {
        return Err(Problem::invalid(
            "expiresInSeconds",
            "must be between 60 and 604800",
        ));
    }
    let canonical = serde_json::json!([
        body.order_id,
        amount.minor,
        amount.currency.code(),
        body.user_id,
        channel.as_str(),
        method,
        subject,
        body.items,
        expires_in,
    ]);
    Ok(Order {
        order_id: body.order_id,
        user_id: body.user_id,
        amount,
        channel,
        method,
        subject,
        request_hash: sha256_hex(&canonical.to_string()),
        expires_in: Duration::from_secs(expires_in),
    })
}

fn check_id(param: &'static str, value: &str) -> Result<(), Problem> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:|*@".contains(&b);
    if (1..=64).contains(&value.len()) && value.bytes().all(allowed) {
        return Ok(());
    }
    Err(Problem::invalid(
        param,
        "must have 1 to 64 characters out of letters, digits and -_.:|*@",
    ))
}

fn check_items(items: &[Item]) -> Result<(), Problem> {
    if items.len() > ITEMS_MAX {
        return Err(Problem::invalid("items", "has more than 100 entries"));
    }
    for item in items {
        check_id("items.productId", &item.product_id)?;
        if item.quantity == 0 {
            return Err(Problem::invalid("items.quantity", "must be at least 1"));
        }
    }
    Ok(())
}

fn channel(given: Option<&str>, configured: &[ChannelKind]) -> Result<ChannelKind, Problem> {
    let unknown = || Problem::invalid("channel", "must be one of wechat, alipay");
    let kind = match given {
        Some(name) => ChannelKind::parse(name).ok_or_else(unknown)?,
        None => *configured.first().ok_or_else(unknown)?,
    };
    if !configured.contains(&kind) {
        return Err(Problem::invalid("channel", "is not configured here"));
    }
    Ok(kind)
}

fn amount(raw: &RawValue, currency: &str, channel: ChannelKind) -> Result<Money, Problem> {
    let currency = Currency::parse(currency).map_err(|error| Problem::money(&error))?;
    let text = raw.get();
    let text = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(text);
    let money = Money::parse(text, currency).map_err(|error| Problem::money(&error))?;
    if money.minor <= 0 {
        return Err(Problem::invalid("amount", "must be greater than zero"));
    }
    if !channel.settles(currency) {
        let code = currency.code();
        let problem = format!("{code} is not settled by {channel}, which takes CNY");
        return Err(Problem::invalid("currency", &problem));
    }
    if money.minor > channel.amount_minor_max() {
        return Err(Problem::invalid(
            "amount",
            "is larger than the channel takes",
        ));
    }
    Ok(money)
}

fn method(given: Option<&str>, channel: ChannelKind) -> Result<&'static str, Problem> {
    let only = match channel {
        ChannelKind::Wechat => "native",
        ChannelKind::Alipay => "precreate",
    };
    match given {
        None => Ok(only),
        Some(name) if name == only => Ok(only),
        Some(_) => Err(Problem::invalid(
            "method",
            &format!("must be {only} for {channel}"),
        )),
    }
}

fn sha256_hex(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing into a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn checked(json: &str) -> Result<Order, Problem> {
        let body = serde_json::from_str(json).map_err(|error| Problem::bad_json(&error))?;
        check(body, &ChannelKind::ALL, 7200)
    }

    fn with(change: &str) -> String {
        let mut body: serde_json::Value = serde_json::json!({
            "orderId": "ORDER-1", "amount": "99.99", "currency": "CNY", "userId": "U-1"
        });
        let change: serde_json::Value = serde_json::from_str(change).unwrap();
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        body.to_string()
    }

    #[test]
    fn numbers_and_strings_are_the_same_exact_amount() {
        let text = r#"{"orderId":"O","amount":99.99,"currency":"CNY","userId":"U"}"#;
        let number = checked(text).unwrap();
        let string = checked(&text.replace("99.99", "\"99.990\"")).unwrap();
        assert_eq!(number.amount.minor, 9999);
        assert_eq!(number.request_hash, string.request_hash);
    }

    #[test]
    fn another_request_has_another_hash() {
        let base = checked(&with("{}")).unwrap().request_hash;
        for change in [
            r#"{"amount":"99.98"}"#,
            r#"{"userId":"U-2"}"#,
            r#"{"channel":"alipay"}"#,
            r#"{"subject":"x"}"#,
            r#"{"items":[{"productId":"P","quantity":1}]}"#,
        ] {
            assert_ne!(
                checked(&with(change)).unwrap().request_hash,
                base,
                "{change}"
            );
        }
    }

    #[test]
    fn bad_requests_are_refused_by_field() {
        let cases = [
            (r#"{"amount":"0"}"#, 422),
            (r#"{"amount":"-1"}"#, 422),
            (r#"{"amount":"1.001"}"#, 422),
            (r#"{"amount":"1e2"}"#, 422),
            (r#"{"amount":null}"#, 422),
            (r#"{"amount":[1]}"#, 422),
            (r#"{"amount":"99999999999999999999"}"#, 422),
            (r#"{"currency":"USD"}"#, 422),
            (r#"{"currency":"yuan"}"#, 422),
            (r#"{"orderId":""}"#, 422),
            (r#"{"orderId":"a b"}"#, 422),
            (r#"{"userId":"ü"}"#, 422),
            (r#"{"channel":"paypal"}"#, 422),
            (r#"{"channel":"alipay","method":"native"}"#, 422),
            (r#"{"subject":""}"#, 422),
            (r#"{"expiresInSeconds":5}"#, 422),
            (r#"{"items":[{"productId":"P","quantity":0}]}"#, 422),
            (r#"{"typo":1}"#, 400),
            (r#"{"orderId":7}"#, 400),
        ];
        for (change, status) in cases {
            let problem = checked(&with(change)).expect_err(change);
            assert_eq!(
                problem.into_response().status().as_u16(),
                status,
                "{change}"
            );
        }
    }
}
