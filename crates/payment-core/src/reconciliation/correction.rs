//! What may be done about a difference without asking a person.
//!
//! Guarantees: nothing is corrected on the word of the bill alone: the channel was asked afresh
//! and says the same, with the same amount; money is only ever moved within the day's budget;
//! what is not certain waits or goes to a person, with the reason in words.
//!
//! Deliberately not here: asking the channel, and doing it.

use super::{DifferenceClass, Kind};
use crate::Money;
use crate::guards::{Guard, holds};

/// Names this table; every correction is recorded with it. Change it with the table.
pub const RULES: &str = "corrections-1";

/// What the channel says now, asked about the number in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// No verified answer.
    Nothing,
    /// It does not know the number.
    Absent,
    /// It knows the order and did not charge it.
    NotCharged,
    /// It charged this amount.
    Charged(Money),
    /// It gave this amount back (`None`: it does not say how much).
    GivenBack(Option<Money>),
    /// The refund is under way.
    Processing,
    /// The refund failed, or hangs until a person acts at the channel.
    NotGivenBack,
}

/// One difference, as the decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub class: DifferenceClass,
    pub kind: Kind,
    pub ours: Option<Money>,
    pub bill: Option<Money>,
    /// Whole days since the day of the bill.
    pub age_days: i64,
}

/// What the platform team allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub enabled: bool,
    /// Days that a row at the edge of its day may take to turn up.
    pub wait_days: i64,
}

/// What is left of the day's budget for automatic corrections of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub count: u64,
    pub minor: i64,
}

impl Budget {
    const fn covers(self, amount: Money) -> bool {
        self.count > 0 && amount.minor <= self.minor
    }
}

/// Why a person has to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprovable {
    /// The class has no automatic correction.
    NoRule,
    /// Automatic corrections are switched off.
    SwitchedOff,
    /// The day's budget is used up.
    Capped,
    /// The channel says something else now than its bill did.
    ChannelDisagrees,
    /// The channel denies what we recorded; the money is frozen.
    ChannelDenies,
    /// The channel confirms what its bill does not show, and the days for it to turn up are over.
    NeverTurnedUp,
    /// A security matter.
    Security,
}

impl Unprovable {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no automatic correction exists for this class",
            Self::SwitchedOff => "automatic corrections are switched off",
            Self::Capped => "the day's budget for automatic corrections is used up",
            Self::ChannelDisagrees => "the channel says something else now than its bill did",
            Self::ChannelDenies => "the channel denies it; the money is frozen in suspense",
            Self::NeverTurnedUp => "the channel confirms it, but no bill has shown it in time",
            Self::Security => "a row for somebody else: ask the channel, and who has our keys",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// Drive our record to what bill and channel both say.
    Believe,
    /// Book the charge to suspense, and leave it to a person.
    Suspense,
    /// Our record claims what the channel denies: take it out of the merchant's balance, and leave
    /// it to a person.
    Freeze,
    /// Give the later of two charges back.
    RefundLater,
    /// Post what the ledger lacks.
    Repost,
    /// The fee as taken is posted with the bill; say that the contract drifts.
    TakeFee,
    /// Look again with the next run.
    Wait(&'static str),
    Person(Unprovable),
}

impl Correction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Believe => "believe",
            Self::Suspense => "suspense",
            Self::Freeze => "freeze",
            Self::RefundLater => "refund-later",
            Self::Repost => "repost",
            Self::TakeFee => "take-fee",
            Self::Wait(_) => "wait",
            Self::Person(_) => "person",
        }
    }

    /// A row at the edge of its day is kept apart from the open differences while it may still
    /// heal by itself; any other is open at once, waiting or not.
    pub const fn heals_by_itself(self, at_the_edge: bool) -> bool {
        at_the_edge && matches!(self, Self::Wait(_))
    }

    /// Whether it counts against the day's budget.
    pub const fn moves_money(self) -> bool {
        matches!(
            self,
            Self::Believe | Self::Suspense | Self::Freeze | Self::RefundLater | Self::Repost
        )
    }
}

