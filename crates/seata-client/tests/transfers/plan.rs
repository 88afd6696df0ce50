//! What a transfer is to be, drawn at random.

use std::time::Duration;

use rand::Rng;

pub(crate) const ACCOUNTS: i64 = 1000;

/// How it is to end, if nothing else comes in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    /// Its work fails.
    Fail,
    /// Its work takes about as long as its time-out.
    Dawdle(Duration),
    /// Nobody waits for it any longer than this.
    Leave(Duration),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) amount: i64,
    /// In one branch, where both accounts are in one database.
    pub(crate) together: bool,
    pub(crate) timeout: Duration,
    pub(crate) end: End,
}

impl Plan {
    pub(crate) fn draw(random: &mut impl Rng) -> Self {
        let from = random.random_range(0..ACCOUNTS);
        let end = match random.random_range(0..100) {
            0..70 => End::Commit,
            70..85 => End::Fail,
            85..90 => End::Dawdle(Duration::from_millis(random.random_range(500..3000))),
            _ => End::Leave(Duration::from_millis(random.random_range(0..60))),
        };
        Self {
            from,
            to: (from + random.random_range(1..ACCOUNTS)) % ACCOUNTS,
            amount: random.random_range(1..=10),
            together: random.random(),
            timeout: match end {
                End::Dawdle(_) => Duration::from_secs(1),
                _ => Duration::from_secs(6),
            },
            end,
        }
    }
}
