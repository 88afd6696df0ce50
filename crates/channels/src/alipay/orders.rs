//! Orders at Alipay: five ways to create one, query both ways, close, cancel.
//!
//! Guarantees: an answer that names another order is unverifiable. Page, wap and app orders are
//! signed texts and make no call: Alipay hears of them when the payer gets there.
//!
//! Not here: pay codes, for which `cancel` was made; it serves any order of unknown outcome.

use jiff::Timestamp;
use payment_core::{ChannelKind, PayMethod};
use serde_json::{Value, json};

use super::answer::{
    CancelledTrade, ClosedTrade, Code, Created as CreatedAnswer, Refused, Stop, Trade,
};
use super::gateway::Request;
use super::{Alipay, beijing};
use crate::limit::Operation;
use crate::order::{self, Action, Cancelled, Closed, Created, NewOrder, OrderStatus};
use crate::outcome::{Fail, UncertaintyReason};

pub(super) const PRECREATE: &str = "alipay.trade.precreate";
pub(super) const PAGE: &str = "alipay.trade.page.pay";
pub(super) const WAP: &str = "alipay.trade.wap.pay";
pub(super) const APP: &str = "alipay.trade.app.pay";
pub(super) const CREATE: &str = "alipay.trade.create";
pub(super) const QUERY: &str = "alipay.trade.query";
pub(super) const CLOSE: &str = "alipay.trade.close";
pub(super) const CANCEL: &str = "alipay.trade.cancel";
/// The longest `subject`, in bytes to be on the safe side of "256 characters".
const SUBJECT_BYTES: usize = 256;

impl Alipay {
    pub(crate) async fn create(&self, order: &NewOrder, now: Timestamp) -> Result<Created, Fail> {
        order::check(order, ChannelKind::Alipay)?;
        check_number(&order.channel_order_no)?;
        let action = match order.method {
            PayMethod::AlipayPrecreate => self.precreate(order, now).await?,
            PayMethod::AlipayCreate => self.create_trade(order, now).await?,
            PayMethod::AlipayPage => {
                let content = content(order, "FAST_INSTANT_TRADE_PAY");
                self.redirect(PAGE, order, &content, now)?
            }
            PayMethod::AlipayWap => {
                let mut content = content(order, "QUICK_WAP_WAY");
                // Where the payer goes who gives up.
                if let Some(return_url) = &order.payer.return_url {
                    content["quit_url"] = json!(return_url);
                }
                self.redirect(WAP, order, &content, now)?
            }
            PayMethod::AlipayApp => {
                let content = content(order, "QUICK_MSECURITY_PAY");
                let request = Request {
                    notify_url: Some(&order.notify_url),
                    ..Request::new(APP, &content)
                };
                Action::AlipayApp {
                    order_string: self.order_string(&request, now)?,
                }
            }
            PayMethod::WechatNative
            | PayMethod::WechatJsapi
            | PayMethod::WechatH5
            | PayMethod::WechatApp => {
                return Err(Fail::invalid("the method belongs to another channel"));
            }
        };
        Ok(Created { action })
    }

    async fn precreate(&self, order: &NewOrder, now: Timestamp) -> Result<Action, Fail> {
        let content = content(order, "FACE_TO_FACE_PAYMENT");
        let answer = self.create_by(PRECREATE, order, &content, now).await?;
        match answer.qr_code.filter(|code| !code.is_empty()) {
            Some(url) => Ok(Action::QrCode { url }),
            None => Err(Fail::unverifiable("the answer has no QR code")),
        }
    }

    async fn create_trade(&self, order: &NewOrder, now: Timestamp) -> Result<Action, Fail> {
        let mut content = content(order, "JSAPI_PAY");
        let buyer = order::payer_id(order)?;
        content[buyer_field(buyer)] = json!(buyer);
        let answer = self.create_by(CREATE, order, &content, now).await?;
        match answer.trade_no.filter(|number| !number.is_empty()) {
            Some(trade_no) => Ok(Action::AlipayTrade { trade_no }),
            None => Err(Fail::unverifiable("the answer has no trade number")),
        }
    }

    async fn create_by(
        &self,
        method: &'static str,
        order: &NewOrder,
        content: &Value,
        now: Timestamp,
    ) -> Result<CreatedAnswer, Fail> {
        let request = Request {
            notify_url: Some(&order.notify_url),
            ..Request::new(method, content)
        };
        let node = match self.call(Operation::AlipayCreate, request, now).await {
            Ok(node) => node,
            Err(Stop::Fail(fail)) => return Err(fail),
            Err(Stop::Refused(refused)) => return Err(not_created(refused)),
        };
        let created: CreatedAnswer = node.parse()?;
        if created.out_trade_no != order.channel_order_no {
            return Err(Fail::unverifiable("the answer is about another order"));
        }
        Ok(created)
    }

