//! Posts what the channel kept of a day.
//!
//! Guarantees: after a bill is compared, the ledger shows its fee, rounded to the minor unit once
//! for the whole day; another bill of the same day posts only what changed.
//!
//! Deliberately not here: whether the fee is what the contract says: that is a difference.

use payment_core::ledger::{Account, Cause};
use payment_core::{Currency, Money, Source};

use super::books::AcceptedBill;
use super::{Reconciler, RunError};
use crate::records::{NewEntry, SYSTEM};

/// Hundred-thousandths of a yuan in a fen.
const PER_FEN: i64 = 1_000;

impl Reconciler {
    /// Posts what the ledger lacks of the fee of a bill that was compared.
    pub async fn post_fee(&self, bill: &AcceptedBill) -> Result<(), RunError> {
        let posted = self.books.posted_fee(bill.channel, bill.day).await?;
        // Asked after the sum: a bill that was replaced before the sum was read posts nothing.
        let stands = self.books.accepted_bill(bill.channel, bill.day).await?;
        if stands.is_none_or(|stands| stands.id != bill.id) {
            return Ok(());
        }
        let missing = in_fen(bill.fee_1e5) - posted;
        if missing == 0 {
            return Ok(());
        }
        let fees = Account::Fees(bill.channel);
        let clearing = Account::Clearing(bill.channel);
        let (debit, credit) = if missing > 0 {
            (fees, clearing)
        } else {
            (clearing, fees)
        };
        let entry = NewEntry {
            // What it was reckoned from is part of the key: reckoned anew, it is another entry.
            entry_key: format!("fee:{}:{}:{}:{posted}", bill.channel, bill.day, bill.id),
            payment_no: None,
            refund_no: None,
            channel: bill.channel,
            debit,
            credit,
            amount: Money::new(missing.abs(), Currency::CNY),
            day: bill.day,
            cause: Cause::Fee,
            source: Source::Bill.as_str(),
            actor: SYSTEM.to_owned(),
            rule: None,
            reference: format!("bill:{}", bill.digest),
            recorded_at: self.now(),
        };
        Ok(self.books.post(&[entry]).await?)
    }
}

/// Rounded to the nearest fen, halves away from zero.
const fn in_fen(fee_1e5: i64) -> i64 {
    let half = if fee_1e5 < 0 {
        -PER_FEN / 2
    } else {
        PER_FEN / 2
    };
    (fee_1e5 + half) / PER_FEN
}

#[cfg(test)]
mod tests {
    use super::in_fen;

    #[test]
    fn a_days_fee_is_rounded_once() {
        assert_eq!(in_fen(0), 0);
        assert_eq!(in_fen(499), 0);
        assert_eq!(in_fen(500), 1);
        assert_eq!(in_fen(-500), -1);
        assert_eq!(in_fen(600 * 1_000), 600);
    }
}
