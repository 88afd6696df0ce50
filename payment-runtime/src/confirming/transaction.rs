//! The global transaction that confirms one payment.

use std::time::Duration;

use payment_core::confirmation::Answer;
use seata_client::branch::Xid;
use seata_client::codec::GlobalStatus;
use seata_client::tm::{GlobalError, Propagation, TxOptions};

use super::{Confirming, StepError};
use crate::records::PaymentRecord;
use crate::store::confirmations::BranchError;

/// What a global transaction gets beside the order service's answer: for the locks of the first
/// branch and the end.
const BESIDE_THE_ANSWER: Duration = Duration::from_secs(10);
/// How often a coordinator is asked about a transaction whose end it did not tell.
const QUESTIONS_MAX: u32 = 5;
const QUESTION_PAUSE: Duration = Duration::from_millis(500);

/// Why a global transaction was rolled back.
#[derive(Debug)]
pub(super) enum Undone {
    /// The confirmation was not waiting.
    Elsewhere,
    /// The first branch was not made; the order service was not asked.
    Branch(BranchError),
    /// The order service did not take it.
    Order(Answer, String),
}

/// What came of one global transaction.
#[derive(Debug)]
pub(super) enum Tried {
    Confirmed,
    Undone(Undone),
    /// The coordinator could not do its part.
    NotCommitted(String),
    /// Nobody knows from here.
    Unknown(Xid),
}

impl Confirming {
    /// One global transaction.
    pub(super) async fn transaction(&self, payment: &PaymentRecord) -> Result<Tried, StepError> {
        let branch = self.branch().await?;
        let timeout = Duration::from_millis(self.settings.timeout_milliseconds) + BESIDE_THE_ANSWER;
        let options = TxOptions::new("confirm-payment")
            .timeout(timeout)
            .propagation(Propagation::RequiresNew);
        let ended = self.client.global_tx(options, async |context| {
            let Some(xid) = context.xid else {
                let why = "no global transaction was begun".to_owned();
                return Err(Undone::Order(Answer::Unclear, why));
            };
            match branch.confirm(&xid, &payment.payment_no, self.now()).await {
                Ok(true) => {}
                Ok(false) => return Err(Undone::Elsewhere),
                Err(error) => return Err(Undone::Branch(error)),
            }
            match self.orders.pay(payment).await {
                (Answer::Paid, _) => Ok(()),
                (answer, said) => Err(Undone::Order(answer, said)),
            }
        });
        Ok(match ended.await {
            Ok(()) => Tried::Confirmed,
            Err(GlobalError::Body { error, .. }) => Tried::Undone(error),
            Err(GlobalError::OutcomeUnknown { xid, .. }) => Tried::Unknown(xid),
            Err(GlobalError::CommitStuck { xid, .. }) => {
                tracing::error!(%xid, "a branch cannot follow its commit: a person must look");
                Tried::Unknown(xid)
            }
            Err(
                error @ (GlobalError::Begin(_)
                | GlobalError::NotCommitted { .. }
                | GlobalError::Propagation(_)),
            ) => Tried::NotCommitted(in_words(error)),
        })
    }

    /// Asks the coordinator until the transaction has ended, a bounded number of times. Whichever
    /// way it went then stands in the row.
    pub(super) async fn until_ended(&self, xid: &Xid) {
        for _ in 0..QUESTIONS_MAX {
            match self.client.status(xid).await {
                Ok(
                    GlobalStatus::Finished
                    | GlobalStatus::Committed
                    | GlobalStatus::AsyncCommitting
                    | GlobalStatus::Rollbacked
                    | GlobalStatus::TimeoutRollbacked,
                ) => return,
                Ok(status) => tracing::info!(%xid, ?status, "a global transaction has not ended"),
                Err(error) => tracing::warn!(%xid, %error, "nobody says how it ended"),
            }
            tokio::time::sleep(QUESTION_PAUSE).await;
        }
    }
}

fn in_words(error: GlobalError<Undone>) -> String {
    match error {
        GlobalError::Begin(error) => error.to_string(),
        GlobalError::NotCommitted { status, cause, .. } => {
            format!("not committed ({status:?}){cause}")
        }
        other => format!("{other:?}"),
    }
}
