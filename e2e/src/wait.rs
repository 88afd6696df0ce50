//! Waiting for a condition, never for a time.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause after the first look; each one is twice as long as the one before, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LONGEST: Duration = Duration::from_millis(250);

/// What one look found.
pub enum Seen<T> {
    Done(T),
    /// Not yet, and why: the last reason is part of the failure.
    NotYet(String),
}

impl<T> Seen<T> {
    pub fn not_yet(why: impl Display) -> Self {
        Self::NotYet(why.to_string())
    }
}

impl Seen<()> {
    /// Done when `holds`, else the reason.
    pub fn when(holds: bool, otherwise: impl Display) -> Self {
        if holds {
            Self::Done(())
        } else {
            Self::not_yet(otherwise)
        }
    }
}

/// Looks again and again until the condition holds. A look that fails counts as "not yet": API
/// servers and services restart while tests run.
pub async fn until<T, L>(what: &str, limit: Duration, mut look: L) -> Result<T>
where
    L: AsyncFnMut() -> Result<Seen<T>>,
{
    let began = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let why = match look().await {
            Ok(Seen::Done(found)) => return Ok(found),
            Ok(Seen::NotYet(why)) => why,
            Err(error) => format!("{error:#}"),
        };
        if began.elapsed() >= limit {
            bail!(
                "waited {} s in vain for {what}; last seen: {why}",
                limit.as_secs()
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}
