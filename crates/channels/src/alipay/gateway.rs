//! Signed requests to Alipay's gateway: sent from here, or handed to the payer's side.
//!
//! Guarantees: every parameter that leaves is signed, raw; an answer counts only with its signature.
//!
//! Not here: what the parameters of each method are.

use jiff::Timestamp;
use serde_json::Value;

use super::answer::{self, Node, Stop};
use super::{Alipay, beijing, sign};
use crate::http;
use crate::limit::Operation;
use crate::outcome::{Fail, UncertaintyReason};

/// One call of the gateway.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) content: &'a Value,
    pub(super) notify_url: Option<&'a str>,
    pub(super) return_url: Option<&'a str>,
}

impl<'a> Request<'a> {
    pub(super) const fn new(method: &'static str, content: &'a Value) -> Self {
        Self {
            method,
            content,
            notify_url: None,
            return_url: None,
        }
    }
}

type Parameters = Vec<(&'static str, String)>;

const CONTENT: &str = "biz_content";

impl Alipay {
    /// Sends the request and opens the answer.
    pub(super) async fn call(
        &self,
        operation: Operation,
        request: Request<'_>,
        now: Timestamp,
    ) -> Result<Node, Stop> {
        // The gateway reads `charset` only from the query, so all but the content goes there.
        let (content, common): (Parameters, Parameters) = self
            .signed(&request, now)?
            .into_iter()
            .partition(|(name, _)| *name == CONTENT);
        self.wire.limits.permit(operation, &self.app_id).await?;
        let mut url = self.gateway.clone();
        url.query_pairs_mut().extend_pairs(common);
        let sending = self.wire.client.post(url).form(&content);
        let answer = http::send(sending, http::ANSWER_LIMIT).await?;
        let keys = |sn: Option<&str>| self.keys.of_answer(sn, now);
        match answer.status.as_u16() {
            200 => answer::open(&keys, request.method, &answer.body),
            429 => Err(status(UncertaintyReason::Busy, answer.status)),
            500..=599 => Err(status(UncertaintyReason::ServerError, answer.status)),
            _ => Err(status(UncertaintyReason::Unverifiable, answer.status)),
        }
    }

    /// The request as a URL for the payer's browser.
    pub(super) fn url(&self, request: &Request<'_>, now: Timestamp) -> Result<String, Fail> {
        let mut url = self.gateway.clone();
        url.query_pairs_mut()
            .extend_pairs(self.signed(request, now)?);
        Ok(url.into())
    }

    /// The request as the text that Alipay's app SDK takes.
    pub(super) fn order_string(
        &self,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<String, Fail> {
        Ok(form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.signed(request, now)?)
            .finish())
    }

    fn signed(&self, request: &Request<'_>, now: Timestamp) -> Result<Parameters, Fail> {
        let mut parameters: Parameters = vec![
            ("app_id", self.app_id.clone()),
            ("method", request.method.to_owned()),
            ("format", "JSON".to_owned()),
            ("charset", "utf-8".to_owned()),
            ("sign_type", "RSA2".to_owned()),
            ("timestamp", beijing(now)),
            ("version", "1.0".to_owned()),
        ];
        parameters.extend(self.keys.parameters());
        parameters.extend(request.notify_url.map(|url| ("notify_url", url.to_owned())));
        parameters.extend(request.return_url.map(|url| ("return_url", url.to_owned())));
        parameters.push((CONTENT, request.content.to_string()));
        let pairs: Vec<(&str, &str)> = parameters
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let signature = self
            .signing
            .sign(sign::message(&pairs).as_bytes())
            .ok_or_else(|| Fail::invalid("the request cannot be signed"))?;
        parameters.push(("sign", signature));
        Ok(parameters)
    }
}

fn status(reason: UncertaintyReason, status: reqwest::StatusCode) -> Stop {
    Fail::unknown(reason, format!("HTTP {status}")).into()
}
