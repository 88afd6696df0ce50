//! Why a row, a record or an entry is not the same on both sides of an equation.
//!
//! Guarantees: pure; a difference explains something only if it is of a fitting class, speaks of
//! the amounts that are there now, has a reason in words, and was not ended by both sides agreeing.
//!
//! Deliberately not here: finding what has to be explained (`store`).

use payment_core::reconciliation::{DifferenceClass as Class, Kind};

use super::model::Item;
use crate::reconcile::books::{DifferenceRecord, DifferenceState};
use crate::reconcile::resolve::Resolution;
use crate::store::{AbsentRecord, Life, RepeatedCharge, RowItem, Shift};

/// What a difference has to say to explain an item.
struct Needed<'a> {
    classes: &'a [Class],
    /// The row's place, where the number alone does not name it.
    line: Option<u64>,
    ours: Option<i64>,
    bill: Option<i64>,
}

/// What explains a row of the bill.
pub(super) enum Row<'a> {
    /// Its own place and our record's.
    Itself(String),
    Difference(&'a [Class]),
}

/// What it takes to explain a row.
pub(super) fn of_row(kind: Kind, row: &RowItem) -> Row<'static> {
    let pick = |payment, refund| match kind {
        Kind::Payment => Row::Difference(payment),
        Kind::Refund => Row::Difference(refund),
    };
    if !row.first {
        return Row::Difference(&[Class::Duplicate]);
    }
    let Some(record) = &row.record else {
        return pick(
            &[Class::MissingWithUs, Class::Merchant],
            &[Class::RefundMissingWithUs, Class::Merchant],
        );
    };
    if !record.same_currency {
        return Row::Difference(&[Class::Currency, Class::Merchant]);
    }
    if record.amount != row.amount {
        return pick(
            &[Class::Amount, Class::Merchant],
            &[Class::RefundAmount, Class::Merchant],
        );
    }
    if record.settled {
        let day = record
            .day
            .map_or_else(|| "no day".to_owned(), |day| format!("{day}, not this day"));
        return Row::Itself(format!("our record says {day}"));
    }
    if row.failed && matches!(record.status.as_str(), "FAILED" | "REVERSED") {
        let status = record.status.to_lowercase();
        return Row::Itself(format!("the bill says that it failed; ours is {status}"));
    }
    pick(
        &[Class::ShortByStatus, Class::Merchant],
        &[Class::RefundShortByStatus, Class::Merchant],
    )
}

/// A row of the bill as an item: what it adds to the records of the day.
pub(super) fn row(
    kind: Kind,
    row: &RowItem,
    of_the_day: bool,
    differences: &[DifferenceRecord],
) -> Item {
    let about = format!("row {} {}", row.line, row.number);
    let ours = row.record.as_ref().map(|record| record.amount);
    let counted = if of_the_day && row.first { ours } else { None };
    let minor = i128::from(row.amount) - i128::from(counted.unwrap_or_default());
    match of_row(kind, row) {
        Row::Itself(reason) => Item::explained(about, minor, reason),
        Row::Difference(classes) => {
            let needed = Needed {
                classes,
                line: (!row.first).then_some(row.line),
                ours: ours.filter(|_| row.first),
                bill: Some(row.amount),
            };
            by_difference(about, minor, &needed, differences)
        }
    }
}

/// A record of the day without a row, as an item.
pub(super) fn absent(
    kind: Kind,
    record: &AbsentRecord,
    other_bills: &[jiff::civil::Date],
    differences: &[DifferenceRecord],
) -> Item {
    let about = format!("{} ({})", record.number, record.payment_no);
    let minor = -i128::from(record.amount);
    if !other_bills.is_empty() {
        let days: Vec<String> = other_bills.iter().map(ToString::to_string).collect();
        let reason = format!("stands on the bill of {}", days.join(", "));
        return Item::explained(about, minor, reason);
    }
    let classes: &[Class] = match (record.other_currency, kind) {
        (true, _) => &[Class::Currency, Class::Merchant],
        (false, Kind::Payment) => &[Class::MissingAtChannel],
        (false, Kind::Refund) => &[Class::RefundMissingAtChannel],
    };
    let mut found = differences.to_vec();
    if record.other_currency {
        // The row's side is checked where the row is.
        for difference in &mut found {
            difference.bill = None;
        }
    }
    let needed = Needed {
        classes,
        line: None,
        ours: Some(record.amount),
        bill: None,
    };
    by_difference(about, minor, &needed, &found)
}

