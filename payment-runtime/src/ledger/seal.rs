//! Seals: one hash over everything that came before in a shard.
//!
//! Guarantees: pure; the hashed text is unambiguous, because each value comes with its length; it
//! is described in docs/ledger.md, and a test holds it still.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::records::Entry;

/// Chains of seals, each with a writer of its own.
pub const SHARDS: u8 = 4;

/// The hash before the first of each chain.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The chain of an entry: of its payment, or of its own key where it belongs to none.
pub fn shard_of(payment_no: Option<&str>, entry_key: &str) -> u8 {
    Sha256::digest(payment_no.unwrap_or(entry_key))[0] % SHARDS
}

/// The seal of an entry at a place of a chain, in lower-case hexadecimal digits.
pub fn seal(previous: &str, shard: u8, sequence: u64, entry: &Entry) -> String {
    format!(
        "{:x}",
        Sha256::digest(text(previous, shard, sequence, entry))
    )
}

fn text(previous: &str, shard: u8, sequence: u64, entry: &Entry) -> String {
    let mut text = String::with_capacity(768);
    let mut line = |name: &str, value: Option<&str>| {
        // Writing into a String cannot fail.
        let _ = match value {
            Some(value) => writeln!(text, "{name} {}:{value}", value.len()),
            None => writeln!(text, "{name} -"),
        };
    };
    line("seal", Some("1"));
    line("previous", Some(previous));
    line("shard", Some(&shard.to_string()));
    line("sequence", Some(&sequence.to_string()));
    line("id", Some(&entry.id.to_string()));
    line("key", Some(&entry.entry_key));
    line("payment", entry.payment_no.as_deref());
    line("refund", entry.refund_no.as_deref());
    line("channel", Some(&entry.channel));
    line("debit", Some(&entry.debit));
    line("credit", Some(&entry.credit));
    line("amount", Some(&entry.amount_minor.to_string()));
    line("currency", Some(&entry.currency));
    line("day", Some(&entry.day));
    line("cause", Some(&entry.cause));
    line("source", Some(&entry.source));
    line("actor", Some(&entry.actor));
    line("rule", entry.rule.as_deref());
    line("reference", Some(&entry.reference));
    let recorded_at = entry.recorded_at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    line("recorded", Some(&recorded_at.to_string()));
    text
}

/// The end of a chain, and the seals that were added to it.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) shard: u8,
    pub(crate) sequence: u64,
    pub(crate) hash: String,
}

impl Chain {
    /// Adds an entry's seal to the chain.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.sequence += 1;
        self.hash = seal(&self.hash, self.shard, self.sequence, entry);
    }
}

/// Sums of sealed entries in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) debit_minor: i64,
    pub(crate) credit_minor: i64,
    pub(crate) entries: u64,
}

/// Which sum: account, currency, day.
pub(crate) type SumKey = (String, String, String);

/// Sums by account, currency and day.
#[derive(Debug, Default)]
pub(crate) struct Sums(pub(crate) BTreeMap<SumKey, Sum>);

impl Sums {
    pub(crate) fn add(&mut self, entry: &Entry) {
        let debit = self.of(&entry.debit, entry);
        debit.debit_minor = debit.debit_minor.saturating_add(entry.amount_minor);
        debit.entries += 1;
        let credit = self.of(&entry.credit, entry);
        credit.credit_minor = credit.credit_minor.saturating_add(entry.amount_minor);
        credit.entries += 1;
    }

    fn of(&mut self, account: &str, entry: &Entry) -> &mut Sum {
        let key = (
            account.to_owned(),
            entry.currency.clone(),
            entry.day.clone(),
        );
        self.0.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: 7,
            entry_key: "pay_1:charged:0".to_owned(),
            shard: 1,
            payment_no: Some("pay_1".to_owned()),
            refund_no: None,
            channel: "wechat".to_owned(),
            debit: "clearing:wechat".to_owned(),
            credit: "merchant".to_owned(),
            amount_minor: 9999,
            currency: "CNY".to_owned(),
            day: "2026-11-22".to_owned(),
            cause: "charged".to_owned(),
            source: "callback".to_owned(),
            actor: "system".to_owned(),
            rule: None,
            reference: "4200".to_owned(),
            recorded_at: "2026-11-22T06:30:01.1Z".parse().unwrap(),
        }
    }

    /// Whoever changes this text breaks every ledger that exists, and docs/ledger.md.
    #[test]
    fn the_text_of_a_seal_is_what_the_docs_say() {
        let text = text(GENESIS, 1, 1, &entry());
        let docs = include_str!("../../../docs/ledger.md");
        let hash = seal(GENESIS, 1, 1, &entry());
        assert!(docs.contains(&text), "{text}");
        assert!(docs.contains(&hash), "{hash}");
    }

    #[test]
    fn every_field_counts_and_none_runs_into_the_next() {
        let plain = seal(GENESIS, 1, 1, &entry());
        let changes: [fn(&mut Entry); 10] = [
            |e| e.id = 8,
            |e| e.payment_no = None,
            |e| e.refund_no = Some(String::new()),
            |e| e.refund_no = Some("-".to_owned()),
            |e| e.amount_minor = 9998,
            |e| std::mem::swap(&mut e.debit, &mut e.credit),
            |e| e.day = "2026-11-23".to_owned(),
            |e| e.rule = Some("v1".to_owned()),
            |e| e.reference = "4200\nrecorded 1:x".to_owned(),
            |e| e.recorded_at = "2026-11-22T06:30:01.101Z".parse().unwrap(),
        ];
        let mut seen = std::collections::BTreeSet::from([plain]);
        for change in changes {
            let mut other = entry();
            change(&mut other);
            assert!(seen.insert(seal(GENESIS, 1, 1, &other)), "{other:?}");
        }
        assert!(seen.insert(seal(GENESIS, 1, 2, &entry())));
        assert!(seen.insert(seal(GENESIS, 2, 1, &entry())));
    }

    #[test]
    fn payments_spread_over_all_shards_and_stay_where_they_are() {
        let shards: std::collections::BTreeSet<u8> = (0..100)
            .map(|n| shard_of(Some(&format!("pay_{n}")), "key"))
            .collect();
        assert_eq!(shards.len(), usize::from(SHARDS));
        assert_eq!(shard_of(Some("pay_1"), "a"), shard_of(Some("pay_1"), "b"));
        assert_eq!(shard_of(None, "pay_1"), shard_of(Some("pay_1"), "x"));
    }

    #[test]
    fn sums_of_debits_and_credits_are_equal() {
        let mut sums = Sums::default();
        sums.add(&entry());
        sums.add(&entry());
        let debits: i64 = sums.0.values().map(|sum| sum.debit_minor).sum();
        let credits: i64 = sums.0.values().map(|sum| sum.credit_minor).sum();
        assert_eq!((debits, credits), (19_998, 19_998));
        assert_eq!(sums.0.len(), 2);
    }
}
