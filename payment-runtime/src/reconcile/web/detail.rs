//! One difference: ours, the channel's, what differs, how it came to this, and what can be done.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::bookings::{self, Choice};
use super::rows::{
    EntryRow, LINES_MAX, RefundRow, Shown, TimelineRow, TrailRow, entry, refund, timeline, trail,
};
use super::shell::{PageError, Shell, Viewer, page as html};
use super::sides::{self, Column};
use super::{DIFFERENCES, Desk, format};
use crate::clock;
use crate::ports::StoreError;
use crate::reconcile::books::{
    AcceptedBill, Action, BillLine, Booked, DifferenceRecord, DifferenceState,
};
use crate::reconcile::resolve::{NOTE_MAX, Proposal, REASON_MAX};
use crate::records::{Entry, Event, PaymentRecord, RefundRecord};

/// Rows of the bill under the same number that are shown.
const ROWS_MAX: u32 = 20;

/// What there is to know about a difference.
pub(super) struct Known {
    pub(super) difference: DifferenceRecord,
    trail: Vec<Action>,
    pub(super) payment: Option<PaymentRecord>,
    pub(super) attempts: Vec<PaymentRecord>,
    events: Vec<Event>,
    pub(super) refunds: Vec<RefundRecord>,
    entries: Vec<Entry>,
    pub(super) bill: Option<AcceptedBill>,
    pub(super) rows: Vec<BillLine>,
    booked: Vec<Booked>,
    proposal: Option<(Proposal, String)>,
}

/// What somebody typed, and what was wrong with it.
#[derive(Default)]
pub(super) struct Typed {
    /// Which form it was.
    pub(super) form: String,
    pub(super) error: String,
    pub(super) to: String,
    pub(super) note: String,
    pub(super) reason: String,
    pub(super) resolution: String,
}

impl Typed {
    fn error_of(&self, form: &str) -> Option<&str> {
        (self.form == form && !self.error.is_empty()).then_some(self.error.as_str())
    }

    fn note_of(&self, form: &str) -> &str {
        if self.form == form { &self.note } else { "" }
    }
}

/// A proposal that waits for a second person.
struct Proposed {
    by: String,
    resolution: String,
    reason: String,
    note: String,
    books: Vec<String>,
    by_viewer: bool,
}

#[derive(Template)]
#[template(path = "detail.html")]
struct Detail {
    shell: Shell,
    id: u64,
    class: String,
    state: String,
    state_name: &'static str,
    state_meaning: &'static str,
    done: Option<&'static str>,
    ours: Column,
    channel: Column,
    difference: Column,
    meaning: &'static str,
    why: String,
    timeline: Shown<TimelineRow>,
    refunds: Vec<RefundRow>,
    entries: Shown<EntryRow>,
    booked: Vec<String>,
    trail: Vec<TrailRow>,
    /// Why there are no forms.
    nobody_may: Option<String>,
    resolved: bool,
    proposed: Option<Proposed>,
    choices: Vec<Choice>,
    needs_two: bool,
    limit: String,
    assignee: String,
    /// What the page was made from: acting on something newer is refused.
    seen: String,
    typed: Typed,
    lines_max: u32,
    reason_max: usize,
    note_max: usize,
}

#[derive(Default, Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

pub(super) async fn page(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    Query(done): Query<Done>,
    headers: HeaderMap,
) -> Response {
    let done = done.done.as_deref().and_then(said);
    show(&desk, &headers, &id, StatusCode::OK, Typed::default(), done).await
}

/// Somebody asked again for the address that a form was sent to.
pub(super) async fn back(Path((id, _)): Path<(String, String)>) -> Response {
    match id.parse::<u64>() {
        Ok(id) => Redirect::to(&format!("{DIFFERENCES}/{id}")).into_response(),
        Err(_) => Redirect::to(DIFFERENCES).into_response(),
    }
}

/// The page, with what somebody typed if that could not be done.
pub(super) async fn show(
    desk: &Desk,
    headers: &HeaderMap,
    id: &str,
    status: StatusCode,
    typed: Typed,
    done: Option<&'static str>,
) -> Response {
    let known = match id.parse() {
        Ok(id) => desk.known(id).await,
        Err(_) => Err(PageError::NotFound("difference")),
    };
    match known {
        Ok(known) => {
            let shell = Shell::new(
                desk,
                headers,
                "differences",
                format!("Difference {}", known.difference.id),
            )
            .at(format!("{DIFFERENCES}/{}", known.difference.id));
            html(status, &detail(desk, shell, &known, typed, done))
        }
        Err(error) => error.page(desk, headers),
    }
}

fn said(done: &str) -> Option<&'static str> {
    Some(match done {
        "assign" => "The assignee was changed.",
        "comment" => "The note was added.",
        "resolve" => "The difference was resolved.",
        "propose" => "The resolution was proposed. A second person has to agree.",
        "approve" => "The proposal was approved and carried out: the difference is resolved.",
        "reject" => "The proposal was turned down: the difference is open again.",
        _ => return None,
    })
}

