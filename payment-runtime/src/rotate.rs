//! Lets the stores accept next passwords beside those in use, and later forget the former ones.
//!
//! Guarantees: whatever is found, a phase ends in the same state, also when it runs again, beside
//! itself, or after half of it; no password is ever printed, and none is part of an error.
//! [`Phase::Accept`] ends only when both passwords were let in, [`Phase::Discard`] only when the
//! former one was refused.
//!
//! Deliberately not here: making passwords, and telling anybody which one to use (the operator).

mod cache;

use std::path::Path;

use anyhow::{Context as _, bail};
use contract::RuntimeConfig;
use contract::config::Mysql;
use contract::names::{COORDINATOR_DATABASE, rotation as name};
use secrecy::{ExposeSecret as _, SecretString};

use crate::store::passwords;

/// What the stores are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Let the next password in beside the present one.
    Accept,
    /// Refuse the former password.
    Discard,
}

impl Phase {
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            name::ACCEPT => Ok(Self::Accept),
            name::DISCARD => Ok(Self::Discard),
            _ => Err(format!("must be {} or {}", name::ACCEPT, name::DISCARD)),
        }
    }

    /// What the other password's file is called by.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Accept => name::NEXT,
            Self::Discard => name::RETIRED,
        }
    }
}

/// The password in use, and the one that comes or goes.
struct Pair {
    present: SecretString,
    other: SecretString,
}

/// Carries a phase out for every password in `directory` that has another one beside it.
pub async fn run(config: &RuntimeConfig, directory: &Path, phase: Phase) -> anyhow::Result<()> {
    let mut done = 0;
    for (folder, key, user) in database_users(config) {
        if let Some(pair) = pair(&directory.join(folder), key, phase)? {
            database(&user, &pair, phase)
                .await
                .with_context(|| format!("user {} of the database", user.username))?;
            tracing::info!(user = user.username, ?phase, "done in the database");
            done += 1;
        }
    }
    let files = pair(&directory.join(name::REDIS), name::PASSWORD, phase)?;
    if let Some((pair, config)) = files.zip(config.redis.as_ref()) {
        match phase {
            Phase::Accept => cache::accept(config, &pair.present, &pair.other).await,
            Phase::Discard => cache::discard(config, &pair.present, &pair.other).await,
        }
        .context("the cache")?;
        tracing::info!(?phase, "done in the cache");
        done += 1;
    }
    if done == 0 {
        bail!(
            "{} has no password called {}…: nothing to do",
            directory.display(),
            phase.prefix()
        );
    }
    Ok(())
}

/// Directory and key of each password, and where its user logs in.
fn database_users(config: &RuntimeConfig) -> Vec<(&'static str, &'static str, Mysql)> {
    let coordinator = Mysql {
        username: COORDINATOR_DATABASE.to_owned(),
        ..config.mysql.clone()
    };
    let mut users = vec![
        (name::MYSQL, name::PASSWORD, config.mysql.clone()),
        (name::MYSQL, name::COORDINATOR_PASSWORD, coordinator),
    ];
    let orders = config.orders.as_ref();
    users.extend(orders.map(|orders| (name::ORDERS, name::PASSWORD, orders.mysql.clone())));
    users
}

async fn database(user: &Mysql, pair: &Pair, phase: Phase) -> anyhow::Result<()> {
    match phase {
        Phase::Accept => passwords::accept(user, &pair.present, &pair.other).await,
        Phase::Discard => passwords::discard(user, &pair.present, &pair.other).await,
    }
}

/// `None` if nothing is to be done about this password.
fn pair(folder: &Path, key: &str, phase: Phase) -> anyhow::Result<Option<Pair>> {
    let other = folder.join(format!("{}{key}", phase.prefix()));
    if !other.exists() {
        return Ok(None);
    }
    Ok(Some(Pair {
        present: read(&folder.join(key))?,
        other: read(&other)?,
    }))
}

fn read(file: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the password in {}", file.display()))?;
    let password = SecretString::from(text.trim_end());
    if password.expose_secret().is_empty() {
        bail!("the password in {} is empty", file.display());
    }
    Ok(password)
}
