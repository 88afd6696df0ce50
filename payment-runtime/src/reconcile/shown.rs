//! Differences as people and programs are shown them: over HTTP, on the command line, in messages.
//!
//! Guarantees: the same names everywhere; amounts are exact decimals in text beside their minor
//! units; a detail holds a bounded number of lines and says when there are more.
//!
//! Deliberately not here: HTTP, and what is done about differences.

use jiff::Timestamp;
use jiff::civil::DateTime;
use payment_core::Money;
use serde::Serialize;

use super::Reconciler;
use super::books::{Action, DifferenceRecord, DifferenceState};
use super::resolve::{Proposal, counts, proposal_of};
use crate::ports::StoreError;
use crate::records::{Entry, Event};
use crate::roles::Parts;

/// Lines of a payment's history, and of its ledger, that a detail shows.
const LINES_MAX: u32 = 1_000;

/// A difference in a list. Times are RFC 3339 in UTC; `at` is what a Beijing clock showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferenceLine {
    pub id: u64,
    pub channel: &'static str,
    pub day: String,
    pub class: &'static str,
    /// payment or refund.
    pub kind: &'static str,
    /// The number we gave: of the order, or of the refund.
    pub number: String,
    /// The row's place in the bill where the number alone does not name it; else 0.
    pub line: u64,
    pub channel_order_no: String,
    pub payment_id: Option<String>,
    pub refund_no: Option<String>,
    pub transaction_id: Option<String>,
    pub our_status: Option<String>,
    pub our_amount_minor: Option<i64>,
    pub our_amount: Option<String>,
    pub channel_amount_minor: Option<i64>,
    pub channel_amount: Option<String>,
    pub currency: Option<&'static str>,
    pub at: Option<DateTime>,
    pub at_the_edge: bool,
    pub state: DifferenceState,
    /// Why it stands there, in words.
    pub why: String,
    pub assignee: Option<String>,
    /// How it ended: agreed-later, corrected, or a person's resolution.
    pub resolution: Option<String>,
    pub found_at: Timestamp,
    pub changed_at: Timestamp,
}

/// What one side says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    pub amount: String,
    pub amount_minor: i64,
    pub currency: &'static str,
}

/// The two sides beside each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Columns {
    pub ours: Option<Side>,
    pub channel: Option<Side>,
    /// What the channel says more than our books have; negative: less. What we do not count as
    /// moved counts as zero. `None`: the two are in different currencies.
    pub difference: Option<Side>,
}

/// One line of a difference's trail.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrailLine {
    pub id: u64,
    pub at: Timestamp,
    /// `system`, or a person.
    pub actor: String,
    pub action: String,
    pub rule: Option<String>,
    pub reason: String,
    pub note: String,
    /// What the channel or the books said.
    pub evidence: serde_json::Value,
}

/// One line of a payment's history.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineLine {
    pub id: u64,
    pub at: Timestamp,
    pub source: String,
    pub observation: String,
    pub from: Option<String>,
    pub to: String,
    pub decision: String,
    pub transaction_id: Option<String>,
    pub refund_no: Option<String>,
    pub detail: String,
}

/// A difference with everything that is known about it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferenceDetail {
    #[serde(flatten)]
    pub line: DifferenceLine,
    /// What its class means.
    pub meaning: &'static str,
    pub columns: Columns,
    /// Whether resolving it by hand takes two people.
    pub needs_second_person: bool,
    /// What somebody proposed, while nobody has agreed.
    pub proposal: Option<Proposal>,
    pub proposed_by: Option<String>,
    pub trail: Vec<TrailLine>,
    /// What happened to the payment, oldest first; its refunds' lines among them.
    pub timeline: Vec<TimelineLine>,
    /// What the ledger has of the payment.
    pub entries: Vec<Entry>,
    /// What the ledger has because of the difference.
    pub booked: Vec<Entry>,
    /// There are more lines than are shown.
    pub shortened: bool,
}

