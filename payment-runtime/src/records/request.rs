//! A request that came with an Idempotency-Key, and the answer that stands under it.

use jiff::Timestamp;
use payment_core::Guard;
use payment_core::guards::holds;

use super::payment::PaymentRecord;

/// Under which a client may repeat a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKey {
    /// Method and path: the same key means something else elsewhere.
    pub scope: String,
    pub key: String,
}

/// A request with a key, about to be carried out.
#[derive(Clone, Debug)]
pub struct NewRequest {
    pub key: RequestKey,
    /// SHA-256 of the body, in hex.
    pub body_hash: String,
    /// When another process may take it over, because this one must be dead.
    pub lease_until: Timestamp,
    pub now: Timestamp,
}

/// An answer as it was sent, to be sent again byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub content_type: String,
    pub location: Option<String>,
    pub body: String,
}

/// What a request that came to no end may have left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing at all: its key is forgotten.
    Nothing,
    /// Perhaps something: its key stays bound to its body, and may be taken over at once.
    Something,
}

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The caller's.
    Mine,
    /// Done before: this was the answer.
    Done(StoredAnswer),
    /// Somebody works on it.
    InFlight,
    /// The key came before with another body.
    OtherBody,
}

/// How the answer to a waiting request is made once its payment is known.
pub struct Finish<'a> {
    pub key: &'a RequestKey,
    pub answer: &'a (dyn Fn(&PaymentRecord) -> StoredAnswer + Send + Sync),
}

/// What a recorded request means to a newcomer with the same key.
pub fn judge_repeat(
    recorded_body_hash: &str,
    answer: Option<StoredAnswer>,
    lease_until: Timestamp,
    new: &NewRequest,
) -> Begun {
    if recorded_body_hash != new.body_hash && holds(Guard::KeyBindsBody) {
        return Begun::OtherBody;
    }
    match answer {
        Some(answer) => Begun::Done(answer),
        None if lease_until > new.now && holds(Guard::OneRequestPerKey) => Begun::InFlight,
        None => Begun::Mine,
    }
}
