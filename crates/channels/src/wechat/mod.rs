//! WeChat Pay API v3 for a direct merchant in public-key mode: Native prepay, query, close, bill.
//!
//! Guarantees: the bytes that are signed are the bytes that are sent; an answer counts only when
//! signed by a configured key within five minutes, and only when it speaks of the order that was
//! asked for.
//!
//! Deliberately not here: platform certificates (`GET /v3/certificates`), which newer merchants do
//! not have; refunds.

mod answer;
mod bill;
mod callback;
mod sign;

use std::fmt;

use bytes::Bytes;
use contract::names::channel_key as key;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use payment_core::{Currency, Money};
use reqwest::{Client, Method, Url};
use serde_json::json;

use crate::bill::Bill;
use crate::credentials::{Files, LoadError};
use crate::crypto::{SealingKey, SigningKey, VerifyingKey, pem_blocks};
use crate::http::{self, Answer};
use crate::order::{self, CallbackError, Closed, Created, NewOrder, Notice, OrderState};
use crate::outcome::{Fail, UncertaintyReason};
use crate::{BillRow, OrderStatus};
use answer::{Code, Refused, Stop, Transaction};

/// The longest `description`, in bytes to be on the safe side of "127 characters".
const SUBJECT_BYTES: usize = 127;
const BEIJING: Offset = Offset::constant(8);

/// The merchant at WeChat Pay.
pub struct Wechat {
    base: Url,
    http: Client,
    app_id: String,
    merchant_id: String,
    merchant_serial: String,
    signing: SigningKey,
    sealing: SealingKey,
    verifying: Verifiers,
}

