//! Orders at WeChat Pay: prepay by four methods, query both ways, close.
//!
//! Guarantees: an answer about an order names that order, or it is unverifiable. (Prepay answers
//! name none; there the signature and the connection have to do.)
//!
//! Not here: what the client is handed for JSAPI and app payments (`invocation`).

use jiff::Timestamp;
use payment_core::{ChannelKind, PayMethod};
use reqwest::Method;
use serde_json::{Value, json};

use super::answer::{self, Code, Refused, Stop, Transaction};
use super::{Wechat, beijing_rfc3339};
use crate::limit::Operation;
use crate::order::{self, Action, Closed, Created, NewOrder, OrderStatus};
use crate::outcome::{Fail, UncertaintyReason};

/// The longest `description`, in bytes to be on the safe side of "127 characters".
const SUBJECT_BYTES: usize = 127;

impl Wechat {
    pub(crate) async fn create(&self, order: &NewOrder, now: Timestamp) -> Result<Created, Fail> {
        order::check(order, ChannelKind::Wechat)?;
        check_number(&order.channel_order_no)?;
        let path = path(order.method)?;
        let body = self.prepay(order)?.to_string();
        let answer = self
            .call(Operation::WechatPrepay, Method::POST, path, body, now)
            .await;
        match answer {
            Ok(body) => Ok(Created {
                action: self.action(order, &body, now)?,
            }),
            Err(Stop::Fail(fail)) => Err(fail),
            Err(Stop::Refused(refused)) => Err(not_created(refused)),
        }
    }

    fn prepay(&self, order: &NewOrder) -> Result<Value, Fail> {
        let mut body = json!({
            "appid": self.app_id,
            "mchid": self.merchant_id,
            "description": subject(order),
            "out_trade_no": order.channel_order_no,
            "time_expire": beijing_rfc3339(order.expires_at),
            "notify_url": order.notify_url,
            "amount": {"total": order.amount.minor, "currency": order.amount.currency.code()},
        });
        if order.method.needs_payer_id() {
            body["payer"] = json!({"openid": order::payer_id(order)?});
        }
        if order.method.needs_client_ip() {
            body["scene_info"] = json!({
                "payer_client_ip": order::client_ip(order)?,
                "h5_info": {"type": "Wap"},
            });
        }
        Ok(body)
    }

    fn action(&self, order: &NewOrder, body: &[u8], now: Timestamp) -> Result<Action, Fail> {
        let prepaid = answer::prepaid(body)?;
        match order.method {
            PayMethod::WechatNative => Ok(Action::QrCode {
                url: prepaid.code_url()?,
            }),
            PayMethod::WechatH5 => Ok(Action::Redirect {
                url: returning(prepaid.h5_url()?, order.payer.return_url.as_deref()),
            }),
            PayMethod::WechatJsapi => self.invoke_jsapi(&prepaid.prepay_id()?, now),
            PayMethod::WechatApp => self.invoke_app(&prepaid.prepay_id()?, now),
            PayMethod::AlipayPrecreate
            | PayMethod::AlipayPage
            | PayMethod::AlipayWap
            | PayMethod::AlipayApp
            | PayMethod::AlipayCreate => Err(foreign()),
        }
    }

    pub(crate) async fn query(&self, number: &str, now: Timestamp) -> Result<OrderStatus, Fail> {
        check_number(number)?;
        let key = format!("out-trade-no/{number}");
        self.ask(&key, now, |found| found.out_trade_no == number)
            .await
    }