    fn redirect(
        &self,
        method: &'static str,
        order: &NewOrder,
        content: &Value,
        now: Timestamp,
    ) -> Result<Action, Fail> {
        let request = Request {
            notify_url: Some(&order.notify_url),
            return_url: order.payer.return_url.as_deref(),
            ..Request::new(method, content)
        };
        Ok(Action::Redirect {
            url: self.url(&request, now)?,
        })
    }

    pub(crate) async fn query(&self, number: &str, now: Timestamp) -> Result<OrderStatus, Fail> {
        check_number(number)?;
        let content = json!({"out_trade_no": number});
        self.ask(&content, now, |trade| trade.out_trade_no == number)
            .await
    }

    pub(crate) async fn query_by_transaction(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<OrderStatus, Fail> {
        check_number(id)?;
        let content = json!({"trade_no": id});
        self.ask(&content, now, |trade| trade.trade_no.as_deref() == Some(id))
            .await
    }

    async fn ask(
        &self,
        content: &Value,
        now: Timestamp,
        is_it: impl Fn(&Trade) -> bool,
    ) -> Result<OrderStatus, Fail> {
        let request = Request::new(QUERY, content);
        match self.call(Operation::AlipayQuery, request, now).await {
            Ok(node) => {
                let trade: Trade = node.parse()?;
                if !is_it(&trade) {
                    return Err(Fail::unverifiable("the answer is about another order"));
                }
                trade.status().map_err(Fail::unverifiable)
            }
            Err(Stop::Refused(refused)) if refused.code == Code::NotFound => {
                Ok(OrderStatus::not_found())
            }
            Err(stop) => Err(stop.into()),
        }
    }

    pub(crate) async fn close(&self, number: &str, now: Timestamp) -> Result<Closed, Fail> {
        check_number(number)?;
        let content = json!({"out_trade_no": number});
        let request = Request::new(CLOSE, &content);
        match self.call(Operation::AlipayClose, request, now).await {
            Ok(node) => {
                let closed: ClosedTrade = node.parse()?;
                if closed.out_trade_no.is_some_and(|echo| echo != number) {
                    return Err(Fail::unverifiable("the answer is about another order"));
                }
                Ok(Closed::Closed)
            }
            Err(Stop::Refused(refused)) => match refused.code {
                Code::NotFound => Ok(Closed::NotFound),
                Code::Paid => Ok(Closed::AlreadyPaid),
                Code::Closed => Ok(Closed::Closed),
                _ => Err(refused.into()),
            },
            Err(Stop::Fail(fail)) => Err(fail),
        }
    }

    pub(crate) async fn cancel(&self, number: &str, now: Timestamp) -> Result<Cancelled, Fail> {
        check_number(number)?;
        let content = json!({"out_trade_no": number});
        let request = Request::new(CANCEL, &content);
        match self.call(Operation::AlipayClose, request, now).await {
            Ok(node) => {
                let cancelled: CancelledTrade = node.parse()?;
                if cancelled
                    .out_trade_no
                    .as_ref()
                    .is_some_and(|echo| echo != number)
                {
                    return Err(Fail::unverifiable("the answer is about another order"));
                }
                cancelled.outcome()
            }
            // Begun, perhaps even done; only a repeat brings it to its end.
            Err(Stop::Refused(refused)) if refused.retry || refused.code == Code::Server => {
                Err(refused.as_unknown(UncertaintyReason::InProgress))
            }
            Err(Stop::Refused(refused)) if refused.code == Code::NotFound => Ok(Cancelled::Nothing),
            Err(stop) => Err(stop.into()),
        }
    }
}

fn content(order: &NewOrder, product_code: &str) -> Value {
    json!({
        "out_trade_no": order.channel_order_no,
        "total_amount": order.amount.to_decimal(),
        "subject": subject(order),
        "product_code": product_code,
        "time_expire": beijing(order.expires_at),
    })
}

/// Alipay's old ids are 16 digits that start with 2088; all others are open ids.
fn buyer_field(id: &str) -> &'static str {
    let is_old =
        id.len() == 16 && id.starts_with("2088") && id.bytes().all(|byte| byte.is_ascii_digit());
    if is_old { "buyer_id" } else { "buyer_open_id" }
}

/// What a signed refusal to create means. A number that was used before may have been paid.
fn not_created(refused: Refused) -> Fail {
    match refused.code {
        Code::Paid | Code::Closed | Code::NumberUsed => {
            refused.as_unknown(UncertaintyReason::InProgress)
        }
        _ => refused.into(),
    }
}

pub(super) fn check_number(number: &str) -> Result<(), Fail> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if (1..=64).contains(&number.len()) && number.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Fail::invalid(
            "the number must have 1 to 64 characters of 0-9 A-Z a-z _",
        ))
    }
}

/// Without the characters that Alipay refuses.
fn subject(order: &NewOrder) -> String {
    let refused = |character: char| matches!(character, '/' | '=' | '&') || character.is_control();
    let cleaned = order.subject.replace(refused, " ");
    match order::shortened(cleaned.trim(), SUBJECT_BYTES).trim_end() {
        "" => order.channel_order_no.clone(),
        text => text.to_owned(),
    }
}
