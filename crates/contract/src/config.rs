//! The runtime's configuration file: written by the operator (or by hand), parsed once at start.
//!
//! Secrets are never in it: it names the files that hold them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::names;

mod confirmation;
mod reconciliation;

pub use confirmation::{Confirmation, Orders, STOCK_BUCKETS};
pub use reconciliation::{Corrections, FeeRates, LateRows, Notify, Reconciliation};

/// Everything a `payment-runtime` process is told, whatever its role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuntimeConfig {
    /// `namespace/name` of the PaymentSystem, a label on logs.
    pub system: String,
    #[serde(default)]
    pub listen: Listen,
    pub mysql: Mysql,
    /// Absent: the database alone answers repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// Absent: no global transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_coordinator: Option<Coordinator>,
    pub channels: Channels,
    #[serde(default)]
    pub payment: Payment,
    #[serde(default)]
    pub worker: Worker,
    #[serde(default)]
    pub reconciliation: Reconciliation,
    /// Absent: a payment is done when it is charged. Needs the coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// Absent: no order service is served here. Needs the coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<Orders>,
    #[serde(default)]
    pub shutdown: Shutdown,
}

/// Where the process listens. Port 0 takes a free port, which is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Listen {
    pub http: String,
    pub management: String,
    /// Holds [`names::CERTIFICATE_FILE`] and [`names::PRIVATE_KEY_FILE`]: `http` then speaks HTTPS.
    /// `--certificate` takes its place. The management port never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_directory: Option<PathBuf>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            http: format!("0.0.0.0:{}", crate::ports::HTTP),
            management: format!("0.0.0.0:{}", crate::ports::MANAGEMENT),
            certificate_directory: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mysql {
    pub host: String,
    #[serde(default = "mysql_port")]
    pub port: u16,
    #[serde(default = "payment_database")]
    pub database: String,
    pub username: String,
    pub password_file: PathBuf,
    /// Connections one process holds at most.
    #[serde(default = "ten")]
    pub max_connections: u32,
    /// Absent: encrypted if the server offers it, and whoever answers is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// A connection is encrypted, and the server must show a certificate for its host name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the authorities that the server's certificate is verified by.
    pub ca_file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    pub host: String,
    #[serde(default = "redis_port")]
    pub port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Time-out of one command; a slower cache is treated as absent.
    #[serde(default = "redis_timeout")]
    pub timeout_milliseconds: u64,
    /// Absent: plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// The Seata transaction coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coordinator {
    pub host: String,
    pub port: u16,
    pub transaction_group: String,
    /// Absent: plain. Coordinators speak no TLS themselves, what stands in front of one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channels {
    /// Scheme and host under which the channels reach the callback role, without a final slash.
    pub callback_base_url: String,
    /// Holds one file per key of [`names::channel_key`].
    #[serde(default = "credentials_directory")]
    pub credentials_directory: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wechat: Option<Wechat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alipay: Option<Alipay>,
    /// Connecting takes longer than this: the request was surely not sent.
    #[serde(default = "connect_timeout")]
    pub connect_timeout_milliseconds: u64,
    /// The whole call takes longer than this: the outcome is unknown.
    #[serde(default = "total_timeout")]
    pub total_timeout_milliseconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wechat {
    /// `https://api.mch.weixin.qq.com`, or the simulator, without a final slash.
    pub base_url: String,
    /// Also trust WeChat Pay's platform certificates, downloaded and refreshed; for merchants
    /// registered before WeChat Pay public keys existed. The public key is then optional.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub platform_certificates: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alipay {
    /// `https://openapi.alipay.com/gateway.do`, or the simulator's.
    pub gateway_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Payment {
    /// How long the cache answers repeats of one order.
    pub idempotency_window_seconds: u64,
    /// Time a payer has when the request does not say.
    pub expires_in_seconds: u64,
    /// Requests one process works on at once; more are answered 503.
    pub max_concurrent_requests: usize,
    /// What is done with money that came after a payment was closed or failed.
    pub paid_after_close: PaidAfterClose,
    /// Commits what concurrent requests record together.
    pub batching: bool,
}

/// What is done with money that came after a payment was closed or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PaidAfterClose {
    /// Given back at once.
    #[default]
    Refund,
    /// Taken as paid after all, unless the order has a later attempt: then given back.
    Reopen,
    /// Nothing but the alarm: a person decides.
    Manual,
}

impl Default for Payment {
    fn default() -> Self {
        Self {
            idempotency_window_seconds: 300,
            expires_in_seconds: 7200,
            max_concurrent_requests: 512,
            paid_after_close: PaidAfterClose::default(),
            batching: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Worker {
    /// Pause between two looks at the queue while it is empty.
    pub poll_interval_milliseconds: u64,
    /// Payments claimed at once.
    pub batch_size: u32,
    /// A claim older than this belongs to a dead worker and is taken over.
    pub lease_seconds: u64,
    /// Channel calls in flight at most.
    pub concurrency: usize,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            poll_interval_milliseconds: 1000,
            batch_size: 50,
            lease_seconds: 60,
            concurrency: 8,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Shutdown {
    /// Readiness is off this long before the listener closes, so that endpoints can follow.
    pub ready_off_seconds: u64,
    /// Requests in flight get this long to finish.
    pub drain_seconds: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            ready_off_seconds: 3,
            drain_seconds: 20,
        }
    }
}

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration is not valid: {0}")]
    Parse(String),
    #[error("{field} {problem}")]
    Invalid {
        field: &'static str,
        problem: &'static str,
    },
}

impl RuntimeConfig {
    /// Parses and checks a configuration file.
    pub fn parse(yaml: &str) -> Result<Self, ConfigError> {
        let config: Self =
            serde_saphyr::from_str(yaml).map_err(|error| ConfigError::Parse(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// The file as the operator renders it: equal values give equal bytes.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        serde_saphyr::to_string(self).map_err(|error| ConfigError::Parse(error.to_string()))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let rules = [
            (
                self.mysql.max_connections > 0,
                "mysql.maxConnections",
                "must be at least 1",
            ),
            (
                self.worker.batch_size > 0,
                "worker.batchSize",
                "must be at least 1",
            ),
            (
                self.worker.concurrency > 0,
                "worker.concurrency",
                "must be at least 1",
            ),
            (
                self.worker.lease_seconds > 0,
                "worker.leaseSeconds",
                "must be at least 1",
            ),
            (
                self.payment.max_concurrent_requests > 0,
                "payment.maxConcurrentRequests",
                "must be at least 1",
            ),
            (
                self.channels.callback_base_url.starts_with("http"),
                "channels.callbackBaseUrl",
                "must start with http:// or https://",
            ),
            (
                self.channels.wechat.is_some() || self.channels.alipay.is_some(),
                "channels",
                "must configure wechat, alipay or both",
            ),
            (
                self.transaction_coordinator.is_some()
                    || (self.confirmation.is_none() && self.orders.is_none()),
                "transactionCoordinator",
                "is needed by confirmation and orders",
            ),
        ];
        let confirmation = self.confirmation.iter().flat_map(Confirmation::rules);
        let orders = self.orders.iter().flat_map(|it| it.rules(&self.mysql));
        let mut rules = rules
            .into_iter()
            .chain(self.reconciliation.rules())
            .chain(confirmation)
            .chain(orders);
        match rules.find(|(holds, ..)| !holds) {
            Some((_, field, problem)) => Err(ConfigError::Invalid { field, problem }),
            None => Ok(()),
        }
    }
}

fn mysql_port() -> u16 {
    crate::ports::MYSQL
}
fn redis_port() -> u16 {
    crate::ports::REDIS
}
fn payment_database() -> String {
    names::PAYMENT_DATABASE.to_owned()
}
fn credentials_directory() -> PathBuf {
    names::CHANNEL_CREDENTIALS_DIRECTORY.into()
}
fn ten() -> u32 {
    10
}
fn redis_timeout() -> u64 {
    100
}
fn connect_timeout() -> u64 {
    3_000
}
fn total_timeout() -> u64 {
    12_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
system: payment/demo
mysql: {host: db, username: payment, passwordFile: /etc/payment/mysql/password}
channels:
  callbackBaseUrl: http://callback:8088
  wechat: {baseUrl: http://simulator:8080}
";

    #[test]
    fn defaults_fill_what_is_not_said_and_the_file_round_trips() {
        let config = RuntimeConfig::parse(SMALL).unwrap();
        assert_eq!(config.payment.idempotency_window_seconds, 300);
        assert_eq!(config.reconciliation.days, 7);
        assert_eq!(
            RuntimeConfig::parse(&config.to_yaml().unwrap()).unwrap(),
            config
        );
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = RuntimeConfig::parse(&format!("{SMALL}typo: 1\n")).unwrap_err();
        assert!(error.to_string().contains("typo"), "{error}");
    }

    #[test]
    fn a_value_that_cannot_work_names_its_field() {
        let yaml = format!("{SMALL}worker: {{batchSize: 0}}\n");
        let error = RuntimeConfig::parse(&yaml).unwrap_err();
        assert_eq!(error.to_string(), "worker.batchSize must be at least 1");
    }

    #[test]
    fn confirmation_and_orders_need_a_coordinator_and_a_database_of_their_own() {
        let error = |more: &str| {
            let parsed = RuntimeConfig::parse(&format!("{SMALL}{more}"));
            parsed.unwrap_err().to_string()
        };
        let confirmation = "confirmation: {ordersUrl: 'http://orders:8080'}\n";
        let coordinator = "transactionCoordinator: {host: tc, port: 8091, transactionGroup: g}\n";
        assert!(error(confirmation).starts_with("transactionCoordinator is needed"));
        let yaml = format!("{SMALL}{coordinator}{confirmation}");
        let config = RuntimeConfig::parse(&yaml).unwrap();
        assert_eq!(config.confirmation.unwrap().concurrency, 8);
        let slash = format!("{coordinator}confirmation: {{ordersUrl: 'http://orders/'}}\n");
        assert!(error(&slash).starts_with("confirmation.ordersUrl must"));
        let same = "orders: {mysql: {host: db, username: o, passwordFile: /p}}\n";
        assert!(error(&format!("{coordinator}{same}")).starts_with("orders.mysql must"));
    }
}
