//! What people do about differences: take them on, resolve them, agree to a resolution.
//!
//! Guarantees: a reason and a note are required; above the limit a second person must agree;
//! every step is a line of the trail that nobody can change; the ledger is only added to.
//!
//! Deliberately not here: who is who (`people`), and HTTP.

use payment_core::Money;
use payment_core::ledger::{Account, Cause};
use serde::{Deserialize, Serialize};

use super::Reconciler;
use super::books::{Action, Booked, DifferenceRecord, DifferenceState, NewAction, Step};
use crate::ports::StoreError;
use crate::records::NewEntry;

/// The longest reason and note, in characters.
pub const REASON_MAX: usize = 80;
pub const NOTE_MAX: usize = 2_000;

/// How a person resolves a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// There is a reason for it outside our books: nothing is booked, nothing taken back.
    Explained,
    /// Our record is right: what was set aside for it is taken back.
    Released,
    /// The channel is right and nobody owns the difference: our books follow the channel, the
    /// amount goes to `written-off`.
    WrittenOff,
}

impl Resolution {
    pub const ALL: [Self; 3] = [Self::Explained, Self::Released, Self::WrittenOff];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explained => "explained",
            Self::Released => "released",
            Self::WrittenOff => "written-off",
        }
    }

    /// The resolution of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// A resolution with what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proposal {
    pub resolution: Resolution,
    pub reason: String,
    pub note: String,
}

