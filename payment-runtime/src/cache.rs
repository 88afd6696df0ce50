//! The fast answer to repeats: a Redis key per order.
//!
//! Guarantees: nothing is decided here. A cache that is down, slow, evicting or wrong costs a
//! look into the database, never a second charge; each call is bounded by a short time-out.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use contract::config;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};
use tokio::sync::OnceCell;

use crate::ports::{OrderCache, Seen};

const KEY_PREFIX: &str = "payment:idempotent:";

/// A connection to Redis that reconnects by itself.
pub struct Cache {
    client: Client,
    connection: OnceCell<ConnectionManager>,
    timeout: Duration,
    window: Duration,
}

impl Cache {
    /// Prepares the client without connecting.
    pub fn new(config: &config::Redis, window_seconds: u64) -> anyhow::Result<Self> {
        let read = |file: &std::path::PathBuf| {
            std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the cache password from {}", file.display()))
        };
        let password = config.password_file.as_ref().map(read).transpose()?;
        let info = address(config, password.as_deref().map(str::trim_end))?;
        Ok(Self {
            client: Client::open(info).context("the cache's address is not valid")?,
            connection: OnceCell::new(),
            timeout: Duration::from_millis(config.timeout_milliseconds),
            window: Duration::from_secs(window_seconds),
        })
    }

    async fn connection(&self) -> redis::RedisResult<ConnectionManager> {
        let connect = || async {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_connection_timeout(Some(self.timeout))
                .set_response_timeout(Some(self.timeout));
            self.client.get_connection_manager_with_config(config).await
        };
        self.connection.get_or_try_init(connect).await.cloned()
    }
}

/// Where the cache is, and what lets us in.
pub(crate) fn address(
    config: &config::Redis,
    password: Option<&str>,
) -> anyhow::Result<ConnectionInfo> {
    let address = ConnectionAddr::Tcp(config.host.clone(), config.port);
    let info = address
        .into_connection_info()
        .context("the cache's address is not valid")?;
    let Some(password) = password else {
        return Ok(info);
    };
    let settings = info.redis_settings().clone().set_password(password);
    Ok(info.set_redis_settings(settings))
}

#[async_trait]
impl OrderCache for Cache {
    /// `SET NX` of the order within the idempotency window.
    async fn remember(&self, order_id: &str) -> Seen {
        let key = format!("{KEY_PREFIX}{order_id}");
        let ask = async {
            let mut connection = self.connection().await?;
            redis::cmd("SET")
                .arg(&key)
                .arg("1")
                .arg("NX")
                .arg("PX")
                .arg(u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX))
                .query_async::<Option<String>>(&mut connection)
                .await
        };
        match tokio::time::timeout(self.timeout, ask).await {
            Ok(Ok(Some(_))) => Seen::First,
            Ok(Ok(None)) => Seen::Before,
            Ok(Err(_)) | Err(_) => Seen::NoAnswer,
        }
    }

    async fn ping(&self) -> bool {
        let ask = async {
            let mut connection = self.connection().await?;
            redis::cmd("PING")
                .query_async::<String>(&mut connection)
                .await
        };
        matches!(tokio::time::timeout(self.timeout, ask).await, Ok(Ok(_)))
    }
}
