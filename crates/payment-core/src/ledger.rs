//! The ledger's accounts, and what each payment must show on them.
//!
//! Guarantees: an entry is a [`Transfer`] between two accounts, so no set of entries can sum to
//! anything but zero; the entries of a step are the difference of two [`Position`]s, so however a
//! payment got where it is, the fold of its entries is its position.
//!
//! Balances are debit-positive: what a channel holds for us is positive, what we owe is negative.
//!
//! Deliberately not here: keys, days and evidence of entries (the records'), sums over payments.

use std::collections::BTreeMap;
use std::fmt;

use crate::{ChannelKind, Currency, Money, PaymentState};

/// An account. Names are part of the database and of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// What the channel holds for us.
    Clearing(ChannelKind),
    /// What the merchant is owed for paid orders.
    Merchant,
    /// What was given back out of the merchant's revenue.
    Refunds,
    /// Money of the channel without an owner whom we accept.
    Suspense(ChannelKind),
    /// What the channel keeps.
    Fees(ChannelKind),
    /// What a person decided to pursue no longer.
    WrittenOff,
}

impl Account {
    pub const ALL: [Self; 9] = [
        Self::Clearing(ChannelKind::Wechat),
        Self::Clearing(ChannelKind::Alipay),
        Self::Merchant,
        Self::Refunds,
        Self::Suspense(ChannelKind::Wechat),
        Self::Suspense(ChannelKind::Alipay),
        Self::Fees(ChannelKind::Wechat),
        Self::Fees(ChannelKind::Alipay),
        Self::WrittenOff,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clearing(ChannelKind::Wechat) => "clearing:wechat",
            Self::Clearing(ChannelKind::Alipay) => "clearing:alipay",
            Self::Merchant => "merchant",
            Self::Refunds => "refunds",
            Self::Suspense(ChannelKind::Wechat) => "suspense:wechat",
            Self::Suspense(ChannelKind::Alipay) => "suspense:alipay",
            Self::Fees(ChannelKind::Wechat) => "fees:wechat",
            Self::Fees(ChannelKind::Alipay) => "fees:alipay",
            Self::WrittenOff => "written-off",
        }
    }

    /// The account of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|account| account.as_str() == name)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an entry was made. Names are part of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The channel charged the payer.
    Charged,
    /// The channel charged the payer after we had given the payment up.
    GivenUp,
    /// What was recorded as charged no longer is. The table of evidence knows no such move; should
    /// one ever be recorded, the ledger follows it.
    ChargeReversed,
    /// A payment that we had given up was taken after all.
    Reopened,
    /// The channel gave money back.
    Refunded,
    /// The channel undid a refund.
    RefundReversed,
    /// The payment is older than the ledger.
    Opening,
    /// The channel kept its fee.
    Fee,
    /// A bill shows money that is nobody's.
    Suspense,
    /// Money is held until a person decides.
    Freeze,
    /// A person or a rule put something right.
    Correction,
    /// The ledger lacked what the payment's record says.
    Reposted,
}

impl Cause {
    pub const ALL: [Self; 12] = [
        Self::Charged,
        Self::GivenUp,
        Self::ChargeReversed,
        Self::Reopened,
        Self::Refunded,
        Self::RefundReversed,
        Self::Opening,
        Self::Fee,
        Self::Suspense,
        Self::Freeze,
        Self::Correction,
        Self::Reposted,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charged => "charged",
            Self::GivenUp => "given-up",
            Self::ChargeReversed => "charge-reversed",
            Self::Reopened => "reopened",
            Self::Refunded => "refunded",
            Self::RefundReversed => "refund-reversed",
            Self::Opening => "opening",
            Self::Fee => "fee",
            Self::Suspense => "suspense",
            Self::Freeze => "freeze",
            Self::Correction => "correction",
            Self::Reposted => "reposted",
        }
    }

    /// The cause of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == name)
    }

    /// Whether a payment's record explains the entry: exactly these fold to its [`position`].
    pub const fn follows_record(self) -> bool {
        match self {
            Self::Charged
            | Self::GivenUp
            | Self::ChargeReversed
            | Self::Reopened
            | Self::Refunded
            | Self::RefundReversed
            | Self::Opening
            | Self::Reposted => true,
            Self::Fee | Self::Suspense | Self::Freeze | Self::Correction => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One movement: `amount`, greater than zero, from the credited to the debited account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub debit: Account,
    pub credit: Account,
    pub amount: Money,
}

/// Minor units by account, debit-positive, no zeros.
pub type Balances = BTreeMap<Account, i64>;

/// What of a payment's record the ledger follows.
#[derive(Clone, Copy, Debug)]
pub struct PaymentMoney {
    pub channel: ChannelKind,
    pub amount: Money,
    pub status: PaymentState,
    /// Refunds that succeeded, in minor units.
    pub refunded_minor: i64,
    /// Charged after it was given up, and not reopened since.
    pub given_up: bool,
}

/// What the ledger must show of one payment. The charge and what was given back are kept apart,
/// so that a day's turnover on a clearing account is what the channel's bill of the day says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    currency: Currency,
    charge: Balances,
    refund: Balances,
}

