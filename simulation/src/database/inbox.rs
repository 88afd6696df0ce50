//! Callbacks that were kept.

use jiff::Timestamp;
use payment_runtime::records::{InboxEntry, NewInboxEntry};

use super::{Database, key_of};

/// A callback in the inbox.
#[derive(Clone, Debug)]
pub struct Kept {
    pub entry: InboxEntry,
    pub received_at: Timestamp,
    /// `None`: it is settled.
    pub next_attempt_at: Option<Timestamp>,
    pub outcome: Option<String>,
}

impl Database {
    pub fn keep_callback(&mut self, new: &NewInboxEntry, retry_at: Timestamp) -> Option<u64> {
        if !self.inbox_keys.insert(key_of(new)) {
            return None;
        }
        let id = self.next_id();
        let entry = InboxEntry {
            id,
            channel: new.channel,
            channel_order_no: new.channel_order_no.clone(),
            transaction_id: new.transaction_id.clone(),
            event: new.event.clone(),
            seen: new.seen.clone(),
            attempts: 0,
        };
        self.inbox.insert(
            id,
            Kept {
                entry,
                received_at: new.now,
                next_attempt_at: Some(retry_at),
                outcome: None,
            },
        );
        Some(id)
    }

    pub fn claim_callbacks(
        &mut self,
        now: Timestamp,
        again_at: Timestamp,
        limit: u32,
    ) -> Vec<InboxEntry> {
        let mut due: Vec<(Timestamp, u64)> = self
            .inbox
            .values()
            .filter_map(|kept| Some((kept.next_attempt_at?, kept.entry.id)))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        let mut claimed = Vec::new();
        for (_, id) in due {
            if let Some(kept) = self.inbox.get_mut(&id) {
                claimed.push(kept.entry.clone());
                kept.entry.attempts += 1;
                kept.next_attempt_at = Some(again_at);
            }
        }
        claimed
    }

    pub fn settle_callback(&mut self, id: u64, outcome: &str, again_at: Option<Timestamp>) {
        if let Some(kept) = self.inbox.get_mut(&id) {
            kept.outcome = Some(outcome.to_owned());
            kept.next_attempt_at = again_at;
        }
    }
}