/// A further charge of an order, as an item.
pub(super) fn repeated(charge: &RepeatedCharge, differences: &[DifferenceRecord]) -> Item {
    let about = format!("order {} ({})", charge.order_id, charge.payment_no);
    let minor = -i128::from(charge.amount);
    if charge.reserved >= charge.amount {
        return Item::explained(about, minor, "charged again, and given back".to_owned());
    }
    if charge.given_up {
        let reason = "charged after it was given up; it waits in suspense to be given back";
        return Item::explained(about, minor, reason.to_owned());
    }
    let needed = Needed {
        classes: &[Class::DuplicateCharge],
        line: None,
        ours: Some(charge.amount),
        bill: Some(charge.amount),
    };
    by_difference(about, minor, &needed, differences)
}

/// A payment that ledger and records have on different days, as an item.
pub(super) fn shift(shift: &Shift, life: Option<&Life>) -> Item {
    let minor = shift.ledger - shift.record;
    let Some(number) = &shift.payment_no else {
        let reason = "entries that follow a record, and name no payment".to_owned();
        return Item::unexplained("ledger".to_owned(), minor, reason);
    };
    let number = number.clone();
    let Some(life) = life else {
        return Item::unexplained(number, minor, "it was not looked at".to_owned());
    };
    match life.expected {
        None => {
            let reason = "the ledger has entries of a payment that has no record".to_owned();
            Item::unexplained(number, minor, reason)
        }
        Some(expected) if expected == life.shown => {
            let days = if life.days.is_empty() {
                "no day"
            } else {
                &life.days
            };
            let reason = format!("over all days both agree; the ledger has it on {days}");
            Item::explained(number, minor, reason)
        }
        Some(expected) => {
            let shown = life.shown;
            let reason = format!(
                "over all days its record says {expected} minor units in clearing, its entries {shown}"
            );
            Item::unexplained(number, minor, reason)
        }
    }
}

fn by_difference(
    about: String,
    minor: i128,
    needed: &Needed<'_>,
    differences: &[DifferenceRecord],
) -> Item {
    let fitting = differences.iter().filter(|difference| {
        needed.classes.contains(&difference.class)
            && needed.line.is_none_or(|line| line == difference.line)
    });
    // The newest says most; one that explains it is preferred.
    let mut best: Option<(&DifferenceRecord, Option<String>)> = None;
    for difference in fitting {
        let objection = objection(needed, difference);
        if best.is_none() || objection.is_none() {
            best = Some((difference, objection));
        }
    }
    let Some((difference, objection)) = best else {
        let names: Vec<&str> = needed.classes.iter().map(|class| class.as_str()).collect();
        let reason = format!("no difference lists it (expected: {})", names.join(" or "));
        return Item::unexplained(about, minor, reason);
    };
    Item {
        difference: Some(difference.id),
        class: Some(difference.class.to_string()),
        state: Some(difference.state.as_str().to_owned()),
        explained: objection.is_none(),
        reason: objection.unwrap_or_else(|| difference.why.clone()),
        ..Item::explained(about, minor, String::new())
    }
}

/// Why a difference does not explain what it is about.
fn objection(needed: &Needed<'_>, difference: &DifferenceRecord) -> Option<String> {
    let id = difference.id;
    let said = |side: Option<payment_core::Money>| side.map(|money| money.minor);
    if (said(difference.ours), said(difference.bill)) != (needed.ours, needed.bill) {
        let side = |minor: Option<i64>| minor.map_or("-".to_owned(), |minor| minor.to_string());
        return Some(format!(
            "difference {id} speaks of ours {} and the channel's {}; there are {} and {}",
            side(said(difference.ours)),
            side(said(difference.bill)),
            side(needed.ours),
            side(needed.bill),
        ));
    }
    if difference.why.trim().is_empty() {
        return Some(format!("difference {id} has no reason yet"));
    }
    if difference.state == DifferenceState::Resolved {
        let by_a_person = difference
            .resolution
            .as_deref()
            .is_some_and(|name| Resolution::parse(name).is_some());
        if !by_a_person {
            let how = difference.resolution.as_deref().unwrap_or("somehow");
            return Some(format!(
                "difference {id} was ended ({how}), and it is there"
            ));
        }
    }
    None
}

