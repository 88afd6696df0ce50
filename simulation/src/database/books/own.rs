//! Our side of a comparison.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::reconciliation::Kind;
use payment_core::{Account, ChannelKind, PaymentState};
use payment_runtime::clock;
use payment_runtime::reconcile::books::{AcceptedBill, OwnRow, settled_payment, settled_refund};
use payment_runtime::records::{PaymentRecord, RefundRecord};

use crate::database::Database;

/// Days around a bill's own on whose bills a row of it may stand.
const DAYS_AROUND: i32 = 7;

impl Database {
    pub fn own_of_day(
        &self,
        channel: ChannelKind,
        day: Date,
        kind: Kind,
        (after, until): (Option<&str>, Option<&str>),
        limit: u32,
    ) -> Vec<OwnRow> {
        let mut found = self.own(channel, kind, |own| {
            own.at.map(clock::bill_day) == Some(day)
                && own.number.as_str() > after.unwrap_or_default()
                && until.is_none_or(|until| own.number.as_str() <= until)
        });
        found.sort_by(|a, b| a.number.cmp(&b.number));
        found.truncate(limit as usize);
        found
    }

    pub fn own_by_number(
        &self,
        channel: ChannelKind,
        kind: Kind,
        numbers: &[String],
    ) -> Vec<OwnRow> {
        self.own(channel, kind, |own| numbers.contains(&own.number))
    }

    fn own(
        &self,
        channel: ChannelKind,
        kind: Kind,
        wanted: impl Fn(&OwnRow) -> bool,
    ) -> Vec<OwnRow> {
        let payments = self.all_payments().map(|row| &row.record);
        let refunds = self.all_refunds().map(|row| &row.record);
        let rows: Vec<OwnRow> = match kind {
            Kind::Payment => payments
                .filter(|payment| payment.channel == channel)
                .map(own_payment)
                .collect(),
            Kind::Refund => refunds
                .filter(|refund| refund.channel == channel)
                .map(own_refund)
                .collect(),
        };
        rows.into_iter().filter(wanted).collect()
    }

    pub fn on_other_bills(
        &self,
        bill: &AcceptedBill,
        kind: Kind,
        numbers: &[String],
    ) -> BTreeSet<String> {
        let others = self.accepted_bills().filter(|kept| {
            let days = kept.bill.day.since(bill.day).map(|span| span.get_days());
            kept.bill.channel == bill.channel
                && kept.bill.id != bill.id
                && days.is_ok_and(|days| days != 0 && days.abs() <= DAYS_AROUND)
        });
        let rows = others.flat_map(|kept| kept.lines.keys());
        let rows = rows.filter(|(of, number, _)| *of == kind && numbers.contains(number));
        rows.map(|(_, number, _)| number.clone()).collect()
    }

    pub fn clearing_of(
        &self,
        channel: ChannelKind,
        payment_nos: &[String],
    ) -> BTreeMap<String, i64> {
        let clearing = Account::Clearing(channel);
        let mut sums = BTreeMap::new();
        for number in payment_nos {
            let entries = self.entries_of(number).map(|entry| {
                entry.amount.minor
                    * (i64::from(entry.debit == clearing) - i64::from(entry.credit == clearing))
            });
            if let Some(sum) = entries.reduce(|sum, minor| sum + minor) {
                sums.insert(number.clone(), sum);
            }
        }
        sums
    }

    pub fn charged_twice(&self, order_ids: &[String]) -> BTreeSet<String> {
        let mut charged: BTreeMap<&str, u32> = BTreeMap::new();
        let payments = self.all_payments().map(|row| &row.record);
        for payment in payments.filter(|payment| order_ids.contains(&payment.order_id)) {
            let kept = matches!(
                payment.status,
                PaymentState::Paid | PaymentState::PartlyRefunded
            );
            if kept && !payment.given_up && payment.reserved.minor < payment.amount.minor {
                *charged.entry(&payment.order_id).or_default() += 1;
            }
        }
        let twice = charged.into_iter().filter(|(_, times)| *times > 1);
        twice.map(|(order_id, _)| order_id.to_owned()).collect()
    }

    pub fn unsettled_since(
        &self,
        channel: ChannelKind,
        since: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Vec<PaymentRecord> {
        let payments = self.all_payments().map(|row| &row.record);
        payments
            .filter(|payment| {
                payment.next_question_at.is_some()
                    && payment.channel == channel
                    && (since..=until).contains(&payment.created_at)
                    && payment.status != PaymentState::PaidAfterClose
            })
            .take(limit as usize)
            .cloned()
            .collect()
    }
}

fn own_payment(payment: &PaymentRecord) -> OwnRow {
    let charged = payment.amount.minor * i64::from(payment.status.was_charged());
    OwnRow {
        number: payment.channel_order_no.clone(),
        payment_no: payment.payment_no.clone(),
        refund_no: None,
        order_id: payment.order_id.clone(),
        attempt: payment.attempt,
        channel_order_no: payment.channel_order_no.clone(),
        transaction_id: payment.transaction_id.clone(),
        amount: payment.amount,
        settled: settled_payment(payment.status),
        state: payment.status.as_str(),
        at: payment.paid_at,
        clearing_minor: charged - payment.refunded_minor,
    }
}

fn own_refund(refund: &RefundRecord) -> OwnRow {
    OwnRow {
        number: refund.channel_refund_no.clone(),
        payment_no: refund.payment_no.clone(),
        refund_no: Some(refund.refund_no.clone()),
        order_id: String::new(),
        attempt: 1,
        channel_order_no: refund.channel_order_no.clone(),
        transaction_id: refund.channel_refund_id.clone(),
        amount: refund.amount,
        settled: settled_refund(refund.status),
        state: refund.status.as_str(),
        at: refund.refunded_at,
        clearing_minor: 0,
    }
}