impl Position {
    /// A payment without any money.
    pub const fn nothing(currency: Currency) -> Self {
        Self {
            currency,
            charge: Balances::new(),
            refund: Balances::new(),
        }
    }

    pub fn balances(&self) -> Balances {
        let mut all = self.charge.clone();
        for (account, minor) in &self.refund {
            add(&mut all, *account, *minor);
        }
        all
    }
}

/// The position of a payment whose record says this.
pub fn position(money: &PaymentMoney) -> Position {
    let mut position = Position::nothing(money.amount.currency);
    // A refund may be known before its charge is: then there is nothing to show yet.
    if !money.status.was_charged() {
        return position;
    }
    let clearing = Account::Clearing(money.channel);
    let suspense = Account::Suspense(money.channel);
    let (owed_to, given_from) = if money.given_up {
        (suspense, suspense)
    } else {
        (Account::Merchant, Account::Refunds)
    };
    add(&mut position.charge, clearing, money.amount.minor);
    add(&mut position.charge, owed_to, -money.amount.minor);
    add(&mut position.refund, clearing, -money.refunded_minor);
    add(&mut position.refund, given_from, money.refunded_minor);
    position
}

/// What leads from one position of a payment to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Movements of what was charged.
    pub charge: Vec<Transfer>,
    /// Movements of what was given back.
    pub refund: Vec<Transfer>,
}

/// The entries that lead from `before` to `after`, always the same and as few as there can be for
/// the charge and for what was given back.
pub fn entries_between(before: &Position, after: &Position) -> Difference {
    Difference {
        charge: pair(&before.charge, &after.charge, after.currency),
        refund: pair(&before.refund, &after.refund, after.currency),
    }
}

/// The entries after which the ledger, which shows `shown` of a payment, shows `after`.
pub fn entries_to_reach(after: &Position, shown: &Balances) -> Difference {
    if shown.is_empty() {
        return entries_between(&Position::nothing(after.currency), after);
    }
    Difference {
        charge: pair(shown, &after.balances(), after.currency),
        refund: Vec::new(),
    }
}

/// What entries together do to the accounts.
pub fn fold(transfers: impl IntoIterator<Item = Transfer>) -> Balances {
    let mut balances = Balances::new();
    for transfer in transfers {
        add(&mut balances, transfer.debit, transfer.amount.minor);
        add(&mut balances, transfer.credit, -transfer.amount.minor);
    }
    balances
}

fn add(balances: &mut Balances, account: Account, minor: i64) {
    let balance = balances.entry(account).or_default();
    *balance = balance.saturating_add(minor);
    if *balance == 0 {
        balances.remove(&account);
    }
}