/// Whether a difference of the day has what its state asks for.
pub(super) fn has_reason(difference: &DifferenceRecord) -> bool {
    !difference.why.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::civil::Date;
    use payment_core::{ChannelKind, Currency, Money};

    use super::*;
    use crate::store::RecordOfRow;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn a_row(record: Option<RecordOfRow>) -> RowItem {
        RowItem {
            number: "N1".to_owned(),
            line: 3,
            amount: 500,
            failed: false,
            first: true,
            record,
        }
    }

    fn a_record(amount: i64, status: &str, settled: bool, on: &str) -> RecordOfRow {
        RecordOfRow {
            amount,
            same_currency: true,
            status: status.to_owned(),
            settled,
            day: settled.then(|| day(on)),
        }
    }

    fn a_difference(class: Class, ours: Option<i64>, bill: Option<i64>) -> DifferenceRecord {
        let money = |minor: Option<i64>| minor.map(|minor| Money::new(minor, Currency::CNY));
        DifferenceRecord {
            id: 7,
            channel: ChannelKind::Wechat,
            day: day("2026-11-22"),
            kind: Kind::Payment,
            class,
            number: "N1".to_owned(),
            line: 0,
            channel_order_no: "N1".to_owned(),
            payment_no: None,
            refund_no: None,
            transaction_id: None,
            our_state: None,
            ours: money(ours),
            bill: money(bill),
            fee_1e5: None,
            at: None,
            at_the_edge: false,
            state: DifferenceState::Open,
            why: "asked".to_owned(),
            assignee: None,
            resolution: None,
            found_at: Timestamp::UNIX_EPOCH,
            changed_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_row_is_explained_by_its_place_or_by_a_fitting_difference() {
        let paid = |on| Some(a_record(500, "PAID", true, on));
        let stranger = a_row(None);
        let found = [a_difference(Class::MissingWithUs, None, Some(500))];
        let item = row(Kind::Payment, &stranger, false, &found);
        assert_eq!((item.minor, item.explained), (500, true), "{item:?}");
        let other_day = row(Kind::Payment, &a_row(paid("2026-11-21")), false, &[]);
        assert!(other_day.explained, "{other_day:?}");
        assert!(other_day.reason.contains("2026-11-21"), "{other_day:?}");
        let open = Some(a_record(500, "PENDING", false, ""));
        let short = row(Kind::Payment, &a_row(open), false, &found);
        assert!(!short.explained, "another class: {short:?}");
        let other_amount = Some(a_record(499, "PAID", true, "2026-11-22"));
        let found = [a_difference(Class::Amount, Some(499), Some(500))];
        let item = row(Kind::Payment, &a_row(other_amount), true, &found);
        assert_eq!((item.minor, item.explained), (1, true), "{item:?}");
        let repeated = RowItem {
            first: false,
            ..a_row(paid("2026-11-22"))
        };
        let mut found = [a_difference(Class::Duplicate, None, Some(500))];
        let item = row(Kind::Payment, &repeated, true, &found);
        assert!(!item.explained, "another line: {item:?}");
        found[0].line = 3;
        let item = row(Kind::Payment, &repeated, true, &found);
        assert_eq!((item.minor, item.explained), (500, true), "{item:?}");
    }

    type Change = fn(&mut DifferenceRecord);

    #[test]
    fn a_difference_that_is_stale_unexplained_or_ended_explains_nothing() {
        let stranger = a_row(None);
        let good = a_difference(Class::MissingWithUs, None, Some(500));
        let cases: [(Change, bool); 6] = [
            (|_| {}, true),
            (|d| d.why = " ".to_owned(), false),
            (|d| d.bill = Some(Money::new(499, Currency::CNY)), false),
            (|d| d.ours = d.bill, false),
            (|d| resolve(d, "agreed-later"), false),
            (|d| resolve(d, "explained"), true),
        ];
        for (change, explained) in cases {
            let mut difference = good.clone();
            change(&mut difference);
            let item = row(Kind::Payment, &stranger, false, &[difference]);
            assert_eq!(item.explained, explained, "{item:?}");
        }
    }

    fn resolve(difference: &mut DifferenceRecord, how: &str) {
        difference.state = DifferenceState::Resolved;
        difference.resolution = Some(how.to_owned());
    }

    #[test]
    fn a_failed_refund_on_the_bill_needs_no_difference_if_ours_failed_too() {
        let failed = |status: &str| RowItem {
            failed: true,
            ..a_row(Some(a_record(500, status, false, "")))
        };
        assert!(row(Kind::Refund, &failed("FAILED"), false, &[]).explained);
        assert!(!row(Kind::Refund, &failed("PENDING"), false, &[]).explained);
    }

    #[test]
    fn a_shift_is_explained_only_if_the_whole_life_agrees() {
        let moved = Shift {
            payment_no: Some("pay_1".to_owned()),
            record: 0,
            ledger: 500,
        };
        let life = |expected, shown| Life {
            expected,
            shown,
            days: "2026-11-22".to_owned(),
        };
        assert!(shift(&moved, Some(&life(Some(500), 500))).explained);
        assert!(!shift(&moved, Some(&life(Some(0), 500))).explained);
        assert!(!shift(&moved, Some(&life(None, 500))).explained);
        assert!(!shift(&moved, None).explained);
    }
}
