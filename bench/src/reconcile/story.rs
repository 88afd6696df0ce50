//! What happened to each order of the day, and how every side tells it.
//!
//! Guarantees: the same number of rows gives the same stories; what must be found is known, and
//! spread over the whole day, its first and its last order included; stories that look odd and
//! are right are among them, so that a comparison cannot pass by calling everything different.

use std::collections::BTreeMap;
use std::time::Duration;

use channels::bad_bills::GoodRow;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payment_core::ledger::{PaymentMoney, Position, Transfer, entries_between, position};
use payment_core::reconciliation::{DifferenceClass, Kind};
use payment_core::{ChannelKind, Currency, Money, PaymentState, RefundState};
use payment_runtime::clock;

/// Differences that are seeded.
const SEEDED: u64 = 1_000;
/// Every so many of the special stories are odd and right.
const ODD_EVERY: u64 = 11;
/// All special stories: the differences and the odd ones between them.
const SPECIAL: u64 = SEEDED + (SEEDED - 1) / (ODD_EVERY - 1);
/// Every so many orders a refund: one row in twenty of the bill.
const REFUND_EVERY: u64 = 19;
/// Of merchants and apps that are not ours.
pub(crate) const STRANGER: &str = "wx000000000000beef";
/// 0.6 %, in 1e-5 yuan for each fen.
const FEE_PER_FEN: i64 = 6;

/// A difference that must be found.
pub(crate) type Expected = (Kind, String, DifferenceClass);

/// A payment as we recorded it.
#[derive(Clone)]
pub(crate) struct Payment {
    /// The id behind its number, and what the channel knows it by.
    pub(crate) id: String,
    pub(crate) order_id: String,
    pub(crate) attempt: u32,
    pub(crate) amount: Money,
    pub(crate) status: PaymentState,
    pub(crate) created_at: Timestamp,
    pub(crate) paid_at: Option<Timestamp>,
    pub(crate) refund: Option<Refund>,
    pub(crate) ledger: Vec<Transfer>,
}

/// A refund as we recorded it.
#[derive(Clone)]
pub(crate) struct Refund {
    pub(crate) number: String,
    pub(crate) minor: i64,
    pub(crate) status: RefundState,
    pub(crate) refunded_at: Option<Timestamp>,
}

impl Payment {
    pub(crate) fn number(&self) -> String {
        format!("pay_{}", self.id)
    }

    pub(crate) fn refunded_minor(&self) -> i64 {
        let succeeded = self
            .refund
            .as_ref()
            .filter(|refund| refund.status == RefundState::Succeeded);
        succeeded.map_or(0, |refund| refund.minor)
    }

    /// What the ledger has to show of it.
    fn position(&self, channel: ChannelKind) -> Position {
        position(&PaymentMoney {
            channel,
            amount: self.amount,
            status: self.status,
            refunded_minor: self.refunded_minor(),
            given_up: false,
        })
    }
}

/// One order on every side.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) payments: Vec<Payment>,
    pub(crate) rows: Vec<GoodRow>,
    /// Rows of the next day's bill.
    pub(crate) next_rows: Vec<GoodRow>,
    pub(crate) expected: Vec<Expected>,
}

/// What is special about an order.
#[derive(Clone, Copy)]
enum Special {
    Difference(DifferenceClass),
    Odd(Odd),
}

/// Looks like a difference and is none.
#[derive(Clone, Copy)]
enum Odd {
    /// Ours shortly before midnight, on the next day's bill.
    NextBill,
    RefundOnNextBill,
    /// On this bill, ours the evening before.
    EveningBefore,
    /// Two attempts were charged, and one is given back.
    GivenBack,
    /// The bill was made before the refund was through.
    RefundUnderWay,
    /// Never paid, on no bill.
    Closed,
}

const ODD: [Odd; 6] = [
    Odd::NextBill,
    Odd::RefundOnNextBill,
    Odd::EveningBefore,
    Odd::GivenBack,
    Odd::RefundUnderWay,
    Odd::Closed,
];

/// All orders of one day.
pub(crate) struct Stories {
    pub(crate) channel: ChannelKind,
    pub(crate) day: Date,
    pub(crate) orders: u64,
    special: BTreeMap<u64, Special>,
    begins: Timestamp,
}

