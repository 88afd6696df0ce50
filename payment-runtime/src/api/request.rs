//! From the bodies of requests to checked commands: [`Order`], [`Attempt`], [`RefundRequest`].

use std::net::IpAddr;
use std::time::Duration;

use channels::Payer;
use payment_core::{ChannelKind, Currency, Money, PayMethod};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Problem;
use super::openapi::{Amount, ChannelName, MethodName};
use crate::hash::sha256_hex;
use crate::payments::{Attempt, Order, Payments};
use crate::records::{Item, PaymentRecord, RefundOrigin};
use crate::refunds::RefundRequest;

const ITEMS_MAX: usize = 100;
/// The shortest and longest time a payer may get; WeChat Pay takes no less than a minute.
const EXPIRES_IN_SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400 * 7;

/// An order to be paid.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Order)]
pub(super) struct OrderBody {
    /// Unique by itself: one order is paid once.
    #[schema(pattern = "^[A-Za-z0-9_.:|*@-]{1,64}$")]
    order_id: String,
    // Kept as text: a binary float must never touch an amount.
    #[schema(value_type = Amount)]
    amount: Box<RawValue>,
    /// ISO 4217. Both channels settle CNY.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    #[schema(pattern = "^[A-Za-z0-9_.:|*@-]{1,64}$")]
    user_id: String,
    /// What the payer reads. Without it: `Order` and the order's id.
    #[schema(min_length = 1, max_length = 128)]
    subject: Option<String>,
    #[serde(default)]
    #[schema(value_type = Vec<ItemBody>, max_items = 100, required = false)]
    items: Vec<Box<RawValue>>,
    /// Without it: the first that is configured.
    #[schema(value_type = Option<ChannelName>)]
    channel: Option<String>,
    /// WeChat Pay: `native` (default), `jsapi`, `h5`, `app`. Alipay: `precreate` (default), `page`,
    /// `wap`, `app`, `create`.
    #[schema(value_type = Option<MethodName>)]
    method: Option<String>,
    /// Needed with `jsapi` (the payer's openid) and `create` (the buyer's id), refused with others.
    #[schema(pattern = "^[A-Za-z0-9_.:|*@-]{1,64}$")]
    payer_id: Option<String>,
    /// The payer's IP address; needed with `h5`.
    client_ip: Option<String>,
    /// Where the payer's browser goes afterwards; that it comes back proves no payment.
    #[schema(max_length = 255, pattern = "^https?://")]
    return_url: Option<String>,
    /// How long the payer may take. Without it: what the system is configured with.
    #[schema(minimum = 60, maximum = 604_800)]
    expires_in_seconds: Option<u64>,
}

/// What is bought.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Item)]
pub(super) struct ItemBody {
    #[schema(pattern = "^[A-Za-z0-9_.:|*@-]{1,64}$")]
    product_id: String,
    #[schema(minimum = 1)]
    quantity: u32,
}

/// How the payer pays this time.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Attempt)]
pub(super) struct AttemptBody {
    /// Without it: the channel of the attempt before.
    #[schema(value_type = Option<ChannelName>)]
    channel: Option<String>,
    /// As in an order.
    #[schema(value_type = Option<MethodName>)]
    method: Option<String>,
    /// As in an order.
    #[schema(pattern = "^[A-Za-z0-9_.:|*@-]{1,64}$")]
    payer_id: Option<String>,
    /// As in an order.
    client_ip: Option<String>,
    /// As in an order.
    #[schema(max_length = 255, pattern = "^https?://")]
    return_url: Option<String>,
    /// As in an order.
    #[schema(minimum = 60, maximum = 604_800)]
    expires_in_seconds: Option<u64>,
}

/// Money to give back.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewRefund)]
pub(super) struct RefundBody {
    /// Unique within the payment; must not begin with `late-`.
    #[schema(pattern = "^[A-Za-z0-9_.:|*@-]{1,64}$")]
    refund_no: String,
    // In the payment's currency.
    #[schema(value_type = Amount)]
    amount: Box<RawValue>,
    #[schema(min_length = 1, max_length = 80)]
    reason: Option<String>,
}

/// Takes objects only: a derived parser would take an array of the fields' values, too.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::no_object());
    }
    serde_json::from_slice(body).map_err(|error| Problem::bad_json(&error))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Checks the body of a call that takes none: empty, or an object without fields.
pub(super) fn nothing(body: &[u8]) -> Result<(), Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    json::<Nothing>(body).map(|_| ())
}

/// Parses and checks `POST /api/payments`.
pub(super) fn order(body: &[u8], payments: &Payments) -> Result<Order, Problem> {
    let configured = payments.channels.kinds();
    let expiry = payments.config.payment.expires_in_seconds;
    check_order(json(body)?, &configured, expiry)
}

