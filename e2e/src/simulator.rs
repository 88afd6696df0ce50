//! A client of the channel simulator's admin port: the payer, the channels' moods and their books.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use reqwest::Client;
use serde_json::{Value, json};

use crate::api::{Answer, http_client, send};

/// A line of a channel's own book.
#[derive(Clone, Debug)]
pub struct Charge {
    pub out_trade_no: String,
    pub transaction_id: String,
    pub amount_minor: i64,
    pub state: String,
}

#[derive(Clone)]
pub struct Simulator {
    http: Client,
    base: String,
}

impl Simulator {
    pub fn new(admin: &str) -> Result<Self> {
        Ok(Self {
            http: http_client()?,
            base: admin.to_owned(),
        })
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let answer = send(self.http.post(&url).json(body)).await;
        accepted(
            answer.with_context(|| format!("POST {url}"))?,
            &format!("POST {path} {body}"),
        )
    }

    async fn read(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let answer = send(self.http.get(&url)).await;
        accepted(
            answer.with_context(|| format!("GET {url}"))?,
            &format!("GET {path}"),
        )
    }

    /// The payer pays; the answer carries the channel's transaction number.
    pub async fn pay(&self, channel: &str, out_trade_no: &str) -> Result<Value> {
        self.post(
            "/pay",
            &json!({"channel": channel, "outTradeNo": out_trade_no}),
        )
        .await
    }

    /// Arms a fault: `{name, channel?, count?, operation?, outTradeNo?, caller?, seconds?, …}`.
    pub async fn arm(&self, fault: &Value) -> Result<()> {
        self.post("/faults", fault).await.map(drop)
    }

    pub async fn disarm(&self) -> Result<()> {
        let url = format!("{}/faults", self.base);
        let answer = send(self.http.delete(&url))
            .await
            .with_context(|| format!("DELETE {url}"))?;
        accepted(answer, "DELETE /faults").map(drop)
    }

    /// Everything the channel has charged for one of our numbers, or was asked to.
    pub async fn charges(&self, channel: &str, out_trade_no: &str) -> Result<Vec<Charge>> {
        let all = self.book(channel).await?;
        Ok(all
            .into_iter()
            .filter(|charge| charge.out_trade_no == out_trade_no)
            .collect())
    }

    pub async fn book(&self, channel: &str) -> Result<Vec<Charge>> {
        let book = self.read(&format!("/book?channel={channel}")).await?;
        let charges = book["charges"].as_array().cloned().unwrap_or_default();
        Ok(charges.iter().map(charge).collect())
    }

    /// Every refund that the channel accepted, as it shows them.
    pub async fn refunds(&self, channel: &str) -> Result<Vec<Value>> {
        let book = self.read(&format!("/book?channel={channel}")).await?;
        Ok(book["refunds"].as_array().cloned().unwrap_or_default())
    }

    /// Sends the callback of a paid charge again, `times` times; how many were acknowledged.
    pub async fn replay(&self, channel: &str, out_trade_no: &str, times: u32) -> Result<u64> {
        let body = json!({"channel": channel, "outTradeNo": out_trade_no, "times": times});
        let answer = self.post("/callbacks/replay", &body).await?;
        answer["acknowledged"]
            .as_u64()
            .context("the answer lacks acknowledged")
    }

    /// Sends a callback that lies (`signature`, `amount`, `app`, `stale`); whether it was
    /// acknowledged.
    pub async fn forge(&self, channel: &str, out_trade_no: &str, kind: &str) -> Result<bool> {
        let body = json!({"channel": channel, "outTradeNo": out_trade_no, "kind": kind});
        let answer = self.post("/callbacks/forge", &body).await?;
        answer["acknowledged"]
            .as_bool()
            .context("the answer lacks acknowledged")
    }

    /// What a client needs of the keys in use.
    pub async fn keys(&self) -> Result<BTreeMap<String, String>> {
        let keys = self.read("/keys").await?;
        serde_json::from_value(keys).context("the keys are no texts")
    }

    /// Makes keys for the channels to change to, valid beside those in use; what the Secret and the
    /// simulator need of them.
    pub async fn make_next_keys(&self) -> Result<BTreeMap<String, String>> {
        let keys = self.post("/keys/next", &json!({})).await?;
        serde_json::from_value(keys).context("the next keys are no texts")
    }

    /// The channels seal and sign with the next keys from now on.
    pub async fn switch_keys(&self) -> Result<()> {
        self.post("/keys/switch", &json!({})).await.map(drop)
    }

    /// The former keys are refused from now on.
    pub async fn give_up_keys(&self) -> Result<()> {
        self.post("/keys/give-up", &json!({})).await.map(drop)
    }

    /// The channels' calendar, RFC 3339 in Beijing time.
    pub async fn calendar(&self) -> Result<String> {
        let clock = self.read("/clock").await?;
        Ok(clock["calendar"]
            .as_str()
            .context("the answer lacks calendar")?
            .to_owned())
    }

    pub async fn advance(&self, seconds: i64) -> Result<()> {
        self.post("/clock", &json!({"advanceSeconds": seconds}))
            .await
            .map(drop)
    }
}

fn accepted(answer: Answer, what: &str) -> Result<Value> {
    if answer.status >= 300 {
        bail!(
            "the simulator answered {what} with {}: {}",
            answer.status,
            answer.body
        );
    }
    Ok(answer.body)
}

fn charge(line: &Value) -> Charge {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    Charge {
        out_trade_no: text("outTradeNo"),
        transaction_id: text("transactionId"),
        amount_minor: line["amountMinor"].as_i64().unwrap_or_default(),
        state: text("state"),
    }
}
