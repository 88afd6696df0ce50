//! The three ways a call to a channel can end.
//!
//! Guarantees: [`Outcome::Done`] and [`Outcome::Refused`] are evidence; whoever gets
//! [`Outcome::Unknown`] has learnt nothing about money.
//!
//! Not here: what to do about it.

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The channel did it and signed that it did.
    Done(T),
    /// The channel signed a refusal, or the request surely never reached it.
    Refused(Refusal),
    /// Neither is proven. Query by our own number before anything else.
    Unknown(Uncertainty),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The channel's own code, or one of [`Refusal`]'s constants.
    pub code: String,
    pub message: String,
    /// `false`: the request surely did not reach the channel. Either way a refusal is about *this*
    /// attempt and proves nothing about earlier ones under the same number.
    pub sent: bool,
}

impl Refusal {
    /// No connection could be made.
    pub const NOT_CONNECTED: &'static str = "NOT_CONNECTED";
    /// Both channels are used for CNY alone.
    pub const CURRENCY_NOT_SUPPORTED: &'static str = "CURRENCY_NOT_SUPPORTED";
    /// The request breaks a rule of the channel that can be seen from here.
    pub const INVALID_REQUEST: &'static str = "INVALID_LOCAL_REQUEST";

    /// So many calls at once that the channel would refuse some; try again a little later.
    pub const LOCAL_RATE_LIMIT: &'static str = "LOCAL_RATE_LIMIT";
    /// No key is there to verify an answer with, so none was asked for.
    pub const NO_VERIFYING_KEY: &'static str = "NO_VERIFYING_KEY";
    /// The channel has no such operation.
    pub const NOT_OFFERED: &'static str = "NOT_OFFERED_BY_CHANNEL";

    pub(crate) fn not_sent(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            sent: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncertainty {
    pub reason: UncertaintyReason,
    /// For people and logs; never holds a secret.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UncertaintyReason {
    /// No answer within the total time-out.
    Timeout,
    /// The channel failed, or does not know itself.
    ServerError,
    /// An answer came that proves nothing: unsigned, wrongly signed, stale, cut off, about
    /// something else.
    Unverifiable,
    /// The channel limits the rate; whether it did anything is not said.
    Busy,
    /// The connection broke after the request may have left.
    Transport,
    /// The channel knows the number and has not finished with it, or had finished with it before.
    InProgress,
}

impl UncertaintyReason {
    /// The label on metrics and in the database; never reword.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ServerError => "server_error",
            Self::Unverifiable => "unverifiable",
            Self::Busy => "busy",
            Self::Transport => "transport",
            Self::InProgress => "in_progress",
        }
    }
}

/// The two endings without a result, so that adapters can use `?`.
#[derive(Debug)]
pub(crate) enum Fail {
    Refused(Refusal),
    Unknown(Uncertainty),
}

impl Fail {
    pub(crate) fn unknown(reason: UncertaintyReason, detail: impl Into<String>) -> Self {
        Self::Unknown(Uncertainty {
            reason,
            detail: detail.into(),
        })
    }

    pub(crate) fn unverifiable(detail: impl Into<String>) -> Self {
        Self::unknown(UncertaintyReason::Unverifiable, detail)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Refused(Refusal::not_sent(Refusal::INVALID_REQUEST, message))
    }
}

impl<T> From<Result<T, Fail>> for Outcome<T> {
    fn from(result: Result<T, Fail>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(Fail::Refused(refusal)) => Self::Refused(refusal),
            Err(Fail::Unknown(uncertainty)) => Self::Unknown(uncertainty),
        }
    }
}
