//! Confirmation of charged payments with an order service, and the order service itself.

use serde::{Deserialize, Serialize};

use super::Mysql;

/// How charged payments are confirmed: in one global transaction of the configured coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Confirmation {
    /// Scheme and host of the order service, without a final slash: it is asked at
    /// `/api/orders/{orderId}/pay`.
    pub orders_url: String,
    /// How long the order service may take for one answer.
    #[serde(default = "timeout")]
    pub timeout_milliseconds: u64,
    /// Confirmations under way in one process at most.
    #[serde(default = "concurrency")]
    pub concurrency: usize,
    /// After so many tries without a clear answer of the order service the money is given back.
    #[serde(default = "max_tries")]
    pub max_tries: u32,
}

/// The order and stock service of the role `orders`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Orders {
    /// Its own database, never the payments'.
    pub mysql: Mysql,
    /// Parts into which a product's stock is divided unless its owner says otherwise: as many
    /// buyers of one product do not wait for each other.
    #[serde(default = "stock_buckets")]
    pub stock_buckets: u32,
}

/// The parts a product's stock may have.
pub const STOCK_BUCKETS: std::ops::RangeInclusive<u32> = 1..=64;

type Rule = (bool, &'static str, &'static str);

impl Confirmation {
    pub(super) fn rules(&self) -> impl Iterator<Item = Rule> + use<> {
        let url = &self.orders_url;
        let scheme = url.starts_with("http://") || url.starts_with("https://");
        [
            (
                scheme && !url.ends_with('/'),
                "confirmation.ordersUrl",
                "must start with http:// or https:// and not end with a slash",
            ),
            (
                (100..=60_000).contains(&self.timeout_milliseconds),
                "confirmation.timeoutMilliseconds",
                "must be between 100 and 60000",
            ),
            (
                (1..=256).contains(&self.concurrency),
                "confirmation.concurrency",
                "must be between 1 and 256",
            ),
            (
                self.max_tries > 0,
                "confirmation.maxTries",
                "must be at least 1",
            ),
        ]
        .into_iter()
    }
}

impl Orders {
    pub(super) fn rules(&self, payments: &Mysql) -> impl Iterator<Item = Rule> + use<> {
        let place = |mysql: &Mysql| (mysql.host.clone(), mysql.port, mysql.database.clone());
        [
            (
                place(&self.mysql) != place(payments),
                "orders.mysql",
                "must name another database than the payments'",
            ),
            (
                self.mysql.max_connections > 0,
                "orders.mysql.maxConnections",
                "must be at least 1",
            ),
            (
                STOCK_BUCKETS.contains(&self.stock_buckets),
                "orders.stockBuckets",
                "must be between 1 and 64",
            ),
        ]
        .into_iter()
    }
}

fn timeout() -> u64 {
    10_000
}
fn concurrency() -> usize {
    8
}
fn max_tries() -> u32 {
    60
}
fn stock_buckets() -> u32 {
    8
}
