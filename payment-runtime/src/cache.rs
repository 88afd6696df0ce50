//! The fast answer to repeats: a Redis key per order.
//!
//! Guarantees: nothing is decided here. A cache that is down, slow, evicting or wrong costs a
//! look into the database, never a second charge; each call is bounded by a short time-out.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use contract::config;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, TlsCertificates};
use tokio::sync::OnceCell;
use tokio::time::error::Elapsed;

use crate::authority;
use crate::ports::{OrderCache, Seen};
use crate::silence::Silence;

const KEY_PREFIX: &str = "payment:idempotent:";

/// A connection to Redis that reconnects by itself.
pub struct Cache {
    client: Client,
    connection: OnceCell<ConnectionManager>,
    timeout: Duration,
    window: Duration,
    silence: Silence,
}

impl Cache {
    /// Prepares the client without connecting.
    pub fn new(config: &config::Redis, window_seconds: u64) -> anyhow::Result<Self> {
        let read = |file: &std::path::PathBuf| {
            std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the cache password from {}", file.display()))
        };
        let password = config.password_file.as_ref().map(read).transpose()?;
        Ok(Self {
            client: client(config, password.as_deref().map(str::trim_end))?,
            connection: OnceCell::new(),
            timeout: Duration::from_millis(config.timeout_milliseconds),
            window: Duration::from_secs(window_seconds),
            silence: Silence::default(),
        })
    }

    /// Logs why it does not answer, once.
    fn tell<T>(&self, answer: &Result<redis::RedisResult<T>, Elapsed>) {
        let why = match answer {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", self.timeout)),
        };
        self.silence.tell("the cache", why);
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

/// Where the cache is, what lets us in, and who vouches for it.
pub(crate) fn client(config: &config::Redis, password: Option<&str>) -> anyhow::Result<Client> {
    const INVALID: &str = "the cache's address is not valid";
    let (host, port) = (config.host.clone(), config.port);
    let address = match &config.tls {
        None => ConnectionAddr::Tcp(host, port),
        Some(_) => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
    };
    let mut info = address.into_connection_info().context(INVALID)?;
    if let Some(password) = password {
        let settings = info.redis_settings().clone().set_password(password);
        info = info.set_redis_settings(settings);
    }
    let Some(tls) = &config.tls else {
        return Client::open(info).context(INVALID);
    };
    let authorities = authority::read(&tls.ca_file).context("redis.tls cannot be used")?;
    let trusted = TlsCertificates {
        client_tls: None,
        root_cert: Some(authorities),
    };
    Client::build_with_tls(info, trusted).context("redis.tls cannot be used")
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
        let answer = tokio::time::timeout(self.timeout, ask).await;
        self.tell(&answer);
        matches!(answer, Ok(Ok(_)))
    }
}