/// Why a person's step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("there is no difference {0}")]
    NotFound(u64),
    #[error("{0}")]
    Invalid(String),
    #[error("difference {id} is {state}; {what}")]
    WrongState {
        id: u64,
        state: &'static str,
        what: &'static str,
    },
    #[error("{0} proposed this; another person has to agree")]
    SamePerson(String),
    #[error("somebody else was faster; look at the difference again")]
    Changed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reconciler {
    /// Says who looks after a difference; an empty name gives it back.
    pub async fn assign(
        &self,
        id: u64,
        to: &str,
        actor: &str,
    ) -> Result<DifferenceRecord, ResolveError> {
        let difference = self.unresolved_one(id).await?;
        if to.chars().count() > 64 || to.chars().any(char::is_control) {
            let problem = "must have at most 64 printable characters";
            return Err(invalid("assignee", problem));
        }
        let assignee = Some(to.trim().to_owned()).filter(|name| !name.is_empty());
        let reason = format!("for {}", assignee.as_deref().unwrap_or("nobody"));
        let action = self.personal(&difference, "assigned", actor, &reason, "");
        let step = Step {
            assignee,
            ..Step::staying(&difference, action)
        };
        self.take(step).await
    }

    /// Adds a note to the trail.
    pub async fn comment(
        &self,
        id: u64,
        note: &str,
        actor: &str,
    ) -> Result<DifferenceRecord, ResolveError> {
        let difference = self.one(id).await?;
        check_text("note", note, NOTE_MAX)?;
        let action = self.personal(&difference, "commented", actor, "", note);
        self.take(Step::staying(&difference, action)).await
    }

    /// Resolves a difference, or proposes to where the amount needs a second person.
    pub async fn resolve(
        &self,
        id: u64,
        proposal: &Proposal,
        actor: &str,
    ) -> Result<DifferenceRecord, ResolveError> {
        let difference = self.unresolved_one(id).await?;
        check_text("reason", &proposal.reason, REASON_MAX)?;
        if proposal.reason.chars().any(char::is_control) {
            return Err(invalid("reason", "must have printable characters only"));
        }
        check_text("note", &proposal.note, NOTE_MAX)?;
        if difference.state == DifferenceState::Proposed {
            return Err(ResolveError::WrongState {
                id,
                state: "proposed",
                what: "approve or reject the proposal first",
            });
        }
        if self.needs_two(&difference) {
            return self.propose(&difference, proposal, actor).await;
        }
        self.carry_out(&difference, proposal, actor, "resolved")
            .await
    }

    /// Agrees to a proposal of somebody else.
    pub async fn approve(
        &self,
        id: u64,
        note: &str,
        actor: &str,
    ) -> Result<DifferenceRecord, ResolveError> {
        let (difference, proposal, proposer) = self.proposed(id).await?;
        if proposer == actor {
            return Err(ResolveError::SamePerson(proposer));
        }
        if !note.trim().is_empty() {
            check_text("note", note, NOTE_MAX)?;
        }
        let agreed = Proposal {
            note: if note.trim().is_empty() {
                proposal.note.clone()
            } else {
                note.to_owned()
            },
            ..proposal
        };
        self.carry_out(&difference, &agreed, actor, "approved")
            .await
    }

    /// Turns a proposal down: the difference is open again.
    pub async fn reject(
        &self,
        id: u64,
        note: &str,
        actor: &str,
    ) -> Result<DifferenceRecord, ResolveError> {
        let (difference, _, _) = self.proposed(id).await?;
        check_text("note", note, NOTE_MAX)?;
        let action = self.personal(&difference, "rejected", actor, "", note);
        let step = Step {
            to: DifferenceState::Open,
            why: format!("{actor} turned the proposal down"),
            ..Step::staying(&difference, action)
        };
        self.take(step).await
    }

    pub(super) fn needs_two(&self, difference: &DifferenceRecord) -> bool {
        let limit = self.settings().second_person_above_minor;
        difference
            .amount()
            .is_none_or(|amount| amount.minor > limit)
    }

    async fn propose(
        &self,
        difference: &DifferenceRecord,
        proposal: &Proposal,
        actor: &str,
    ) -> Result<DifferenceRecord, ResolveError> {
        let mut action = self.personal(
            difference,
            "proposed",
            actor,
            &proposal.reason,
            &proposal.note,
        );
        action.evidence = serde_json::to_string(proposal).unwrap_or_default();
        let name = proposal.resolution.as_str();
        let step = Step {
            to: DifferenceState::Proposed,
            why: format!("{actor} proposes {name}; a second person has to agree"),
            ..Step::staying(difference, action)
        };
        self.take(step).await
    }

    async fn carry_out(
        &self,
        difference: &DifferenceRecord,
        proposal: &Proposal,
        actor: &str,
        action: &'static str,
    ) -> Result<DifferenceRecord, ResolveError> {
        let booked = self.books.booked_for(difference.id).await?;
        let name = (Cause::Correction, proposal.resolution.as_str());
        let transfers = transfers(difference, proposal.resolution, &booked);
        let entries = transfers
            .into_iter()
            .map(|t| NewEntry {
                actor: actor.to_owned(),
                rule: None,
                ..self.entry(difference, name, t.debit, t.credit, t.amount)
            })
            .collect();
        let step = Step {
            to: DifferenceState::Resolved,
            why: proposal.reason.clone(),
            resolution: Some(proposal.resolution.as_str().to_owned()),
            entries,
            ..Step::staying(
                difference,
                self.personal(difference, action, actor, &proposal.reason, &proposal.note),
            )
        };
        self.take(step).await
    }

    async fn one(&self, id: u64) -> Result<DifferenceRecord, ResolveError> {
        let found = self.books.difference(id).await?;
        found.ok_or(ResolveError::NotFound(id))
    }

    async fn unresolved_one(&self, id: u64) -> Result<DifferenceRecord, ResolveError> {
        let difference = self.one(id).await?;
        if difference.state == DifferenceState::Resolved {
            return Err(ResolveError::WrongState {
                id,
                state: "resolved",
                what: "it opens again by itself if the next run still finds it",
            });
        }
        Ok(difference)
    }

    pub(super) async fn proposed(
        &self,
        id: u64,
    ) -> Result<(DifferenceRecord, Proposal, String), ResolveError> {
        let difference = self.one(id).await?;
        let trail = self.books.actions(id).await?;
        let Some((proposal, proposer)) = proposal_of(&difference, &trail) else {
            return Err(ResolveError::WrongState {
                id,
                state: difference.state.as_str(),
                what: "nothing is proposed for it",
            });
        };
        Ok((difference, proposal, proposer))
    }

    async fn take(&self, step: Step) -> Result<DifferenceRecord, ResolveError> {
        if self.books.take_step(&step).await? {
            self.one(step.id).await
        } else {
            Err(ResolveError::Changed)
        }
    }

    fn personal(
        &self,
        difference: &DifferenceRecord,
        action: &'static str,
        actor: &str,
        reason: &str,
        note: &str,
    ) -> NewAction {
        NewAction {
            at: self.now(),
            actor: actor.to_owned(),
            action,
            rule: None,
            reason: reason.to_owned(),
            note: note.to_owned(),
            evidence: String::new(),
            key: format!(
                "{action}:{}:{}",
                difference.changed_at,
                self.payments.host.new_id()
            ),
            moved: None,
        }
    }
}

