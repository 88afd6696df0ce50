//! Requests that wait for their answers, by id.
//!
//! It knows of each whether it was handed to the socket, so that a lost channel ends it either as
//! surely not sent or as unanswered; the two are very different to whoever asked.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::codec::Message;

/// How a request ends without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The coordinator has surely not seen it.
    NotSent(String),
    /// It may have.
    NoAnswer(String),
}

pub(super) type Answer = Result<Message, Lost>;

struct Waiting {
    answer: oneshot::Sender<Answer>,
    sent: bool,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<i32, Waiting>,
    last_id: i32,
    closed: Option<String>,
}

/// At most `max` requests of one channel.
pub(super) struct Pending {
    table: Mutex<Table>,
    max: usize,
}

impl Pending {
    /// `last_id` was used by the registration, before the channel took requests.
    pub(super) fn new(max: usize, last_id: i32) -> Self {
        let table = Table {
            last_id,
            ..Table::default()
        };
        Self {
            table: Mutex::new(table),
            max,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An id and the place where its answer will be.
    pub(super) fn open(&self) -> Result<(i32, oneshot::Receiver<Answer>), Lost> {
        let mut table = self.table();
        if let Some(why) = &table.closed {
            return Err(Lost::NotSent(why.clone()));
        }
        if table.waiting.len() >= self.max {
            let full = format!("{} requests are outstanding on the channel", self.max);
            return Err(Lost::NotSent(full));
        }
        let mut id = table.last_id.wrapping_add(1);
        while table.waiting.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        table.last_id = id;
        let (answer, place) = oneshot::channel();
        let waiting = Waiting {
            answer,
            sent: false,
        };
        table.waiting.insert(id, waiting);
        Ok((id, place))
    }

    /// To be asked just before writing; no means that nobody waits any more and nothing is to be
    /// written.
    pub(super) fn send(&self, id: i32) -> bool {
        match self.table().waiting.get_mut(&id) {
            Some(waiting) => {
                waiting.sent = true;
                true
            }
            None => false,
        }
    }

    /// Whether somebody waited for it.
    pub(super) fn answer(&self, id: i32, message: Message) -> bool {
        let waiting = self.table().waiting.remove(&id);
        waiting.is_some_and(|waiting| waiting.answer.send(Ok(message)).is_ok())
    }

    /// Nobody waits any more. Whether it may have been sent.
    pub(super) fn withdraw(&self, id: i32) -> bool {
        let waiting = self.table().waiting.remove(&id);
        waiting.is_none_or(|waiting| waiting.sent)
    }

    /// Ends all that wait, and every later [`Self::open`].
    pub(super) fn close(&self, why: &str) {
        let waiting = {
            let mut table = self.table();
            table.closed.get_or_insert_with(|| why.to_owned());
            std::mem::take(&mut table.waiting)
        };
        for one in waiting.into_values() {
            let lost = if one.sent {
                Lost::NoAnswer(why.to_owned())
            } else {
                Lost::NotSent(why.to_owned())
            };
            // Whoever went away needs no word.
            let _ = one.answer.send(Err(lost));
        }
    }

    pub(super) fn outstanding(&self) -> usize {
        self.table().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ResultHead;

    fn message() -> Message {
        Message::BranchReportResponse(ResultHead::success())
    }

    #[test]
    fn an_answer_finds_its_request_once() {
        let pending = Pending::new(4, 2);
        let (id, mut place) = pending.open().expect("room");
        assert_eq!(id, 3);
        assert!(pending.send(id));
        assert!(!pending.answer(id + 1, message()), "nobody asked that");
        assert!(pending.answer(id, message()));
        assert_eq!(place.try_recv(), Ok(Ok(message())));
        assert!(!pending.answer(id, message()), "late");
    }

    #[test]
    fn the_bound_is_kept_and_room_comes_back() {
        let pending = Pending::new(1, 0);
        let (id, _place) = pending.open().expect("room");
        assert!(matches!(pending.open(), Err(Lost::NotSent(why)) if why.contains("outstanding")));
        assert!(!pending.withdraw(id), "was not sent");
        assert!(!pending.send(id), "is not to be written");
        assert!(pending.open().is_ok());
    }

    #[test]
    fn a_lost_channel_tells_sent_from_unsent() {
        let pending = Pending::new(4, i32::MAX);
        let (sent, mut one) = pending.open().expect("room");
        assert_eq!(sent, i32::MIN, "ids go round");
        let (_, mut other) = pending.open().expect("room");
        pending.send(sent);
        pending.close("gone");
        assert_eq!(one.try_recv(), Ok(Err(Lost::NoAnswer("gone".into()))));
        assert_eq!(other.try_recv(), Ok(Err(Lost::NotSent("gone".into()))));
        assert!(matches!(pending.open(), Err(Lost::NotSent(_))));
        assert!(pending.withdraw(sent), "may have been sent");
    }
}
