//! A client of the order service that comes with the system.

use anyhow::{Context as _, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};

use crate::api::{Answer, http_client, send};

#[derive(Clone)]
pub struct OrderService {
    http: Client,
    base: String,
}

impl OrderService {
    pub fn new(base: &str) -> Result<Self> {
        Ok(Self {
            http: http_client()?,
            base: format!("{base}/api"),
        })
    }

    /// What stands at a path below `/api`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let answer = send(self.http.get(&url)).await;
        answer.with_context(|| format!("GET {url}"))
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let answer = send(self.http.put(&url).json(body)).await;
        answer.with_context(|| format!("PUT {url}"))
    }

    pub async fn order(&self, id: &str) -> Result<Answer> {
        self.get(&format!("/orders/{id}")).await
    }

    /// Sets what is there of a product.
    pub async fn stock(&self, product: &str, quantity: u64) -> Result<()> {
        let path = format!("/stock/{product}");
        let answer = self.put(&path, &json!({"quantity": quantity})).await?;
        ensure!(answer.status == 200, "PUT {path}: {answer:?}");
        Ok(())
    }

    /// What is there of a product.
    pub async fn available(&self, product: &str) -> Result<u64> {
        let path = format!("/stock/{product}");
        let answer = self.get(&path).await?;
        let quantity = answer.body["quantity"].as_u64();
        quantity.with_context(|| format!("GET {path}: {answer:?}"))
    }
}