impl Desk {
    async fn known(&self, id: u64) -> Result<Known, PageError> {
        let books = &self.reconciler.books;
        let difference = books.difference(id).await?;
        let difference = difference.ok_or(PageError::NotFound("difference"))?;
        let (trail, booked, payment, bill) = futures::try_join!(
            books.actions(id),
            books.booked_for(id),
            self.payment_of(&difference),
            books.accepted_bill(difference.channel, difference.day),
        )?;
        let rows = match &bill {
            Some(bill) => self.rows_of(bill, &difference).await?,
            None => Vec::new(),
        };
        let mut known = Known {
            trail,
            attempts: Vec::new(),
            events: Vec::new(),
            refunds: Vec::new(),
            entries: Vec::new(),
            proposal: None,
            difference,
            payment,
            bill,
            rows,
            booked,
        };
        if let Some(payment) = &known.payment {
            let (records, number) = (&self.parts.payments.records, &payment.payment_no);
            (known.events, known.refunds, known.entries, known.attempts) = futures::try_join!(
                records.events(number, 0, LINES_MAX + 1),
                records.refunds(number),
                self.parts
                    .store
                    .entries_of_payment(number, 0, LINES_MAX + 1),
                records.payments_of_order(&payment.order_id),
            )?;
        }
        if known.difference.state == DifferenceState::Proposed
            && let Ok((_, proposal, by)) = self.reconciler.proposed(id).await
        {
            known.proposal = Some((proposal, by));
        }
        Ok(known)
    }

    async fn payment_of(
        &self,
        difference: &DifferenceRecord,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        let records = &self.parts.payments.records;
        if let Some(number) = &difference.payment_no {
            return records.payment(number).await;
        }
        let (channel, number) = (difference.channel, &difference.channel_order_no);
        records.payment_of_channel_order(channel, number).await
    }

    /// The bill's rows under the difference's number.
    async fn rows_of(
        &self,
        bill: &AcceptedBill,
        difference: &DifferenceRecord,
    ) -> Result<Vec<BillLine>, StoreError> {
        // Lines are counted from 1: this place lies before the number's first.
        let before = (difference.number.clone(), 0);
        let books = &self.reconciler.books;
        let mut rows = books
            .lines(bill.id, difference.kind, Some(&before), ROWS_MAX)
            .await?;
        rows.retain(|row| row.number == difference.number);
        Ok(rows)
    }
}

fn detail(
    desk: &Desk,
    shell: Shell,
    known: &Known,
    typed: Typed,
    done: Option<&'static str>,
) -> Detail {
    let today = clock::bill_day(desk.now());
    let difference = &known.difference;
    let proposed = known
        .proposal
        .as_ref()
        .map(|(proposal, by)| proposed(known, proposal, by, &shell));
    let nobody_may = match &shell.viewer {
        Viewer::NobodyMay(why) => Some(why.clone()),
        Viewer::Known(_) | Viewer::Unnamed => None,
    };
    let assignee = match typed.form.as_str() {
        "assign" => typed.to.clone(),
        _ => difference.assignee.clone().unwrap_or_default(),
    };
    Detail {
        id: difference.id,
        class: format::words(difference.class.as_str()),
        state: format::words(difference.state.as_str()),
        state_name: difference.state.as_str(),
        state_meaning: format::state_meaning(difference.state),
        done,
        ours: sides::ours(known),
        channel: sides::channels(known),
        difference: sides::difference(difference, today),
        meaning: difference.class.meaning(),
        why: difference.why.clone(),
        timeline: Shown::of(&known.events, timeline),
        refunds: known.refunds.iter().map(refund).collect(),
        entries: Shown::of(&known.entries, entry),
        booked: known.booked.iter().map(bookings::entry).collect(),
        trail: known.trail.iter().map(trail).collect(),
        nobody_may,
        resolved: difference.state == DifferenceState::Resolved,
        proposed,
        choices: bookings::options(difference, &known.booked, &typed.resolution),
        needs_two: desk.reconciler.needs_two(difference),
        limit: desk.limit(difference),
        assignee,
        seen: seen(difference),
        typed,
        lines_max: LINES_MAX,
        reason_max: REASON_MAX,
        note_max: NOTE_MAX,
        shell,
    }
}

/// What names the stand of a difference.
pub(super) fn seen(difference: &DifferenceRecord) -> String {
    difference.changed_at.as_millisecond().to_string()
}

fn proposed(known: &Known, proposal: &Proposal, by: &str, shell: &Shell) -> Proposed {
    let name = proposal.resolution.as_str();
    let choices = bookings::options(&known.difference, &known.booked, name);
    let chosen = choices.into_iter().find(|choice| choice.chosen);
    Proposed {
        by: by.to_owned(),
        resolution: format::words(name),
        reason: proposal.reason.clone(),
        note: proposal.note.clone(),
        books: chosen.map(|choice| choice.books).unwrap_or_default(),
        by_viewer: shell.viewer.name() == Some(by),
    }
}

impl Desk {
    /// Above it a second person is needed, in the difference's currency.
    fn limit(&self, difference: &DifferenceRecord) -> String {
        let currency = difference.amount().map_or("CNY", |a| a.currency.code());
        let settings = &self.parts.payments.config.reconciliation;
        format::amount(i128::from(settings.second_person_above_minor), currency)
    }
}
