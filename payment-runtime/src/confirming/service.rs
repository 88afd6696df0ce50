//! The order service over HTTP: `POST {ordersUrl}/api/orders/{orderId}/pay` (docs/orders.md).
//!
//! Guarantees: one bounded call, as a branch of the running global transaction; an answer that is
//! not understood is unclear, never a refusal.

use std::time::Duration;

use anyhow::Context as _;
use contract::config;
use payment_core::confirmation::{Answer, meaning};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use seata_client::http::WithXid as _;
use serde::{Deserialize, Serialize};

use crate::records::{Item, PaymentRecord};

/// A problem is below 2 kB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// What is told of an answer.
const SAID_CHARACTERS_MAX: usize = 200;

pub(super) struct OrderService {
    http: Client,
    base: Url,
}

/// What the order service is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayBody<'a> {
    payment_id: &'a str,
    amount: String,
    currency: &'static str,
    items: &'a [Item],
}

#[derive(Default, Deserialize)]
struct ProblemBody {
    code: Option<String>,
    detail: Option<String>,
}

impl OrderService {
    pub(super) fn new(settings: &config::Confirmation) -> anyhow::Result<Self> {
        let base =
            Url::parse(&settings.orders_url).context("confirmation.ordersUrl is not an address")?;
        anyhow::ensure!(
            !base.cannot_be_a_base(),
            "confirmation.ordersUrl is not an address"
        );
        let http = Client::builder()
            .timeout(Duration::from_millis(settings.timeout_milliseconds))
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("payment-runtime/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("the client of the order service cannot be built")?;
        Ok(Self { http, base })
    }

    /// Asks for the payment's order to be paid: what the answer means, and what was said.
    pub(super) async fn pay(&self, payment: &PaymentRecord) -> (Answer, String) {
        let body = PayBody {
            payment_id: &payment.payment_no,
            amount: payment.amount.to_decimal(),
            currency: payment.amount.currency.code(),
            items: &payment.items,
        };
        let request = self.http.post(self.address(&payment.order_id)).json(&body);
        match request.with_xid().send().await {
            Ok(answer) => understood(answer).await,
            Err(error) => (Answer::Unclear, error.without_url().to_string()),
        }
    }

    /// An order's id may have characters that mean something in a path.
    fn address(&self, order_id: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(["api", "orders", order_id, "pay"]);
        }
        url
    }
}

async fn understood(mut answer: Response) -> (Answer, String) {
    let status = answer.status().as_u16();
    if status == 200 {
        return (meaning(status, None), String::new());
    }
    let is_problem = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/problem+json"));
    let problem = if is_problem {
        let body = bounded(&mut answer).await;
        serde_json::from_slice(&body).unwrap_or_default()
    } else {
        ProblemBody::default()
    };
    let code = problem.code.as_deref();
    let said = format!(
        "{status} {} {}",
        code.unwrap_or("without a code"),
        problem.detail.as_deref().unwrap_or_default()
    );
    let said = said.chars().take(SAID_CHARACTERS_MAX).collect();
    (meaning(status, code), said)
}

/// The body, or nothing of one that is too long or breaks off.
async fn bounded(answer: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Vec::new();
        }
        body.extend_from_slice(&piece);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orders_id_stays_one_part_of_the_path() {
        let settings = config::Confirmation {
            orders_url: "http://orders:8080/shop".to_owned(),
            timeout_milliseconds: 1000,
            concurrency: 1,
            max_tries: 1,
        };
        let service = OrderService::new(&settings).unwrap();
        let address = |id: &str| service.address(id).to_string();
        assert_eq!(address("O-1"), "http://orders:8080/shop/api/orders/O-1/pay");
        assert_eq!(
            address("a/b?c|d"),
            "http://orders:8080/shop/api/orders/a%2Fb%3Fc|d/pay"
        );
    }
}