impl Stories {
    /// As many orders as make a bill of at least `rows` rows.
    pub(crate) fn new(channel: ChannelKind, day: Date, rows: u64) -> Self {
        let orders = rows - rows / 20 + SPECIAL / ODD_EVERY;
        let classes = classes(channel);
        let special = (0..SPECIAL).map(|n| {
            let special = match (n % ODD_EVERY, n / ODD_EVERY) {
                _ if n == SPECIAL - 1 => Special::Difference(DifferenceClass::MissingAtChannel),
                (10, round) => Special::Odd(ODD[place(round, ODD.len())]),
                (at, round) => {
                    let nth = round * (ODD_EVERY - 1) + at;
                    Special::Difference(classes[place(nth, classes.len())])
                }
            };
            (n * (orders - 1) / (SPECIAL - 1), special)
        });
        Self {
            channel,
            day,
            orders,
            special: special.collect(),
            begins: clock::beginning_of(day),
        }
    }

    /// All that must be found.
    pub(crate) fn expected(&self) -> Vec<Expected> {
        let special = self.special.keys();
        special
            .flat_map(|order| self.story(*order).expected)
            .collect()
    }

    /// When the order was paid, in milliseconds of the day: the order of the bill's rows.
    pub(crate) fn paid_after(&self, order: u64) -> u64 {
        // Orders are created all over the day and paid within a minute, in time for midnight.
        order * 86_340_000 / self.orders + 1_000 + random(order, 1) % 59_000
    }

    pub(crate) fn story(&self, order: u64) -> Story {
        let special = self.special.get(&order);
        let mut story = Story::default();
        let mut payment = self.payment(order);
        let row = self.row(&payment);
        match special {
            None => {
                story.rows.push(row);
                if order % REFUND_EVERY == REFUND_EVERY / 2 {
                    let refund = self.refund(order, payment.amount.minor / 2);
                    story.rows.push(self.refund_row(&payment, &refund));
                    give_back(&mut payment, refund);
                }
                story.payments.push(payment);
            }
            Some(Special::Odd(odd)) => self.odd(*odd, order, payment, row, &mut story),
            Some(Special::Difference(class)) => {
                self.differ(*class, order, payment, row, &mut story);
            }
        }
        self.book(&mut story, special);
        story
    }

    /// The ledger follows the records, except where that is the difference.
    fn book(&self, story: &mut Story, special: Option<&Special>) {
        let wrong = matches!(special, Some(Special::Difference(DifferenceClass::Ledger)));
        for payment in &mut story.payments {
            let nothing = Position::nothing(payment.amount.currency);
            let made = entries_between(&nothing, &payment.position(self.channel));
            payment.ledger = made.charge.into_iter().chain(made.refund).collect();
            if wrong && payment.amount.minor % 2 == 0 {
                payment.ledger.clear();
            } else if wrong {
                payment.ledger[0].amount.minor += 1;
            }
        }
    }

    fn odd(&self, odd: Odd, order: u64, mut payment: Payment, row: GoodRow, story: &mut Story) {
        let refund = self.refund(order, payment.amount.minor / 2);
        match odd {
            Odd::NextBill => {
                payment.paid_at = Some(self.at(86_399_500));
                let at = self.at(86_402_000);
                story.next_rows.push(at_time(row, at));
            }
            Odd::RefundOnNextBill => {
                let last = Some(self.at(86_399_500));
                let refund = Refund {
                    refunded_at: last,
                    ..refund
                };
                let refund_row = self.refund_row(&payment, &refund);
                story
                    .next_rows
                    .push(at_time(refund_row, self.at(86_402_000)));
                story.rows.push(row);
                give_back(&mut payment, refund);
            }
            Odd::EveningBefore => {
                let before = SignedDuration::from_secs(-2);
                payment.paid_at = self.begins.checked_add(before).ok();
                story.rows.push(at_time(row, self.at(1_000)));
            }
            Odd::GivenBack => {
                let mut second = self.second(order, &payment);
                let all = self.refund(order, second.amount.minor);
                story
                    .rows
                    .extend([row, self.row(&second), self.refund_row(&second, &all)]);
                give_back(&mut second, all);
                second.status = PaymentState::Refunded;
                story.payments.push(second);
            }
            Odd::RefundUnderWay => {
                let mut refund_row = self.refund_row(&payment, &refund);
                "PROCESSING".clone_into(&mut refund_row.refund_status);
                story.rows.extend([row, refund_row]);
                give_back(&mut payment, refund);
            }
            Odd::Closed => {
                payment.paid_at = None;
                payment.status = PaymentState::Closed;
            }
        }
        story.payments.push(payment);
    }

