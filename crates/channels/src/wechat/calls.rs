//! Sending a signed request and judging what comes back.
//!
//! Guarantees: nothing is sent that could not be verified afterwards, nothing beyond the limits;
//! an answer is evidence only when its signature fits.
//!
//! Not here: what an answer means for an order or a refund.

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{Method, Url};

use super::answer::{self, Refused, Stop};
use super::certificates::CertificateRefresh;
use super::{Wechat, sign};
use crate::http::{self, Answer};
use crate::limit::Operation;
use crate::notice::CallbackError;
use crate::outcome::{Fail, Refusal, UncertaintyReason};

impl Wechat {
    pub(super) async fn call(
        &self,
        operation: Operation,
        method: Method,
        path: &str,
        body: String,
        now: Timestamp,
    ) -> Result<Bytes, Stop> {
        self.be_able_to_verify(now).await?;
        let limits = &self.wire.limits;
        limits.permit(operation, &self.merchant_id).await?;
        let answer = self.exchange(method, path, body, now).await?;
        if self.verify(&answer, now) == Err(CallbackError::UnknownKey) {
            // Perhaps signed with a certificate that is newer than our last download.
            self.refresh_certificates(now).await;
        }
        self.judge(answer, now)
    }

    /// Before the first certificates came there is no key; an answer would prove nothing then.
    async fn be_able_to_verify(&self, now: Timestamp) -> Result<(), Fail> {
        if self.keys.preferred(now).is_some() {
            return Ok(());
        }
        let refresh = self.refresh_certificates(now).await;
        if self.keys.preferred(now).is_some() {
            return Ok(());
        }
        let message = match refresh {
            CertificateRefresh::Failed(error) => error.to_string(),
            _ => "no valid platform certificate is there".to_owned(),
        };
        let refusal = Refusal::not_sent(Refusal::NO_VERIFYING_KEY, message);
        Err(Fail::Refused(refusal))
    }

    /// The bare exchange: nothing about the answer is checked.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: String,
        now: Timestamp,
    ) -> Result<Answer, Fail> {
        let url = self.base.join(path).map_err(|_| Fail::invalid("no URL"))?;
        let request = self.request(method, url, body, now)?;
        http::send(request, http::ANSWER_LIMIT).await
    }

    pub(super) fn request(
        &self,
        method: Method,
        url: Url,
        body: String,
        now: Timestamp,
    ) -> Result<reqwest::RequestBuilder, Fail> {
        let stamp = sign::Stamp::new(now);
        let message = stamp.request_message(method.as_str(), &url, &body);
        let signature = self.signature(&message)?;
        let authorization =
            stamp.authorization(&self.merchant_id, &self.merchant_serial, &signature);
        let mut request = self
            .wire
            .client
            .request(method, url)
            .header("Authorization", authorization)
            .header("Accept", "application/json");
        if let Some(id) = self.keys.preferred(now) {
            request = request.header("Wechatpay-Serial", id);
        }
        Ok(if body.is_empty() {
            request
        } else {
            request
                .header("Content-Type", "application/json")
                .body(body)
        })
    }

    pub(super) fn signature(&self, message: &str) -> Result<String, Fail> {
        self.signing
            .sign(message.as_bytes())
            .ok_or_else(|| Fail::invalid("the request cannot be signed"))
    }

    fn verify(&self, answer: &Answer, now: Timestamp) -> Result<(), CallbackError> {
        let key = |id: &str| self.keys.get(id, now);
        sign::verify(&key, &|name| answer.header(name), &answer.body, now)
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
        if let Err(error) = self.verify(&answer, now) {
            let code = answer::code_text(&answer.body);
            return Err(Fail::unverifiable(format!("HTTP {status} {code}: {error}")).into());
        }
        if status < 300 {
            Ok(answer.body)
        } else {
            Err(Stop::Refused(Refused::read(&answer)?))
        }
    }
}