/// The same request, read as on the day its order was placed: what it leaves out may have another
/// default by now.
pub(super) fn order_as_placed(
    body: &[u8],
    payments: &Payments,
    first: &PaymentRecord,
) -> Result<Order, Problem> {
    let configured = first_of_all(first.channel, payments.channels.kinds());
    let lifetime = first.expires_at.duration_since(first.created_at).as_secs();
    check_order(json(body)?, &configured, lifetime.unsigned_abs())
}

fn first_of_all(channel: ChannelKind, mut configured: Vec<ChannelKind>) -> Vec<ChannelKind> {
    configured.sort_by_key(|other| *other != channel);
    configured
}

pub(super) fn check_order(
    body: OrderBody,
    configured: &[ChannelKind],
    default_expiry: u64,
) -> Result<Order, Problem> {
    check_id("orderId", &body.order_id)?;
    check_id("userId", &body.user_id)?;
    let items = items(&body.items)?;
    let channel = channel(body.channel.as_deref(), configured)?;
    let amount = chargeable(&body.amount, &body.currency, channel)?;
    let method = method(body.method.as_deref(), channel)?;
    let payer = payer(method, body.payer_id, body.client_ip, body.return_url)?;
    let subject = subject(body.subject, &body.order_id)?;
    let expires_in = expires_in(body.expires_in_seconds, default_expiry)?;
    let canonical = serde_json::json!([
        body.order_id,
        amount.minor,
        amount.currency.code(),
        body.user_id,
        channel.as_str(),
        method.as_str(),
        subject,
        items,
        expires_in,
        payer,
    ]);
    Ok(Order {
        order_id: body.order_id,
        user_id: body.user_id,
        amount,
        method,
        subject,
        payer,
        items,
        request_hash: sha256_hex(canonical.to_string().as_bytes()),
        expires_in: Duration::from_secs(expires_in),
    })
}

/// Parses and checks another attempt for the order of `previous`.
pub(super) fn attempt(
    body: &[u8],
    payments: &Payments,
    previous: &PaymentRecord,
) -> Result<Attempt, Problem> {
    let body: AttemptBody = json(body)?;
    let configured = payments.channels.kinds();
    let name = body.channel.as_deref();
    let channel = channel(name.or(Some(previous.channel.as_str())), &configured)?;
    check_chargeable(previous.amount, channel)?;
    let method = method(body.method.as_deref(), channel)?;
    let default_expiry = payments.config.payment.expires_in_seconds;
    let expires_in = expires_in(body.expires_in_seconds, default_expiry)?;
    Ok(Attempt {
        method,
        payer: payer(method, body.payer_id, body.client_ip, body.return_url)?,
        expires_in: Duration::from_secs(expires_in),
    })
}

/// Parses and checks a refund of `payment`.
pub(super) fn refund(body: &[u8], payment: &PaymentRecord) -> Result<RefundRequest, Problem> {
    check_refund(json(body)?, payment.amount.currency)
}

pub(super) fn check_refund(body: RefundBody, currency: Currency) -> Result<RefundRequest, Problem> {
    check_id("refundNo", &body.refund_no)?;
    if body.refund_no.starts_with("late-") {
        let problem = "must not start with late-, which names automatic refunds";
        return Err(Problem::invalid("refundNo", problem));
    }
    let amount = positive(&body.amount, currency)?;
    if let Some(reason) = &body.reason {
        check_text("reason", reason, 80)?;
    }
    let canonical = serde_json::json!([body.refund_no, amount.minor, body.reason]);
    Ok(RefundRequest {
        refund_no: body.refund_no,
        amount,
        reason: body.reason,
        request_hash: sha256_hex(canonical.to_string().as_bytes()),
        origin: RefundOrigin::Api,
    })
}

fn subject(given: Option<String>, order_id: &str) -> Result<String, Problem> {
    let subject = given.unwrap_or_else(|| format!("Order {order_id}"));
    check_text("subject", &subject, 128)?;
    Ok(subject)
}

fn check_text(param: &'static str, text: &str, max: usize) -> Result<(), Problem> {
    let length = text.chars().count();
    if (1..=max).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let problem = format!("must have 1 to {max} printable characters");
    Err(Problem::invalid(param, &problem))
}

fn expires_in(given: Option<u64>, default: u64) -> Result<u64, Problem> {
    let seconds = given.unwrap_or(default);
    if EXPIRES_IN_SECONDS.contains(&seconds) {
        return Ok(seconds);
    }
    Err(Problem::invalid(
        "expiresInSeconds",
        "must be between 60 and 604800",
    ))
}