    pub(crate) async fn query_by_transaction(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<OrderStatus, Fail> {
        check_transaction(id)?;
        let is_it = |found: &Transaction| found.transaction_id.as_deref() == Some(id);
        self.ask(&format!("id/{id}"), now, is_it).await
    }

    /// The signature does not cover the question, so the answer itself must name our order.
    async fn ask(
        &self,
        key: &str,
        now: Timestamp,
        is_it: impl Fn(&Transaction) -> bool,
    ) -> Result<OrderStatus, Fail> {
        let path = format!("/v3/pay/transactions/{key}?mchid={}", self.merchant_id);
        let answer = self
            .call(
                Operation::WechatQuery,
                Method::GET,
                &path,
                String::new(),
                now,
            )
            .await;
        match answer {
            Ok(body) => {
                let found: Transaction = answer::parse(&body)?;
                if !found.is_of(&self.merchant_id, &self.app_id) || !is_it(&found) {
                    return Err(Fail::unverifiable("the answer is about another order"));
                }
                found.status().map_err(Fail::unverifiable)
            }
            Err(Stop::Refused(refused)) if refused.code == Code::NotFound => {
                Ok(OrderStatus::not_found())
            }
            Err(stop) => Err(stop.into()),
        }
    }

    pub(crate) async fn close(&self, number: &str, now: Timestamp) -> Result<Closed, Fail> {
        check_number(number)?;
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        let body = json!({"mchid": self.merchant_id}).to_string();
        let answer = self
            .call(Operation::WechatClose, Method::POST, &path, body, now)
            .await;
        match answer {
            Ok(_) => Ok(Closed::Closed),
            Err(Stop::Refused(refused)) => match refused.code {
                Code::Paid => Ok(Closed::AlreadyPaid),
                Code::Closed => Ok(Closed::Closed),
                Code::NotFound => Ok(Closed::NotFound),
                _ => Err(refused.into()),
            },
            Err(Stop::Fail(fail)) => Err(fail),
        }
    }
}

fn path(method: PayMethod) -> Result<&'static str, Fail> {
    match method {
        PayMethod::WechatNative => Ok("/v3/pay/transactions/native"),
        PayMethod::WechatJsapi => Ok("/v3/pay/transactions/jsapi"),
        PayMethod::WechatH5 => Ok("/v3/pay/transactions/h5"),
        PayMethod::WechatApp => Ok("/v3/pay/transactions/app"),
        PayMethod::AlipayPrecreate
        | PayMethod::AlipayPage
        | PayMethod::AlipayWap
        | PayMethod::AlipayApp
        | PayMethod::AlipayCreate => Err(foreign()),
    }
}

fn foreign() -> Fail {
    Fail::invalid("the method belongs to another channel")
}

/// Where the payer's browser goes after paying is told in the URL itself, outside the signed order.
fn returning(h5_url: String, return_url: Option<&str>) -> String {
    let Some(return_url) = return_url else {
        return h5_url;
    };
    let separator = if h5_url.contains('?') { '&' } else { '?' };
    let encoded: String = form_urlencoded::byte_serialize(return_url.as_bytes()).collect();
    format!("{h5_url}{separator}redirect_url={encoded}")
}

/// What a signed refusal to create means. A number that was used before may have been paid.
fn not_created(refused: Refused) -> Fail {
    let known_before = matches!(refused.code, Code::Paid | Code::Closed | Code::NumberUsed)
        || refused.is_changed_repeat();
    if known_before {
        refused.as_unknown(UncertaintyReason::InProgress)
    } else {
        refused.into()
    }
}

pub(super) fn check_number(number: &str) -> Result<(), Fail> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-|*".contains(&byte);
    if (6..=32).contains(&number.len()) && number.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Fail::invalid(
            "the order number must have 6 to 32 characters of 0-9 A-Z a-z _ - | *",
        ))
    }
}

fn check_transaction(id: &str) -> Result<(), Fail> {
    if (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err(Fail::invalid(
            "WeChat Pay's number must have 1 to 32 letters and digits",
        ))
    }
}

pub(super) fn subject(order: &NewOrder) -> String {
    let cleaned = order.subject.replace(char::is_control, " ");
    match order::shortened(cleaned.trim(), SUBJECT_BYTES).trim_end() {
        "" => order.channel_order_no.clone(),
        text => text.to_owned(),
    }
}