impl fmt::Debug for Wechat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wechat")
            .field("base", &self.base.as_str())
            .field("merchant_id", &self.merchant_id)
            .field("key_ids", &self.verifying.ids().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// WeChat Pay's public keys by id. Several are live at once while WeChat moves a merchant over.
struct Verifiers(Vec<(String, VerifyingKey)>);

impl Verifiers {
    fn load(files: &Files) -> Result<Self, LoadError> {
        let ids = files.text(key::WECHAT_PUBLIC_KEY_ID)?;
        let ids: Vec<&str> = ids
            .lines()
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .collect();
        if ids
            .iter()
            .any(|id| !id.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(files.invalid(
                key::WECHAT_PUBLIC_KEY_ID,
                "has a line of more than one word",
            ));
        }
        let blocks = pem_blocks(files.text(key::WECHAT_PUBLIC_KEY)?.trim());
        if ids.len() != blocks.len() {
            let problem = format!("names {} keys for {} in the file", ids.len(), blocks.len());
            return Err(files.invalid(key::WECHAT_PUBLIC_KEY_ID, problem));
        }
        let parsed = ids.into_iter().zip(&blocks).map(|(id, block)| {
            VerifyingKey::parse(block)
                .map(|parsed| (id.to_owned(), parsed))
                .map_err(|error| files.invalid(key::WECHAT_PUBLIC_KEY, error.to_string()))
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }

    fn get(&self, id: &str) -> Option<&VerifyingKey> {
        let (_, key) = self.0.iter().find(|(known, _)| known == id)?;
        Some(key)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| id.as_str())
    }

    /// The key we ask WeChat Pay to sign its answers with: the first in the file.
    fn preferred(&self) -> &str {
        self.ids().next().unwrap_or_default()
    }
}

impl Wechat {
    pub(crate) fn load(
        files: &Files,
        config: &contract::config::Wechat,
        http: Client,
    ) -> Result<Self, LoadError> {
        let base = Url::parse(&config.base_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| LoadError::Url {
                field: "channels.wechat.baseUrl",
                url: config.base_url.clone(),
            })?;
        let serial = files.word(key::WECHAT_MERCHANT_SERIAL)?;
        if !serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(files.invalid(key::WECHAT_MERCHANT_SERIAL, "is not hexadecimal"));
        }
        Ok(Self {
            base,
            http,
            app_id: files.word(key::WECHAT_APP_ID)?,
            merchant_id: files.word(key::WECHAT_MCH_ID)?,
            merchant_serial: serial.to_ascii_uppercase(),
            signing: files.key(key::WECHAT_PRIVATE_KEY, SigningKey::parse)?,
            sealing: files.key(key::WECHAT_API_KEY, SealingKey::parse)?,
            verifying: Verifiers::load(files)?,
        })
    }

    pub(crate) async fn create(&self, order: &NewOrder, now: Timestamp) -> Result<Created, Fail> {
        order::check(order)?;
        check_number(&order.channel_order_no)?;
        let body = json!({
            "appid": self.app_id,
            "mchid": self.merchant_id,
            "description": subject(order),
            "out_trade_no": order.channel_order_no,
            "time_expire": beijing_rfc3339(order.expires_at),
            "notify_url": order.notify_url,
            "amount": {"total": order.amount.minor, "currency": order.amount.currency.code()},
        });
        let answer = self
            .call(
                Method::POST,
                "/v3/pay/transactions/native",
                body.to_string(),
                now,
            )
            .await;
        match answer {
            Ok(body) => answer::code_url(&body),
            Err(Stop::Fail(fail)) => Err(fail),
            Err(Stop::Refused(refused)) => Err(not_created(refused)),
        }
    }

    pub(crate) async fn query(&self, number: &str, now: Timestamp) -> Result<OrderStatus, Fail> {
        check_number(number)?;
        let path = format!(
            "/v3/pay/transactions/out-trade-no/{number}?mchid={}",
            self.merchant_id
        );
        match self.call(Method::GET, &path, String::new(), now).await {
            Ok(body) => self.status(&body, number),
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
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        let body = json!({"mchid": self.merchant_id}).to_string();
        match self.call(Method::POST, &path, body, now).await {
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

    pub(crate) async fn bill(&self, day: Date, now: Timestamp) -> Result<Bill, Fail> {
        let path = format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP");
        match self.call(Method::GET, &path, String::new(), now).await {
            Ok(body) => Ok(Bill::Rows(self.download(&body, now).await?)),
            Err(Stop::Refused(refused)) => match refused.code {
                Code::NoBill => Ok(Bill::Rows(Vec::new())),
                Code::BillNotReady => Ok(Bill::NotReady),
                _ => Err(refused.into()),
            },
            Err(Stop::Fail(fail)) => Err(fail),
        }
    }

    pub(crate) fn verify_callback(
        &self,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notice, CallbackError> {
        sign::verify(&self.verifying, headers, body, now)?;
        callback::read(&self.sealing, &self.merchant_id, &self.app_id, body)
    }

    /// The file is not signed; its hash, which came in a signed answer, takes the signature's place.
    async fn download(&self, pointer: &[u8], now: Timestamp) -> Result<Vec<BillRow>, Fail> {
        let pointer = answer::bill_pointer(pointer)?;
        let url = http::download_url(&pointer.download_url, &self.base)?;
        let request = self
            .request(Method::GET, url, String::new(), now)?
            .timeout(http::BILL_TIMEOUT);
        let file = http::send(request, http::BILL_LIMIT).await?;
        if !file.status.is_success() {
            return Err(Fail::unverifiable(format!(
                "the bill's download answered {}",
                file.status
            )));
        }
        // Parsing is quick but not instant; other payments must not wait behind it.
        tokio::task::spawn_blocking(move || bill::read(&file.body, &pointer.hash_value))
            .await
            .map_err(|error| Fail::unverifiable(format!("reading the bill failed: {error}")))?
            .map_err(|error| Fail::unverifiable(format!("the bill is not accepted: {error}")))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: String,
        now: Timestamp,
    ) -> Result<Bytes, Stop> {
        let url = self.base.join(path).map_err(|_| Fail::invalid("no URL"))?;
        let request = self.request(method, url, body, now)?;
        let answer = http::send(request, http::ANSWER_LIMIT).await?;
        self.judge(answer, now)
    }

    fn request(
        &self,
        method: Method,
        url: Url,
        body: String,
        now: Timestamp,
    ) -> Result<reqwest::RequestBuilder, Fail> {
        let stamp = sign::Stamp {
            seconds: now.as_second(),
            nonce: hex::encode(rand::random::<[u8; 16]>()),
        };
        let message = stamp.request_message(method.as_str(), &url, &body);
        let signature = self
            .signing
            .sign(message.as_bytes())
            .ok_or_else(|| Fail::invalid("the request cannot be signed"))?;
        let authorization =
            stamp.authorization(&self.merchant_id, &self.merchant_serial, &signature);
        let request = self
            .http
            .request(method, url)
            .header("Authorization", authorization)
            .header("Accept", "application/json")
            .header("Wechatpay-Serial", self.verifying.preferred());
        Ok(if body.is_empty() {
            request
        } else {
            request
                .header("Content-Type", "application/json")
                .body(body)
        })
    }

    /// What an answer proves. A 4xx counts only when signed: SDKs do not look, we do.
    fn judge(&self, answer: Answer, now: Timestamp) -> Result<Bytes, Stop> {
        let status = answer.status.as_u16();
        let unknown = |reason| {
            let code = answer::code_text(&answer.body);
            Err(Fail::unknown(reason, format!("HTTP {status} {code}")).into())
        };
        match status {
            202 => return unknown(UncertaintyReason::InProgress),
            429 => return unknown(UncertaintyReason::Busy),
            500..=599 => return unknown(UncertaintyReason::ServerError),
            200 | 204 | 400..=499 => {}
            _ => return unknown(UncertaintyReason::Unverifiable),
        }
        let headers = |name: &str| answer.header(name);
        if let Err(error) = sign::verify(&self.verifying, &headers, &answer.body, now) {
            let code = answer::code_text(&answer.body);
            return Err(Fail::unverifiable(format!("HTTP {status} {code}: {error}")).into());
        }
        if status < 300 {
            Ok(answer.body)
        } else {
            Err(Stop::Refused(Refused::read(&answer)?))
        }
    }

    /// The signature does not cover the question, so the answer itself must name our order.
    fn status(&self, body: &[u8], number: &str) -> Result<OrderStatus, Fail> {
        let transaction: Transaction = answer::parse(body)?;
        if !transaction.is_of(&self.merchant_id, &self.app_id) || transaction.out_trade_no != number
        {
            return Err(Fail::unverifiable("the answer is about another order"));
        }
        transaction.status().map_err(Fail::unverifiable)
    }
}

/// What a signed refusal to create means. A number that was used before may have been paid.
fn not_created(refused: Refused) -> Fail {
    let known_before = matches!(refused.code, Code::Paid | Code::Closed | Code::NumberUsed)
        || refused.is_changed_repeat();
    if known_before {
        Fail::unknown(
            UncertaintyReason::InProgress,
            format!("{} {}", refused.text, refused.message),
        )
    } else {
        refused.into()
    }
}

fn check_number(number: &str) -> Result<(), Fail> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-|*".contains(&byte);
    if (6..=32).contains(&number.len()) && number.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Fail::invalid(
            "the order number must have 6 to 32 characters of 0-9 A-Z a-z _ - | *",
        ))
    }
}

fn subject(order: &NewOrder) -> String {
    let cleaned = order.subject.replace(char::is_control, " ");
    match order::shortened(cleaned.trim(), SUBJECT_BYTES).trim_end() {
        "" => order.channel_order_no.clone(),
        text => text.to_owned(),
    }
}

fn beijing_rfc3339(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(BEIJING))
        .strftime("%Y-%m-%dT%H:%M:%S+08:00")
        .to_string()
}

/// CNY in fen, as every amount of the API is.
fn money(total: i64, currency: Option<&str>) -> Result<Money, String> {
    let code = currency.unwrap_or("CNY");
    let currency = Currency::parse(code).map_err(|_| format!("{code:?} is not a currency"))?;
    Ok(Money::new(total, currency))
}

#[cfg(test)]
mod tests;