    fn differ(
        &self,
        class: DifferenceClass,
        order: u64,
        mut payment: Payment,
        mut row: GoodRow,
        story: &mut Story,
    ) {
        use DifferenceClass as Class;
        let mut number = payment.id.clone();
        match class {
            Class::ShortByStatus => {
                let states = [
                    PaymentState::Pending,
                    PaymentState::Closed,
                    PaymentState::Unknown,
                ];
                payment.status = states[place(random(order, 5), states.len())];
                payment.paid_at = None;
            }
            Class::MissingWithUs | Class::MissingAtChannel | Class::Ledger => {}
            Class::Amount => row = with_amount(row, payment.amount.minor + 1),
            Class::Currency => payment.amount.currency = dollars(),
            Class::Merchant => STRANGER.clone_into(&mut row.app_id),
            Class::Duplicate => story.rows.push(row.clone()),
            Class::DuplicateCharge => {
                let second = self.second(order, &payment);
                number.clone_from(&second.id);
                story.rows.push(self.row(&second));
                story.payments.push(second);
            }
            // More than the tolerance of one fen.
            Class::Fee => row.fee_1e5 += 5_000,
            Class::RefundShortByStatus
            | Class::RefundMissingWithUs
            | Class::RefundMissingAtChannel
            | Class::RefundAmount
            | Class::RefundStatus => {
                let refund = self.refund(order, payment.amount.minor / 2);
                story
                    .expected
                    .push((Kind::Refund, refund.number.clone(), class));
                self.differ_in_refund(class, refund, &mut payment, story);
            }
        }
        if story.expected.is_empty() {
            story.expected.push((Kind::Payment, number, class));
        }
        // A stranger's row is one whether or not we have a record under its number.
        let unknown = class == Class::Merchant && payment.amount.minor % 2 == 0;
        if class != Class::MissingWithUs && !unknown {
            story.payments.push(payment);
        }
        if class != Class::MissingAtChannel {
            story.rows.push(row);
        }
    }

    fn differ_in_refund(
        &self,
        class: DifferenceClass,
        mut refund: Refund,
        payment: &mut Payment,
        story: &mut Story,
    ) {
        use DifferenceClass as Class;
        let mut row = self.refund_row(payment, &refund);
        match class {
            Class::RefundShortByStatus => {
                refund.status = RefundState::Pending;
                refund.refunded_at = None;
                payment.refund = Some(refund);
            }
            Class::RefundMissingWithUs => {}
            Class::RefundAmount => {
                row = with_amount(row, refund.minor + 1);
                give_back(payment, refund);
            }
            Class::RefundStatus => {
                "FAIL".clone_into(&mut row.refund_status);
                give_back(payment, refund);
            }
            _ => give_back(payment, refund),
        }
        if class != Class::RefundMissingAtChannel {
            story.rows.push(row);
        }
    }

    fn payment(&self, order: u64) -> Payment {
        let paid_after = self.paid_after(order);
        let created_at = self.at(paid_after.saturating_sub(1_000 + random(order, 1) % 59_000));
        let minor = i64::try_from(100 + random(order, 2) % 1_000_000).unwrap_or(100);
        Payment {
            id: id(created_at, random(order, 3)),
            order_id: format!("order-{:016x}", random(order, 4)),
            attempt: 1,
            amount: Money::new(minor, Currency::CNY),
            status: PaymentState::Paid,
            created_at,
            paid_at: Some(self.at(paid_after)),
            refund: None,
            ledger: Vec::new(),
        }
    }

    /// Another charged attempt of the same order, an hour later or at the day's end.
    fn second(&self, order: u64, first: &Payment) -> Payment {
        let created_at = self.at((self.paid_after(order) + 3_600_000).min(86_390_000));
        Payment {
            id: id(created_at, random(order, 6)),
            attempt: 2,
            created_at,
            paid_at: created_at.checked_add(SignedDuration::from_secs(5)).ok(),
            ..first.clone()
        }
    }

    fn refund(&self, order: u64, minor: i64) -> Refund {
        let at = self.at((self.paid_after(order) + 600_000).min(86_395_000));
        Refund {
            number: id(at, random(order, 7)),
            minor,
            status: RefundState::Succeeded,
            refunded_at: Some(at),
        }
    }

