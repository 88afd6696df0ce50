//! What starts a payment: precreate, create, page.pay, wap.pay and app.pay.
//!
//! A precreated code is no trade yet: until the payer scans it (`POST /scan`, `POST /pay`), query
//! and close know nothing of it, and a close does not stop the payer from paying later. The others
//! are trades (WAIT_BUYER_PAY) as soon as the gateway, or the payer's wallet, has seen them; the
//! real channel waits for the payer to log in.
//!
//! Not here: `return_url`, which is no evidence of a payment.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Failure, Input, success, trade};
use crate::book::{CreateError, NewCharge, PayError};
use crate::clock::{after, parse_plain};
use crate::fingerprint::fingerprint;
use crate::money::{fen, yuan};
use crate::{Channel, ids};

/// A trade without a time of its own lasts two hours.
const TRADE_SECONDS: i64 = 2 * 3600;
const AMOUNT_FEN_MAX: i64 = 10_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Precreate,
    Create,
    Page,
    Wap,
    App,
}

impl Kind {
    pub(super) const fn trade_type(self) -> &'static str {
        match self {
            Self::Precreate => "FACE_TO_FACE_PAYMENT",
            Self::Create => "JSAPI_PAY",
            Self::Page => "FAST_INSTANT_TRADE_PAY",
            Self::Wap => "QUICK_WAP_WAY",
            Self::App => "QUICK_MSECURITY_PAY",
        }
    }

    /// Only page.pay insists on its product; a wrong one is refused wherever it is told apart.
    fn takes(self, product: Option<&str>) -> bool {
        match (self, product) {
            (Self::Precreate | Self::Create, _)
            | (Self::Wap | Self::App, None)
            | (Self::Wap, Some("QUICK_WAP_PAY")) => true,
            (Self::Page, None) => false,
            (_, Some(product)) => product == self.trade_type(),
        }
    }
}

pub(super) fn create(input: &Input<'_>, kind: Kind) -> Result<Value, Failure> {
    let now = input.simulator.clock.moment();
    let new = checked(input, kind, now.wall)?;
    let mut book = input.simulator.book(Channel::Alipay);
    let (charge, _) = book.create(new, now).map_err(|e| create_failure(&e))?;
    let number = charge.out_trade_no.clone();
    if kind == Kind::Precreate {
        let node = json!({"out_trade_no": number, "qr_code": charge.code});
        return Ok(success(node));
    }
    let charge = book
        .open(&number, ids::alipay_trade(now.wall), now)
        .map_err(|error| open_failure(&error))?;
    let mut node = json!({
        "out_trade_no": number,
        "trade_no": trade::trade_no(charge),
    });
    if kind != Kind::Create {
        node["subject"] = charge.description.as_str().into();
        node["total_amount"] = yuan(charge.amount_minor).into();
    }
    Ok(success(node))
}

fn checked(input: &Input<'_>, kind: Kind, now: Timestamp) -> Result<NewCharge, Failure> {
    let number = input.text("out_trade_no").filter(|n| valid_number(n));
    let number = number.ok_or_else(|| trade::invalid("out_trade_no"))?;
    let subject = input.text("subject").filter(|s| valid_subject(s));
    let subject = subject.ok_or_else(|| trade::invalid("subject"))?;
    let amount = input.text("total_amount").and_then(fen);
    let amount = amount.filter(|fen| (1..=AMOUNT_FEN_MAX).contains(fen));
    let amount = amount.ok_or_else(|| trade::invalid("total_amount"))?;
    if !kind.takes(input.text("product_code")) {
        return Err(trade::invalid("product_code"));
    }
    let buyers = ["buyer_id", "buyer_open_id", "op_buyer_open_id"];
    if kind == Kind::Create && !buyers.iter().any(|name| input.text(name).is_some()) {
        return Err(trade::invalid("buyer_id"));
    }
    let parameters = json!([input.content, input.notify_url]);
    Ok(NewCharge {
        out_trade_no: number.to_owned(),
        fingerprint: fingerprint(kind.trade_type(), &parameters),
        trade_type: kind.trade_type(),
        description: subject.to_owned(),
        attach: input.text("passback_params").unwrap_or_default().to_owned(),
        amount_minor: amount,
        notify_url: input.notify_url.to_owned(),
        code: format!("https://qr.alipay.com/bax{}", &ids::token()[..24]),
        // The code's two hours are the trade's.
        code_seconds: None,
        expires: Some(expiry(input, now)?),
    })
}

fn valid_number(number: &str) -> bool {
    (1..=64).contains(&number.len())
        && number
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn valid_subject(subject: &str) -> bool {
    subject.chars().count() <= 256 && !subject.contains(['/', '=', '&'])
}

fn expiry(input: &Input<'_>, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Some(text) = input.text("time_expire") {
        return parse_plain(text).ok_or_else(|| trade::invalid("time_expire"));
    }
    let seconds = match input.text("timeout_express") {
        None => TRADE_SECONDS,
        Some(text) => timeout_seconds(text).ok_or_else(|| trade::invalid("timeout_express"))?,
    };
    Ok(after(now, seconds))
}

/// `90m`, `2h`, `15d`, `1c` (the end of the day, here one day).
fn timeout_seconds(text: &str) -> Option<i64> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3600,
        "d" | "c" => 86_400,
        _ => return None,
    };
    let seconds = count.parse::<i64>().ok()?.checked_mul(unit)?;
    (60..=15 * 86_400).contains(&seconds).then_some(seconds)
}

fn create_failure(error: &CreateError) -> Failure {
    match error {
        CreateError::Changed => Failure::business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改"),
        CreateError::Paid => Failure::business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付"),
        CreateError::Closed | CreateError::Expired => has_close(),
        CreateError::Full => Failure::business("ACQ.SYSTEM_ERROR", "系统错误"),
    }
}

/// Only what is payable passes `create`; the payment may still have won.
fn open_failure(error: &PayError) -> Failure {
    match error {
        PayError::AlreadyPaid => create_failure(&CreateError::Paid),
        PayError::Unknown | PayError::Closed | PayError::Expired | PayError::CodeExpired => {
            has_close()
        }
    }
}

fn has_close() -> Failure {
    Failure::business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_have_units_and_bounds() {
        for (text, seconds) in [
            ("90m", Some(5400)),
            ("2h", Some(7200)),
            ("15d", Some(1_296_000)),
            ("1c", Some(86_400)),
            ("16d", None),
            ("0m", None),
            ("5", None),
            ("", None),
            ("5分", None),
        ] {
            assert_eq!(timeout_seconds(text), seconds, "{text}");
        }
    }

    #[test]
    fn products_belong_to_their_methods() {
        assert!(!Kind::Page.takes(None));
        assert!(Kind::Page.takes(Some("FAST_INSTANT_TRADE_PAY")));
        assert!(Kind::Wap.takes(Some("QUICK_WAP_WAY")) && Kind::Wap.takes(None));
        assert!(!Kind::App.takes(Some("FAST_INSTANT_TRADE_PAY")));
    }
}
