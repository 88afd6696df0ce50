//! What a coordinator's refusal means to whoever asked.

use crate::branch::{CoordinatorError, Xid};
use crate::codec::{ExceptionCode, Message, ResultHead, ServerGeneration};

/// The head of an answer about a transaction.
pub(super) fn head(message: &Message) -> Option<&ResultHead> {
    match message {
        Message::GlobalBeginResponse(it) => Some(&it.result),
        Message::GlobalCommitResponse(it)
        | Message::GlobalRollbackResponse(it)
        | Message::GlobalStatusResponse(it)
        | Message::GlobalReportResponse(it) => Some(&it.result),
        Message::BranchRegisterResponse(it) => Some(&it.result),
        Message::BranchReportResponse(it) => Some(it),
        Message::GlobalLockQueryResponse(it) => Some(&it.result),
        _ => None,
    }
}

/// Why it was refused; `None` if it was not. `own` is the transaction that asked.
pub(super) fn refusal(
    message: &Message,
    generation: ServerGeneration,
    own: Option<&Xid>,
) -> Option<CoordinatorError> {
    let head = head(message)?;
    let message = head.failure.clone()?;
    let code = ExceptionCode::decode(head.code, generation);
    Some(match code {
        ExceptionCode::LockKeyConflict | ExceptionCode::LockKeyConflictFailFast => {
            CoordinatorError::LockConflict {
                holder: other_xid(&message, own),
                fail_fast: code == ExceptionCode::LockKeyConflictFailFast,
                message,
            }
        }
        ExceptionCode::GlobalTransactionNotExist
        | ExceptionCode::GlobalTransactionNotActive
        | ExceptionCode::GlobalTransactionStatusInvalid
        | ExceptionCode::TransactionTimeout => CoordinatorError::TransactionOver { message },
        _ => CoordinatorError::Refused {
            code: format!("{code:?}"),
            message,
        },
    })
}

/// Whether another node has to be asked: this one only follows.
pub(super) fn follows(message: &Message, generation: ServerGeneration) -> bool {
    head(message).is_some_and(|head| {
        head.failure.is_some()
            && ExceptionCode::decode(head.code, generation) == ExceptionCode::NotRaftLeader
    })
}

/// Servers up to 2.0 name in a conflict's message only the transaction that asked. A name that is
/// not its own is the holder's.
fn other_xid(message: &str, own: Option<&Xid>) -> Option<Xid> {
    message
        .split(|c: char| c.is_whitespace() || "[](),;='\"".contains(c))
        .map(|word| word.trim_end_matches('.'))
        .find(|word| looks_like_xid(word) && own.is_none_or(|own| own.as_str() != *word))
        .map(Xid::new)
}

/// `host:port:number`.
fn looks_like_xid(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut parts = word.rsplitn(3, ':');
    let (id, port, host) = (parts.next(), parts.next(), parts.next());
    id.is_some_and(digits) && port.is_some_and(digits) && host.is_some_and(|h| !h.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{BranchRegistered, ResultHead};

    const OWN: &str = "127.0.0.2:8091:42";

    fn refused(code: u8, generation: ServerGeneration, message: &str) -> CoordinatorError {
        let answer = Message::BranchRegisterResponse(BranchRegistered {
            result: ResultHead {
                failure: Some(message.into()),
                code,
            },
            branch_id: 0,
        });
        refusal(&answer, generation, Some(&Xid::new(OWN))).expect("a refusal")
    }

    #[test]
    fn a_lock_conflict_names_the_holder_and_never_oneself() {
        let own = format!("Exception[Global lock acquire failed xid = {OWN} branchId = 43]");
        let other = format!("xid = {OWN}: held by xid '10.0.0.9:8091:7', branch 8.");
        for (message, holder) in [(own, None), (other, Some(Xid::new("10.0.0.9:8091:7")))] {
            let expected = CoordinatorError::LockConflict {
                holder,
                fail_fast: false,
                message: message.clone(),
            };
            assert_eq!(refused(2, ServerGeneration::One, &message), expected);
        }
    }

    #[test]
    fn codes_are_read_by_the_server_s_generation() {
        let fail_fast = |error| {
            matches!(
                error,
                CoordinatorError::LockConflict {
                    fail_fast: true,
                    ..
                }
            )
        };
        assert!(fail_fast(refused(19, ServerGeneration::One, "")));
        assert!(fail_fast(refused(20, ServerGeneration::Two, "")));
        let expected = CoordinatorError::Refused {
            code: "NotRaftLeader".into(),
            message: String::new(),
        };
        assert_eq!(refused(19, ServerGeneration::Two, ""), expected);
    }

    #[test]
    fn a_transaction_that_ended_is_over_and_a_success_is_no_refusal() {
        for code in [10, 11, 12] {
            let over = refused(code, ServerGeneration::One, "gone");
            let message = "gone".to_owned();
            assert_eq!(over, CoordinatorError::TransactionOver { message });
        }
        let fine = Message::BranchReportResponse(ResultHead::success());
        assert_eq!(refusal(&fine, ServerGeneration::One, None), None);
    }
}