/// A difference as a line of a list.
pub fn line(of: &DifferenceRecord) -> DifferenceLine {
    let minor = |side: Option<Money>| side.map(|amount| amount.minor);
    let text = |side: Option<Money>| side.map(Money::to_decimal);
    DifferenceLine {
        id: of.id,
        channel: of.channel.as_str(),
        day: of.day.to_string(),
        class: of.class.as_str(),
        kind: of.kind.as_str(),
        number: of.number.clone(),
        line: of.line,
        channel_order_no: of.channel_order_no.clone(),
        payment_id: of.payment_no.clone(),
        refund_no: of.refund_no.clone(),
        transaction_id: of.transaction_id.clone(),
        our_status: of.our_state.clone(),
        our_amount_minor: minor(of.ours),
        our_amount: text(of.ours),
        channel_amount_minor: minor(of.bill),
        channel_amount: text(of.bill),
        currency: of.amount().map(|amount| amount.currency.code()),
        at: of.at,
        at_the_edge: of.at_the_edge,
        state: of.state,
        why: of.why.clone(),
        assignee: of.assignee.clone(),
        resolution: of.resolution.clone(),
        found_at: of.found_at,
        changed_at: of.changed_at,
    }
}

/// The difference of that id with all that belongs to it.
pub async fn detail(parts: &Parts, id: u64) -> Result<Option<DifferenceDetail>, StoreError> {
    let reconciler = Reconciler::new(parts);
    let Some(difference) = reconciler.books.difference(id).await? else {
        return Ok(None);
    };
    let trail = reconciler.books.actions(id).await?;
    let (timeline, entries) = match &difference.payment_no {
        None => (Vec::new(), Vec::new()),
        Some(payment_no) => {
            let records = &parts.payments.records;
            (
                records.events(payment_no, 0, LINES_MAX + 1).await?,
                parts
                    .store
                    .entries_of_payment(payment_no, 0, LINES_MAX + 1)
                    .await?,
            )
        }
    };
    let booked = parts.store.entries_of_difference(id, LINES_MAX + 1).await?;
    let max = LINES_MAX as usize;
    let shortened = [timeline.len(), entries.len(), booked.len()]
        .iter()
        .any(|lines| *lines > max);
    let (proposal, proposed_by) = proposal_of(&difference, &trail).unzip();
    Ok(Some(DifferenceDetail {
        line: line(&difference),
        meaning: difference.class.meaning(),
        columns: columns(&difference),
        needs_second_person: reconciler.needs_two(&difference),
        proposal,
        proposed_by,
        trail: trail.into_iter().map(trail_line).collect(),
        timeline: timeline.into_iter().take(max).map(timeline_line).collect(),
        entries: entries.into_iter().take(max).collect(),
        booked: booked.into_iter().take(max).collect(),
        shortened,
    }))
}

fn columns(of: &DifferenceRecord) -> Columns {
    let same = match (of.ours, of.bill) {
        (Some(ours), Some(bill)) => ours.currency == bill.currency,
        _ => true,
    };
    let counted = of.our_state.as_deref().is_none_or(counts);
    let ours = of.ours.filter(|_| counted).map_or(0, |ours| ours.minor);
    let bill = of.bill.map_or(0, |bill| bill.minor);
    let difference = of
        .amount()
        .filter(|_| same)
        .map(|amount| Money::new(bill.saturating_sub(ours), amount.currency));
    Columns {
        ours: of.ours.map(side),
        channel: of.bill.map(side),
        difference: difference.map(side),
    }
}

fn side(amount: Money) -> Side {
    Side {
        amount: amount.to_decimal(),
        amount_minor: amount.minor,
        currency: amount.currency.code(),
    }
}

fn trail_line(action: Action) -> TrailLine {
    let evidence = serde_json::from_str(&action.evidence).unwrap_or_default();
    TrailLine {
        id: action.id,
        at: action.at,
        actor: action.actor,
        action: action.action,
        rule: action.rule,
        reason: action.reason,
        note: action.note,
        evidence,
    }
}

fn timeline_line(event: Event) -> TimelineLine {
    TimelineLine {
        id: event.id,
        at: event.at,
        source: event.source,
        observation: event.observation,
        from: event.from,
        to: event.to,
        decision: event.decision,
        transaction_id: event.transaction_id,
        refund_no: event.refund_no,
        detail: event.detail,
    }
}