/// What the channel has to be told of the payer, and nothing it need not know.
fn payer(
    method: PayMethod,
    id: Option<String>,
    client_ip: Option<String>,
    return_url: Option<String>,
) -> Result<Payer, Problem> {
    if method.needs_payer_id() != id.is_some() {
        let verb = if id.is_some() {
            "goes only"
        } else {
            "is needed"
        };
        let problem = format!("{verb} with method jsapi (openid) or create (buyer id)");
        return Err(Problem::invalid("payerId", &problem));
    }
    if let Some(id) = &id {
        check_id("payerId", id)?;
    }
    if method.needs_client_ip() && client_ip.is_none() {
        return Err(Problem::invalid("clientIp", "is needed with method h5"));
    }
    if let Some(ip) = &client_ip
        && ip.parse::<IpAddr>().is_err()
    {
        return Err(Problem::invalid("clientIp", "is not an IP address"));
    }
    if let Some(url) = &return_url {
        check_return_url(url)?;
    }
    Ok(Payer {
        id,
        client_ip,
        return_url,
    })
}

fn check_return_url(url: &str) -> Result<(), Problem> {
    let scheme = url.starts_with("https://") || url.starts_with("http://");
    let clean = url.len() <= 255 && url.bytes().all(|b| b.is_ascii_graphic());
    if scheme && clean {
        return Ok(());
    }
    Err(Problem::invalid(
        "returnUrl",
        "must be an http or https URL of at most 255 characters",
    ))
}

pub(crate) fn check_id(param: &'static str, value: &str) -> Result<(), Problem> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:|*@".contains(&b);
    if (1..=64).contains(&value.len()) && value.bytes().all(allowed) {
        return Ok(());
    }
    Err(Problem::invalid(
        param,
        "must have 1 to 64 characters out of letters, digits and -_.:|*@",
    ))
}

pub(crate) fn items(given: &[Box<RawValue>]) -> Result<Vec<Item>, Problem> {
    if given.len() > ITEMS_MAX {
        return Err(Problem::invalid("items", "has more than 100 entries"));
    }
    given.iter().map(|raw| item(raw)).collect()
}

fn item(raw: &RawValue) -> Result<Item, Problem> {
    let item: ItemBody = json(raw.get().as_bytes())?;
    check_id("items.productId", &item.product_id)?;
    if item.quantity == 0 {
        return Err(Problem::invalid("items.quantity", "must be at least 1"));
    }
    Ok(Item {
        product_id: item.product_id,
        quantity: item.quantity,
    })
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

fn chargeable(raw: &RawValue, currency: &str, channel: ChannelKind) -> Result<Money, Problem> {
    let currency = Currency::parse(currency).map_err(|error| Problem::money(&error))?;
    let money = positive(raw, currency)?;
    check_chargeable(money, channel)?;
    Ok(money)
}

/// An exact amount above zero, as a JSON number or string.
pub(crate) fn positive(raw: &RawValue, currency: Currency) -> Result<Money, Problem> {
    let text = raw.get();
    let text = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(text);
    let money = Money::parse(text, currency).map_err(|error| Problem::money(&error))?;
    if money.minor <= 0 {
        return Err(Problem::invalid("amount", "must be greater than zero"));
    }
    Ok(money)
}

fn check_chargeable(money: Money, channel: ChannelKind) -> Result<(), Problem> {
    if !channel.settles(money.currency) {
        let code = money.currency.code();
        let problem = format!("{code} is not settled by {channel}, which takes CNY");
        return Err(Problem::invalid("currency", &problem));
    }
    if money.minor > channel.amount_minor_max() {
        return Err(Problem::invalid(
            "amount",
            "is larger than the channel takes",
        ));
    }
    Ok(())
}

fn method(given: Option<&str>, channel: ChannelKind) -> Result<PayMethod, Problem> {
    let Some(name) = given else {
        return Ok(PayMethod::default_of(channel));
    };
    PayMethod::parse(channel, name).ok_or_else(|| {
        let known: Vec<&str> = PayMethod::ALL
            .into_iter()
            .filter(|method| method.channel() == channel)
            .map(PayMethod::as_str)
            .collect();
        let problem = format!("must be one of {} for {channel}", known.join(", "));
        Problem::invalid("method", &problem)
    })
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn checked(json: &str) -> Result<Order, Problem> {
        let body = serde_json::from_str(json).map_err(|error| Problem::bad_json(&error))?;
        check_order(body, &ChannelKind::ALL, 7200)
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
    fn what_is_left_out_can_be_read_as_the_order_was_placed() {
        let read = |change: &str, configured: &[ChannelKind], expiry| {
            let body = serde_json::from_str(&with(change)).unwrap();
            check_order(body, configured, expiry).unwrap().request_hash
        };
        let placed = read("{}", &[ChannelKind::Alipay], 900);
        let now = first_of_all(ChannelKind::Alipay, ChannelKind::ALL.to_vec());
        assert_eq!(read("{}", &now, 900), placed);
        assert_ne!(read("{}", &ChannelKind::ALL, 900), placed);
        assert_ne!(read(r#"{"expiresInSeconds":901}"#, &now, 900), placed);
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