/// What is proposed for a difference, and by whom, while nobody has agreed.
pub(super) fn proposal_of(
    difference: &DifferenceRecord,
    trail: &[Action],
) -> Option<(Proposal, String)> {
    if difference.state != DifferenceState::Proposed {
        return None;
    }
    let last = trail.iter().rev().find(|line| line.action == "proposed")?;
    let proposal = serde_json::from_str(&last.evidence).ok()?;
    Some((proposal, last.actor.clone()))
}

/// What a resolution books, given what is booked for the difference.
pub(super) fn transfers(
    difference: &DifferenceRecord,
    resolution: Resolution,
    booked: &[Booked],
) -> Vec<Booked> {
    let back = booked.iter().map(Booked::taken_back);
    match resolution {
        Resolution::Explained => Vec::new(),
        Resolution::Released => back.collect(),
        Resolution::WrittenOff => {
            let mut all: Vec<Booked> = back.collect();
            all.extend(follow_the_channel(difference));
            all
        }
    }
}

/// Moves the clearing account to what the bill says, against `written-off`.
fn follow_the_channel(difference: &DifferenceRecord) -> Option<Booked> {
    let minor = |side: Option<Money>| side.map_or(0, |amount| amount.minor);
    let ours = match difference.our_state.as_deref() {
        // What we do not count as moved is not in our books.
        Some(state) if !counts(state) => 0,
        _ => minor(difference.ours),
    };
    let missing = minor(difference.bill) - ours;
    // A refund takes out of clearing what a charge puts in.
    let missing = match difference.kind {
        payment_core::reconciliation::Kind::Payment => missing,
        payment_core::reconciliation::Kind::Refund => -missing,
    };
    let clearing = Account::Clearing(difference.channel);
    let (debit, credit) = match missing {
        0 => return None,
        1.. => (clearing, Account::WrittenOff),
        _ => (Account::WrittenOff, clearing),
    };
    let currency = difference.amount()?.currency;
    Some(Booked {
        debit,
        credit,
        amount: Money::new(missing.abs(), currency),
    })
}

/// Whether a record in that state is in the ledger.
pub(super) fn counts(state: &str) -> bool {
    payment_core::PaymentState::parse(state).is_some_and(payment_core::PaymentState::was_charged)
        || state == payment_core::RefundState::Succeeded.as_str()
}

fn check_text(field: &str, text: &str, max: usize) -> Result<(), ResolveError> {
    if text.trim().is_empty() {
        return Err(invalid(field, "is required"));
    }
    if text.chars().count() > max {
        return Err(invalid(
            field,
            &format!("must have at most {max} characters"),
        ));
    }
    Ok(())
}

fn invalid(field: &str, problem: &str) -> ResolveError {
    ResolveError::Invalid(format!("{field} {problem}"))
}
