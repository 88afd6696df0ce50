//! Alipay's gateway v1 in key mode: precreate, query, close, trade bill.
//!
//! Guarantees: requests and answers are signed with RSA2 (SHA-256) whatever `sign_type` claims; an
//! answer is verified over its bytes as received, and counts only when it speaks of the order that
//! was asked for.
//!
//! Deliberately not here: certificate mode, encrypted content, refunds. `seller_id` is not checked:
//! an application in key mode acts for one seller, and the application's id is.

mod answer;
mod bill;
mod callback;
mod sign;

use std::fmt;

use contract::names::channel_key as key;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use reqwest::{Client, Url};
use serde_json::{Value, json};

use crate::bill::Bill;
use crate::credentials::{Files, LoadError};
use crate::crypto::{SigningKey, VerifyingKey};
use crate::http;
use crate::order::{self, CallbackError, Closed, Created, NewOrder, Notice, OrderState};
use crate::outcome::{Fail, UncertaintyReason};
use crate::{BillRow, OrderStatus};
use answer::ClosedTrade;
use answer::{Bill as BillAnswer, Code, Created as CreatedAnswer, Node, Refused, Stop, Trade};

const PRECREATE: &str = "alipay.trade.precreate";
const QUERY: &str = "alipay.trade.query";
const CLOSE: &str = "alipay.trade.close";
const BILL: &str = "alipay.data.dataservice.bill.downloadurl.query";
/// The longest `subject`, in bytes to be on the safe side of "256 characters".
const SUBJECT_BYTES: usize = 256;
const BEIJING: Offset = Offset::constant(8);

/// The application at Alipay.
pub struct Alipay {
    gateway: Url,
    http: Client,
    app_id: String,
    signing: SigningKey,
    verifying: VerifyingKey,
}

impl fmt::Debug for Alipay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alipay")
            .field("gateway", &self.gateway.as_str())
            .field("app_id", &self.app_id)
            .finish_non_exhaustive()
    }
}

impl Alipay {
    pub(crate) fn load(
        files: &Files,
        config: &contract::config::Alipay,
        http: Client,
    ) -> Result<Self, LoadError> {
        let gateway = Url::parse(&config.gateway_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| LoadError::Url {
                field: "channels.alipay.gatewayUrl",
                url: config.gateway_url.clone(),
            })?;
        Ok(Self {
            gateway,
            http,
            app_id: files.word(key::ALIPAY_APP_ID)?,
            signing: files.key(key::ALIPAY_PRIVATE_KEY, SigningKey::parse)?,
            verifying: files.key(key::ALIPAY_PUBLIC_KEY, VerifyingKey::parse)?,
        })
    }

    pub(crate) async fn create(&self, order: &NewOrder, now: Timestamp) -> Result<Created, Fail> {
        order::check(order)?;
        check_number(&order.channel_order_no)?;
        let content = json!({
            "out_trade_no": order.channel_order_no,
            "total_amount": order.amount.to_decimal(),
            "subject": subject(order),
            "product_code": "FACE_TO_FACE_PAYMENT",
            "time_expire": beijing(order.expires_at),
        });
        let node = match self
            .call(PRECREATE, &content, Some(&order.notify_url), now)
            .await
        {
            Ok(node) => node,
            Err(Stop::Fail(fail)) => return Err(fail),
            Err(Stop::Refused(refused)) => return Err(not_created(refused)),
        };
        let created: CreatedAnswer = node.parse()?;
        if created.out_trade_no != order.channel_order_no {
            return Err(Fail::unverifiable("the answer is about another order"));
        }
        if created.qr_code.is_empty() {
            return Err(Fail::unverifiable("the answer has no QR code"));
        }
        Ok(Created {
            qr_code_url: created.qr_code,
        })
    }

    pub(crate) async fn query(&self, number: &str, now: Timestamp) -> Result<OrderStatus, Fail> {
        check_number(number)?;
        let content = json!({"out_trade_no": number});
        match self.call(QUERY, &content, None, now).await {
            Ok(node) => {
                let trade: Trade = node.parse()?;
                if trade.out_trade_no != number {
                    return Err(Fail::unverifiable("the answer is about another order"));
                }
                trade.status().map_err(Fail::unverifiable)
            }
            Err(Stop::Refused(refused)) if refused.code == Code::NotFound => Ok(OrderStatus {
                state: OrderState::NotFound,
                transaction_id: None,
                amount: None,
                paid_at: None,
            }),
            Err(stop) => Err(stop.into()),
        }
    }

