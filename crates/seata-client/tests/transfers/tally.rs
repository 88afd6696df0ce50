//! What the clients were told of their transfers.

use std::collections::BTreeSet;
use std::fmt;

/// What a client says of one transfer, as it travels to the process that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Committed,
    /// Surely not committed: its work failed, or the coordinator said so.
    NotCommitted,
    /// Not even begun: no coordinator was there.
    NotBegun,
    /// Nobody knows, or nobody waited.
    Unknown,
}

const WORDS: [(Told, &str); 4] = [
    (Told::Committed, "committed"),
    (Told::NotCommitted, "not-committed"),
    (Told::NotBegun, "not-begun"),
    (Told::Unknown, "unknown"),
];

impl Told {
    pub(crate) fn text(self, transfer: i64) -> String {
        let word = WORDS.iter().find(|(told, _)| *told == self);
        format!("{} {transfer}", word.unwrap().1)
    }

    fn parse(text: &str) -> (Self, i64) {
        let (word, transfer) = text.split_once(' ').unwrap();
        let told = WORDS.iter().find(|(_, own)| *own == word);
        (told.unwrap().0, transfer.parse().unwrap())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) committed: BTreeSet<i64>,
    pub(crate) not_committed: BTreeSet<i64>,
    not_begun: usize,
    unknown: usize,
    pub(crate) clients_killed: usize,
    pub(crate) clients_frozen: usize,
    pub(crate) coordinators_killed: usize,
    pub(crate) coordinators_frozen: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, text: &str) {
        match Told::parse(text) {
            (Told::Committed, transfer) => {
                self.committed.insert(transfer);
            }
            (Told::NotCommitted, transfer) => {
                self.not_committed.insert(transfer);
            }
            (Told::NotBegun, _) => self.not_begun += 1,
            (Told::Unknown, _) => self.unknown += 1,
        }
    }

    pub(crate) fn committed(&self) -> usize {
        self.committed.len()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} committed, {} not committed, {} unknown to their clients, {} not begun; \
             clients killed {} times, frozen {} times; coordinators killed {} times, frozen {} times",
            self.committed.len(),
            self.not_committed.len(),
            self.unknown,
            self.not_begun,
            self.clients_killed,
            self.clients_frozen,
            self.coordinators_killed,
            self.coordinators_frozen
        )
    }
}