/// Decides about one difference, given what the channel says now.
pub fn decide_correction(case: Case, said: Said, settings: Settings, left: Budget) -> Correction {
    let said = if said == Said::Nothing && !holds(Guard::CorrectionNeedsFreshEvidence) {
        as_if_confirmed(case)
    } else {
        said
    };
    let wanted = wanted(case, said, settings);
    if !wanted.moves_money() {
        return wanted;
    }
    if !settings.enabled {
        return Correction::Person(Unprovable::SwitchedOff);
    }
    let amount = case.bill.or(case.ours);
    if amount.is_some_and(|amount| left.covers(amount)) {
        wanted
    } else {
        Correction::Person(Unprovable::Capped)
    }
}

/// What the channel would have to say for the bill to be right.
fn as_if_confirmed(case: Case) -> Said {
    match (case.kind, case.bill.or(case.ours)) {
        (_, None) => Said::Nothing,
        (Kind::Payment, Some(amount)) => Said::Charged(amount),
        (Kind::Refund, amount) => Said::GivenBack(amount),
    }
}

fn wanted(case: Case, said: Said, settings: Settings) -> Correction {
    use DifferenceClass as Class;
    match case.class {
        Class::ShortByStatus => short(case, said),
        Class::RefundShortByStatus => refund_short(case, said),
        Class::MissingWithUs => stranger(case, said),
        Class::MissingAtChannel => missing(case, said, settings),
        Class::RefundMissingAtChannel | Class::RefundStatus => refund_missing(case, said, settings),
        Class::DuplicateCharge => duplicate(case, said),
        Class::Ledger => Correction::Repost,
        Class::Fee => Correction::TakeFee,
        Class::Merchant | Class::Currency => Correction::Person(Unprovable::Security),
        Class::Amount | Class::Duplicate | Class::RefundAmount | Class::RefundMissingWithUs => {
            Correction::Person(Unprovable::NoRule)
        }
    }
}

const ASK_AGAIN: Correction = Correction::Wait("the channel did not answer; it is asked again");
const TURNS_UP: Correction =
    Correction::Wait("the channel confirms it; it may turn up on a later bill");

fn short(case: Case, said: Said) -> Correction {
    match said {
        Said::Nothing => ASK_AGAIN,
        Said::Charged(amount) if Some(amount) == case.bill && case.ours == case.bill => {
            Correction::Believe
        }
        _ => Correction::Person(Unprovable::ChannelDisagrees),
    }
}

fn refund_short(case: Case, said: Said) -> Correction {
    match said {
        Said::Nothing => ASK_AGAIN,
        Said::Processing => Correction::Wait("the channel is still giving it back"),
        Said::GivenBack(amount) if amount.is_none_or(|amount| Some(amount) == case.bill) => {
            Correction::Believe
        }
        _ => Correction::Person(Unprovable::ChannelDisagrees),
    }
}

fn stranger(case: Case, said: Said) -> Correction {
    match said {
        Said::Nothing => ASK_AGAIN,
        Said::Charged(amount) if Some(amount) == case.bill => Correction::Suspense,
        _ => Correction::Person(Unprovable::ChannelDisagrees),
    }
}

fn missing(case: Case, said: Said, settings: Settings) -> Correction {
    match said {
        Said::Nothing => ASK_AGAIN,
        Said::Charged(amount) if Some(amount) == case.ours => late(case, settings),
        Said::Charged(_) => Correction::Person(Unprovable::ChannelDisagrees),
        _ => Correction::Freeze,
    }
}

fn refund_missing(case: Case, said: Said, settings: Settings) -> Correction {
    match said {
        Said::Nothing => ASK_AGAIN,
        Said::GivenBack(amount) if amount.is_none_or(|amount| Some(amount) == case.ours) => {
            late(case, settings)
        }
        Said::Processing => Correction::Wait("the channel is still giving it back"),
        // The refund was recorded as done on the channel's word, which it takes back.
        Said::NotGivenBack => Correction::Believe,
        _ => Correction::Person(Unprovable::ChannelDisagrees),
    }
}

/// Confirmed by the channel and not on the bill: another day's bill may have it.
const fn late(case: Case, settings: Settings) -> Correction {
    if case.age_days <= settings.wait_days {
        TURNS_UP
    } else {
        Correction::Person(Unprovable::NeverTurnedUp)
    }
}

fn duplicate(case: Case, said: Said) -> Correction {
    match said {
        Said::Nothing => ASK_AGAIN,
        Said::Charged(amount) if Some(amount) == case.bill => Correction::RefundLater,
        _ => Correction::Person(Unprovable::ChannelDisagrees),
    }
}

#[cfg(test)]
mod tests;