    pub(crate) async fn close(&self, number: &str, now: Timestamp) -> Result<Closed, Fail> {
        check_number(number)?;
        let content = json!({"out_trade_no": number});
        match self.call(CLOSE, &content, None, now).await {
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

    pub(crate) async fn bill(&self, day: Date, now: Timestamp) -> Result<Bill, Fail> {
        let content = json!({"bill_type": "trade", "bill_date": day.to_string()});
        match self.call(BILL, &content, None, now).await {
            Ok(node) => {
                let pointer: BillAnswer = node.parse()?;
                if pointer.is_empty() {
                    return Ok(Bill::Rows(Vec::new()));
                }
                Ok(Bill::Rows(self.download(&pointer, day).await?))
            }
            Err(Stop::Refused(refused)) if refused.code == Code::BillNotReady => Ok(Bill::NotReady),
            Err(stop) => Err(stop.into()),
        }
    }

    pub(crate) fn verify_callback(&self, body: &[u8]) -> Result<Notice, CallbackError> {
        callback::read(&self.verifying, &self.app_id, body)
    }

    /// The file is neither signed nor hashed: its own dates and totals have to do.
    async fn download(&self, pointer: &BillAnswer, day: Date) -> Result<Vec<BillRow>, Fail> {
        let url = http::download_url(pointer.url()?, &self.gateway)?;
        let request = self.http.get(url).timeout(http::BILL_TIMEOUT);
        let file = http::send(request, http::BILL_LIMIT).await?;
        if !file.status.is_success() {
            return Err(Fail::unverifiable(format!(
                "the bill's download answered {}",
                file.status
            )));
        }
        // Parsing is quick but not instant; other payments must not wait behind it.
        tokio::task::spawn_blocking(move || bill::read(&file.body, day))
            .await
            .map_err(|error| Fail::unverifiable(format!("reading the bill failed: {error}")))?
            .map_err(|error| Fail::unverifiable(format!("the bill is not accepted: {error}")))
    }

    async fn call(
        &self,
        method: &str,
        content: &Value,
        notify_url: Option<&str>,
        now: Timestamp,
    ) -> Result<Node, Stop> {
        let content = content.to_string();
        let timestamp = beijing(now);
        let mut parameters = vec![
            ("app_id", self.app_id.as_str()),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", timestamp.as_str()),
            ("version", "1.0"),
        ];
        parameters.extend(notify_url.map(|url| ("notify_url", url)));
        parameters.push(("biz_content", content.as_str()));
        let signature = self
            .signing
            .sign(sign::message(&parameters).as_bytes())
            .ok_or_else(|| Fail::invalid("the request cannot be signed"))?;
        // Everything but the content goes into the query; the gateway reads `charset` only there.
        parameters.pop();
        parameters.push(("sign", &signature));
        let mut url = self.gateway.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        let request = self.http.post(url).form(&[("biz_content", &content)]);
        let answer = http::send(request, http::ANSWER_LIMIT).await?;
        match answer.status.as_u16() {
            200 => answer::open(&self.verifying, method, &answer.body),
            429 => Err(status(UncertaintyReason::Busy, answer.status)),
            500..=599 => Err(status(UncertaintyReason::ServerError, answer.status)),
            _ => Err(status(UncertaintyReason::Unverifiable, answer.status)),
        }
    }
}

fn status(reason: UncertaintyReason, status: reqwest::StatusCode) -> Stop {
    Fail::unknown(reason, format!("HTTP {status}")).into()
}

/// What a signed refusal to create means. A number that was used before may have been paid.
fn not_created(refused: Refused) -> Fail {
    match refused.code {
        Code::Paid | Code::Closed | Code::NumberUsed => Fail::unknown(
            UncertaintyReason::InProgress,
            format!("{} {}", refused.text, refused.message),
        ),
        _ => refused.into(),
    }
}

fn check_number(number: &str) -> Result<(), Fail> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if (1..=64).contains(&number.len()) && number.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Fail::invalid(
            "the order number must have 1 to 64 characters of 0-9 A-Z a-z _",
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

fn beijing(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(BEIJING))
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// Beijing text to an instant. Only a fact for people: an unreadable one must not hold up a payment.
fn instant(text: &str) -> Option<Timestamp> {
    let time = crate::bill::beijing_time(text).ok()?;
    BEIJING.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests;