/// Pairs what must be debited with what must be credited, both in the accounts' order.
fn pair(before: &Balances, after: &Balances, currency: Currency) -> Vec<Transfer> {
    let mut change = after.clone();
    for (account, minor) in before {
        add(&mut change, *account, -minor);
    }
    let mut credits: Vec<(Account, i64)> = change
        .iter()
        .filter(|(_, minor)| **minor < 0)
        .map(|(account, minor)| (*account, -minor))
        .collect();
    let mut transfers = Vec::new();
    for (debit, minor) in change.iter().filter(|(_, minor)| **minor > 0) {
        let mut left = *minor;
        for (credit, open) in credits.iter_mut().filter(|(_, open)| *open > 0) {
            let taken = left.min(*open);
            if taken == 0 {
                break;
            }
            left -= taken;
            *open -= taken;
            transfers.push(Transfer {
                debit: *debit,
                credit: *credit,
                amount: Money::new(taken, currency),
            });
        }
    }
    transfers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::refund::state_after_refunds;

    const WECHAT: ChannelKind = ChannelKind::Wechat;

    fn money(status: PaymentState, refunded_minor: i64, given_up: bool) -> PaymentMoney {
        PaymentMoney {
            channel: WECHAT,
            amount: Money::new(500, Currency::CNY),
            status,
            refunded_minor,
            given_up,
        }
    }

    fn all(difference: Difference) -> Vec<Transfer> {
        let Difference { charge, refund } = difference;
        charge.into_iter().chain(refund).collect()
    }

    fn told(before: &PaymentMoney, after: &PaymentMoney) -> Vec<String> {
        all(entries_between(&position(before), &position(after)))
            .iter()
            .map(|t| format!("{} <- {} {}", t.debit, t.credit, t.amount.minor))
            .collect()
    }

    #[test]
    fn names_are_read_back_and_differ() {
        let mut names = BTreeSet::new();
        for account in Account::ALL {
            assert_eq!(Account::parse(account.as_str()), Some(account));
            assert!(names.insert(account.as_str()));
        }
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
        }
        assert_eq!(Account::parse("clearing:stripe"), None);
        assert_eq!(Cause::parse("theft"), None);
    }

    #[test]
    fn every_step_of_a_payment_posts_what_a_bookkeeper_would() {
        use PaymentState as S;
        let open = money(S::Pending, 0, false);
        let paid = money(S::Paid, 0, false);
        let part = money(S::PartlyRefunded, 200, false);
        let late = money(S::PaidAfterClose, 0, true);
        let late_part = money(S::PaidAfterClose, 200, true);
        let late_back = money(S::Refunded, 500, true);
        assert_eq!(told(&open, &paid), ["clearing:wechat <- merchant 500"]);
        assert_eq!(told(&paid, &part), ["refunds <- clearing:wechat 200"]);
        assert_eq!(told(&part, &paid), ["clearing:wechat <- refunds 200"]);
        assert_eq!(
            told(&open, &late),
            ["clearing:wechat <- suspense:wechat 500"]
        );
        assert_eq!(
            told(&late, &late_back),
            ["suspense:wechat <- clearing:wechat 500"]
        );
        assert_eq!(
            told(&late_part, &part),
            [
                "suspense:wechat <- merchant 500",
                "refunds <- suspense:wechat 200"
            ]
        );
        assert_eq!(
            told(&open, &part),
            [
                "clearing:wechat <- merchant 500",
                "refunds <- clearing:wechat 200"
            ],
            "a refund that was known before the charge"
        );
        assert_eq!(
            told(&open, &money(S::Closed, 200, false)),
            [""; 0],
            "nothing was charged"
        );
    }

    /// Every record, reachable or not.
    fn anything() -> impl Strategy<Value = PaymentMoney> {
        (0..PaymentState::ALL.len(), 0_i64..=500, any::<bool>()).prop_map(
            |(state, refunded, given_up)| money(PaymentState::ALL[state], refunded, given_up),
        )
    }

    proptest! {
        #[test]
        fn the_fold_of_any_walk_is_the_position_of_its_end(
            walk in prop::collection::vec(anything(), 1..20)
        ) {
            let mut at = Position::nothing(Currency::CNY);
            let mut entries = Vec::new();
            for step in &walk {
                let next = position(step);
                let made = all(entries_between(&at, &next));
                prop_assert!(made.len() <= 4, "{made:?}");
                entries.extend(made);
                at = next;
            }
            let folded = fold(entries.iter().copied());
            prop_assert_eq!(&folded, &at.balances());
            prop_assert_eq!(folded.values().sum::<i64>(), 0);
            let more = all(entries_to_reach(&position(&walk[0]), &folded));
            let reached = fold(entries.iter().copied().chain(more));
            prop_assert_eq!(reached, position(&walk[0]).balances());
            for entry in entries {
                prop_assert!(entry.amount.minor > 0);
                prop_assert_ne!(entry.debit, entry.credit);
            }
        }
    }

    /// Few: one movement a step, two only where a payment is reopened or its refund came first.
    #[test]
    fn possible_steps_need_one_entry_for_the_charge_and_one_for_the_refund() {
        for (before, after) in possible_steps() {
            let made = entries_between(&position(&before), &position(&after));
            assert!(made.charge.len() <= 1, "{before:?} {after:?} {made:?}");
            assert!(made.refund.len() <= 1, "{before:?} {after:?} {made:?}");
        }
    }

    fn possible_steps() -> Vec<(PaymentMoney, PaymentMoney)> {
        let state = |given, late| money(state_after_refunds(500, given, late), given, late);
        let amounts = [0, 1, 250, 499, 500];
        let mut steps = Vec::new();
        for late in [false, true] {
            for from in amounts {
                steps.push((money(PaymentState::Pending, from, false), state(from, late)));
                steps.push((state(from, late), state(from, false)));
                for to in amounts {
                    steps.push((state(from, late), state(to, late)));
                }
            }
        }
        steps
    }
}