    fn row(&self, payment: &Payment) -> GoodRow {
        let at = payment.paid_at.unwrap_or(self.begins);
        at_time(
            GoodRow::payment(
                payment.id.clone(),
                payment.amount.minor,
                self.day.at(0, 0, 0, 0),
            ),
            at,
        )
    }

    fn refund_row(&self, payment: &Payment, refund: &Refund) -> GoodRow {
        let at = refund.refunded_at.unwrap_or(self.begins);
        let day = self.day.at(0, 0, 0, 0);
        at_time(
            GoodRow::refund(payment.id.clone(), refund.number.clone(), refund.minor, day),
            at,
        )
    }

    fn at(&self, milliseconds: u64) -> Timestamp {
        let after = Duration::from_millis(milliseconds);
        self.begins.checked_add(after).unwrap_or(self.begins)
    }
}

/// What the bills of a channel can show. Alipay's name one account for all rows, and only refunds
/// that are done.
fn classes(channel: ChannelKind) -> Vec<DifferenceClass> {
    use DifferenceClass as Class;
    // The first row of a bill is one that we do not know.
    let mut classes = vec![Class::MissingWithUs];
    classes.extend(Class::ALL.into_iter().filter(|class| {
        let wechat_only = matches!(class, Class::Merchant | Class::RefundStatus);
        *class != Class::MissingWithUs && (channel == ChannelKind::Wechat || !wechat_only)
    }));
    classes
}

fn give_back(payment: &mut Payment, refund: Refund) {
    payment.status = PaymentState::PartlyRefunded;
    payment.refund = Some(refund);
}

fn with_amount(mut row: GoodRow, minor: i64) -> GoodRow {
    row.amount_minor = minor;
    row.settled_minor = minor;
    row.fee_1e5 = row.fee_1e5.signum() * minor * FEE_PER_FEN;
    row
}

fn at_time(mut row: GoodRow, at: Timestamp) -> GoodRow {
    row.time = clock::to_beijing(at);
    row
}

fn dollars() -> Currency {
    Currency::parse("USD").unwrap_or(Currency::CNY)
}

fn place(n: u64, length: usize) -> usize {
    usize::try_from(n).unwrap_or_default() % length
}

/// As the runtime makes them: ordered by time, 32 characters.
fn id(at: Timestamp, random: u64) -> String {
    let milliseconds = u64::try_from(at.as_millisecond()).unwrap_or_default();
    let (high, low) = (random >> 52, random & 0x0fff_ffff_ffff);
    format!(
        "{milliseconds:012x}7{high:03x}a{:03x}{low:012x}",
        random % 0x1000
    )
}

/// Evenly spread bits that are the same each time (SplitMix64).
fn random(order: u64, salt: u64) -> u64 {
    let mut bits = (order * 8 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stories(channel: ChannelKind) -> Stories {
        Stories::new(channel, "2026-11-20".parse().unwrap(), 20_000)
    }

    #[test]
    fn a_thousand_differences_are_spread_over_every_class() {
        for (channel, classes) in [(ChannelKind::Wechat, 15), (ChannelKind::Alipay, 13)] {
            let expected = stories(channel).expected();
            assert_eq!(expected.len() as u64, SEEDED);
            let mut counts = BTreeMap::<DifferenceClass, u64>::new();
            for (_, _, class) in &expected {
                *counts.entry(*class).or_default() += 1;
            }
            assert_eq!(counts.len(), classes);
            assert!(counts.values().all(|count| *count >= SEEDED / 15 - 1));
        }
    }

    #[test]
    fn the_bill_has_as_many_rows_as_wanted_and_no_number_twice_by_chance() {
        let stories = stories(ChannelKind::Wechat);
        let rows: Vec<GoodRow> = (0..stories.orders)
            .flat_map(|order| stories.story(order).rows)
            .collect();
        assert!((20_000..20_400).contains(&rows.len()), "{}", rows.len());
        let numbers = rows
            .iter()
            .map(|row| row.refund_no.as_ref().unwrap_or(&row.channel_order_no));
        let distinct: std::collections::BTreeSet<&String> = numbers.collect();
        let duplicates = stories
            .expected()
            .iter()
            .filter(|(_, _, class)| *class == DifferenceClass::Duplicate)
            .count();
        assert_eq!(distinct.len() + duplicates, rows.len());
    }
}
