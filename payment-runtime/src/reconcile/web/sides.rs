//! The three columns of a difference: ours, the channel's, what differs.

use jiff::civil::Date;
use payment_core::Money;
use payment_core::reconciliation::{AtChannel, Kind};

use super::bookings;
use super::detail::Known;
use super::format;
use crate::reconcile::books::{BillLine, DifferenceRecord};
use crate::records::PaymentRecord;

/// One named value.
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) value: String,
    /// A number, to be set in fixed width.
    pub(super) fixed: bool,
}

/// Facts under one heading; the first of them is the amount.
#[derive(Default)]
pub(super) struct Column {
    pub(super) amount: String,
    /// Said before the facts, where there is something to say.
    pub(super) lead: String,
    pub(super) facts: Vec<Fact>,
}

impl Column {
    fn say(&mut self, label: &'static str, value: impl Into<String>) {
        self.facts.push(Fact {
            label,
            value: value.into(),
            fixed: false,
        });
    }

    fn number(&mut self, label: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.facts.push(Fact {
                label,
                value,
                fixed: true,
            });
        }
    }
}

/// What our records say.
pub(super) fn ours(known: &Known) -> Column {
    let difference = &known.difference;
    let mut column = Column {
        amount: format::maybe_money(difference.ours),
        ..Column::default()
    };
    if let Some(state) = &difference.our_state {
        column.say("State when compared", format::words(state));
    }
    let Some(payment) = &known.payment else {
        "We have no payment under this number.".clone_into(&mut column.lead);
        return column;
    };
    payment_facts(&mut column, payment);
    if known.attempts.len() > 1 {
        let attempts = known.attempts.iter().map(|attempt| {
            let status = format::words(&attempt.status.to_string());
            format!("{}: {status}, {}", attempt.attempt, attempt.payment_no)
        });
        let attempts: Vec<String> = attempts.collect();
        column.say("Attempts of the order", attempts.join("\n"));
    }
    column
}

fn payment_facts(column: &mut Column, payment: &PaymentRecord) {
    let code = payment.amount.currency.code();
    column.say("State now", format::words(&payment.status.to_string()));
    column.say("Payment's amount", format::money(payment.amount));
    column.say(
        "Refunded",
        format::amount(i128::from(payment.refunded_minor), code),
    );
    if payment.given_up {
        column.say("Given up", "yes: charged after it was closed");
    }
    column.say("Subject", payment.subject.clone());
    column.number("Order", payment.order_id.clone());
    column.say("Attempt", payment.attempt.to_string());
    column.number("Payment", payment.payment_no.clone());
    column.number("Number at the channel", payment.channel_order_no.clone());
    let transaction = payment.transaction_id.clone();
    column.number("Transaction", transaction.unwrap_or_default());
    column.say("Method", format::words(&payment.method.to_string()));
    column.say("Created", format::moment(payment.created_at));
    if let Some(at) = payment.paid_at {
        column.say("Paid", format::moment(at));
    }
}

/// What the channel's bill says.
pub(super) fn channels(known: &Known) -> Column {
    let difference = &known.difference;
    let mut column = Column {
        amount: format::maybe_money(difference.bill),
        ..Column::default()
    };
    column.say("Channel", format::channel(difference.channel));
    column.say("Bill of", difference.day.to_string());
    if known.bill.is_none() {
        "The bill of that day is not kept any more.".clone_into(&mut column.lead);
        kept_facts(&mut column, difference);
        return column;
    }
    if known.rows.is_empty() {
        "The bill has no row under this number.".clone_into(&mut column.lead);
    }
    for row in &known.rows {
        row_facts(&mut column, row);
    }
    if let Some(bill) = &known.bill {
        column.number("SHA-256 of the bill", bill.digest.clone());
    }
    column
}

/// What the difference itself remembers of its row.
fn kept_facts(column: &mut Column, difference: &DifferenceRecord) {
    if let Some(fee) = difference.fee_1e5 {
        column.say("Fee", format::fee(fee));
    }
    if let Some(at) = difference.at {
        column.say("Time", at.strftime("%Y-%m-%d %H:%M:%S").to_string());
    }
}

fn row_facts(column: &mut Column, row: &BillLine) {
    column.say("Row of the bill", format::count(row.line));
    column.say("Amount", format::money(row.amount));
    if row.settled != row.amount {
        column.say("Settled after coupons", format::money(row.settled));
    }
    column.say("Fee", format::fee(row.fee_1e5));
    let status = match row.status {
        AtChannel::Done => "done",
        AtChannel::Processing => "processing",
        AtChannel::Failed => "failed",
    };
    column.say("Status", status);
    if row.foreign {
        column.say("Merchant", "another merchant or app than ours");
    }
    column.number("Number at the channel", row.channel_order_no.clone());
    column.number("Transaction", row.transaction_id.clone());
    column.say("Time", row.at.strftime("%Y-%m-%d %H:%M:%S").to_string());
}

/// What differs.
pub(super) fn difference(difference: &DifferenceRecord, today: Date) -> Column {
    let mut column = Column {
        amount: format::maybe_money(difference.amount()),
        ..Column::default()
    };
    let kind = match difference.kind {
        Kind::Payment => "payment",
        Kind::Refund => "refund",
    };
    column.say("Kind", kind);
    if let Some(gap) = bookings::gap(difference) {
        column.say("Amounts differ by", gap);
    } else if missing(difference.ours, difference.bill) {
        column.say("Amounts differ by", "one side is missing");
    }
    column.number("Number", difference.number.clone());
    if let Some(refund) = &difference.refund_no {
        column.number("Refund", refund.clone());
    }
    let age = format::age_days(difference.day, today);
    let age = u64::try_from(age).unwrap_or_default();
    column.say("Age", format::counted(age, "day", "days"));
    column.say("Found", format::moment(difference.found_at));
    column.say("Changed", format::moment(difference.changed_at));
    if difference.at_the_edge {
        column.say(
            "Near midnight",
            "yes: the sides may count it to different days",
        );
    }
    column.say(
        "Assigned to",
        difference
            .assignee
            .clone()
            .unwrap_or_else(|| "nobody".to_owned()),
    );
    if let Some(resolution) = &difference.resolution {
        column.say("Resolution", format::words(resolution));
    }
    column
}

const fn missing(ours: Option<Money>, bill: Option<Money>) -> bool {
    ours.is_none() || bill.is_none()
}
