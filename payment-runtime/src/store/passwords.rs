//! The passwords of the database's users. Each user changes its own, which needs the privilege
//! `APPLICATION_PASSWORD_ADMIN`; MySQL lets a user have two (MariaDB does not).
//!
//! Statements that hold a password are never logged, and the server's words about one are not
//! repeated.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use contract::config;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// A database that starts beside us gets a minute.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);
const ACCESS_DENIED: u16 = 1045;

/// Both passwords let the user in when this has ended well.
pub(crate) async fn accept(
    user: &config::Mysql,
    present: &SecretString,
    next: &SecretString,
) -> anyhow::Result<()> {
    let mut session = match open(user, present).await? {
        Some(session) => session,
        None => open(user, next)
            .await?
            .context("both passwords of its Secret are refused: restart the database")?,
    };
    alone(&mut session).await?;
    // The password that is changed steps back; to change it twice would lose it.
    let missing = match (lets_in(user, present).await?, lets_in(user, next).await?) {
        (true, true) => None,
        (true, false) => Some(next),
        (false, _) => Some(present),
    };
    if let Some(password) = missing {
        let password = quoted(password)?;
        let change = format!("ALTER USER USER() IDENTIFIED BY {password} RETAIN CURRENT PASSWORD");
        execute(&mut session, change).await?;
    }
    if !lets_in(user, present).await? || !lets_in(user, next).await? {
        bail!("one of both passwords is still refused");
    }
    session.close().await.ok();
    Ok(())
}

/// Only the present password lets the user in when this has ended well.
pub(crate) async fn discard(
    user: &config::Mysql,
    present: &SecretString,
    previous: &SecretString,
) -> anyhow::Result<()> {
    let mut session = open(user, present)
        .await?
        .context("the password of its Secret is refused: restart the database")?;
    alone(&mut session).await?;
    // The present one may stand in the second place, whose password is the one that goes.
    let first = format!("ALTER USER USER() IDENTIFIED BY {}", quoted(present)?);
    execute(&mut session, first).await?;
    execute(
        &mut session,
        "ALTER USER USER() DISCARD OLD PASSWORD".to_owned(),
    )
    .await?;
    let same = previous.expose_secret() == present.expose_secret();
    if !same && lets_in(user, previous).await? {
        bail!("the former password is still accepted");
    }
    session.close().await.ok();
    Ok(())
}

/// Waits until nobody else changes this user's passwords; lasts as long as the session.
async fn alone(session: &mut MySqlConnection) -> anyhow::Result<()> {
    const SQL: &str =
        "SELECT GET_LOCK(CONCAT('passwords of ', SUBSTRING_INDEX(USER(), '@', 1)), 30)";
    let got: Option<i64> = sqlx::query_scalar(SQL)
        .fetch_one(session)
        .await
        .context("cannot lock the user's passwords")?;
    match got {
        Some(1) => Ok(()),
        _ => bail!("another process has been changing the user's passwords for 30 seconds"),
    }
}

async fn lets_in(user: &config::Mysql, password: &SecretString) -> anyhow::Result<bool> {
    match open(user, password).await? {
        Some(session) => {
            session.close().await.ok();
            Ok(true)
        }
        None => Ok(false),
    }
}

/// `None` if the password is refused.
async fn open(
    user: &config::Mysql,
    password: &SecretString,
) -> anyhow::Result<Option<MySqlConnection>> {
    let options = super::server(user)
        .password(password.expose_secret())
        .disable_statement_logging();
    let mut tries_left = TRIES;
    loop {
        tries_left -= 1;
        match options.connect().await {
            Ok(session) => return Ok(Some(session)),
            Err(error) if number(&error) == Some(ACCESS_DENIED) => return Ok(None),
            Err(error) if tries_left == 0 => return Err(error).context("cannot connect"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// A password as a literal. None that would need escaping is taken.
fn quoted(password: &SecretString) -> anyhow::Result<String> {
    let text = password.expose_secret();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    if text.bytes().all(plain) {
        return Ok(format!("'{text}'"));
    }
    bail!("its password has characters other than letters, digits and . _ ~ -: choose another one")
}

async fn execute(session: &mut MySqlConnection, sql: String) -> anyhow::Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(session).await;
    done.map(drop).map_err(|error| match number(&error) {
        Some(1064) => anyhow!("the server knows no second password (MySQL error 1064)"),
        Some(1227) => anyhow!("the user lacks APPLICATION_PASSWORD_ADMIN (MySQL error 1227)"),
        Some(number) => anyhow!("the password could not be changed (MySQL error {number})"),
        None => anyhow!("the connection broke while the password was changed"),
    })
}

fn number(error: &sqlx::Error) -> Option<u16> {
    let sqlx::Error::Database(error) = error else {
        return None;
    };
    let error = error.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_passwords_are_quoted() {
        assert_eq!(quoted(&"aB9._~-".into()).unwrap(), "'aB9._~-'");
        for bad in ["it's", "a b", "a\\", "ü"] {
            let error = quoted(&bad.into()).unwrap_err().to_string();
            assert!(!error.contains(bad), "{error}");
        }
    }
}
