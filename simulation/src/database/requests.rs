//! Requests that came under a key.

use jiff::Timestamp;
use payment_runtime::records::{Begun, Left, NewRequest, RequestKey, StoredAnswer, judge_repeat};

use super::Database;

/// A request and, once it is known, its answer.
#[derive(Clone, Debug)]
pub struct Request {
    body_hash: String,
    lease_until: Timestamp,
    answer: Option<StoredAnswer>,
    created_at: Timestamp,
}

impl Database {
    pub(super) fn write_request(&mut self, new: &NewRequest) {
        self.requests.insert(
            new.key.clone(),
            Request {
                body_hash: new.body_hash.clone(),
                lease_until: new.lease_until,
                answer: None,
                created_at: new.now,
            },
        );
    }

    /// Whether somebody works on this request, as far as its lease tells.
    pub fn is_in_flight(&self, key: &RequestKey, now: Timestamp) -> bool {
        let request = self.requests.get(key);
        request.is_some_and(|request| request.answer.is_none() && request.lease_until > now)
    }

    pub fn begin_request(&mut self, new: &NewRequest) -> Begun {
        let Some(request) = self.requests.get_mut(&new.key) else {
            self.write_request(new);
            return Begun::Mine;
        };
        let answer = request.answer.clone();
        let begun = judge_repeat(&request.body_hash, answer, request.lease_until, new);
        if begun == Begun::Mine {
            request.lease_until = new.lease_until;
        }
        begun
    }

    pub fn finish_request(&mut self, key: &RequestKey, ours: &StoredAnswer) -> StoredAnswer {
        let Some(request) = self.requests.get_mut(key) else {
            return ours.clone();
        };
        request.answer.get_or_insert_with(|| ours.clone()).clone()
    }

    pub fn give_up_request(&mut self, key: &RequestKey, left: Left, now: Timestamp) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        match left {
            _ if request.answer.is_some() => {}
            Left::Nothing => drop(self.requests.remove(key)),
            Left::Something => request.lease_until = now,
        }
    }

    pub fn purge_requests(&mut self, before: Timestamp, limit: u32) -> u64 {
        let old: Vec<RequestKey> = self
            .requests
            .iter()
            .filter(|(_, request)| request.created_at < before)
            .take(limit as usize)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &old {
            self.requests.remove(key);
        }
        old.len() as u64
    }
}
