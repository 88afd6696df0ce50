//! The passwords of Redis' (or Valkey's) default user.
//!
//! The server keeps them in memory alone: it is started with those of its Secret.

use std::time::Duration;

use anyhow::{Context as _, bail};
use contract::config;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind};
use secrecy::{ExposeSecret as _, SecretString};

use crate::cache::client;

/// A command that changes users is rare and may wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn accept(
    config: &config::Redis,
    present: &SecretString,
    next: &SecretString,
) -> anyhow::Result<()> {
    let mut connection = match open(config, present).await? {
        Some(connection) => connection,
        None => open(config, next)
            .await?
            .context("refuses both passwords of its Secret: restart it")?,
    };
    let both = [present, next].map(|password| format!(">{}", password.expose_secret()));
    set_user(&mut connection, &both).await?;
    for password in [present, next] {
        if open(config, password).await?.is_none() {
            bail!("still refuses one of both passwords");
        }
    }
    Ok(())
}

pub(super) async fn discard(
    config: &config::Redis,
    present: &SecretString,
    previous: &SecretString,
) -> anyhow::Result<()> {
    let mut connection = open(config, present)
        .await?
        .context("refuses the password of its Secret: restart it")?;
    let only = format!(">{}", present.expose_secret());
    set_user(&mut connection, &["resetpass".to_owned(), only]).await?;
    let same = previous.expose_secret() == present.expose_secret();
    if !same && open(config, previous).await?.is_some() {
        bail!("still accepts the former password");
    }
    Ok(())
}

/// All rules take effect at once, or none.
async fn set_user(connection: &mut MultiplexedConnection, rules: &[String]) -> anyhow::Result<()> {
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("default").arg(rules);
    let done: redis::RedisResult<()> = command.query_async(connection).await;
    // The server's words may repeat a rule.
    done.map_err(|error| anyhow::anyhow!("ACL SETUSER failed ({})", error.category()))
}

/// `None` if the password is refused.
async fn open(
    config: &config::Redis,
    password: &SecretString,
) -> anyhow::Result<Option<MultiplexedConnection>> {
    let client = client(config, Some(password.expose_secret()))?;
    let patience = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN));
    match client
        .get_multiplexed_async_connection_with_config(&patience)
        .await
    {
        Ok(connection) => Ok(Some(connection)),
        Err(error) if error.kind() == ErrorKind::AuthenticationFailed => Ok(None),
        Err(error) => Err(error).context("cannot connect"),
    }
}
