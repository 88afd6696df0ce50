use proptest::prelude::*;

use super::super::Totals;
use super::*;
use crate::Currency;

const PAYMENTS: Compares = Compares {
    kind: Kind::Payment,
    fee_rate: Some(FeeRate {
        ppm: 6_000,
        tolerance_1e5: 1_000,
    }),
};
const REFUNDS: Compares = Compares {
    kind: Kind::Refund,
    fee_rate: None,
};

fn own(number: &str, minor: i64, settled: Settled) -> OwnEntry {
    OwnEntry {
        number: number.to_owned(),
        amount: Money::new(minor, Currency::CNY),
        settled,
        expected: true,
        on_another_bill: false,
        ledger_agrees: true,
        charged_twice: false,
    }
}

fn row(number: &str, minor: i64) -> BillEntry {
    BillEntry {
        number: number.to_owned(),
        amount: Money::new(minor, Currency::CNY),
        settled: Money::new(minor, Currency::CNY),
        fee_1e5: minor * 6,
        foreign: false,
        status: AtChannel::Done,
    }
}

fn told(compared: &Compared) -> String {
    match compared {
        Compared::Matched { bill, .. } => format!("{} matched", bill.number),
        Compared::Different(d) => format!("{} {}", d.number, d.class),
    }
}

fn outcomes(compares: Compares, ours: Vec<OwnEntry>, bill: Vec<BillEntry>) -> Vec<String> {
    compares.merge(ours, bill, None).iter().map(told).collect()
}

#[test]
fn every_class_of_payments_is_found_beside_what_matches() {
    use Settled::{Never, NotYet, Yes};
    let mut ours: Vec<OwnEntry> = ["a", "d", "e", "g", "h", "i", "j", "k", "l", "m"]
        .into_iter()
        .map(|number| own(number, 100, Yes))
        .collect();
    ours.push(own("b", 100, NotYet));
    ours.push(own("c", 100, Never));
    ours.push(own("f", 100, Never));
    ours.sort_by(|a, b| a.number.cmp(&b.number));
    let of = |ours: &mut Vec<OwnEntry>, number: &str| {
        ours.iter().position(|own| own.number == number).unwrap()
    };
    let at = of(&mut ours, "i");
    ours[at].charged_twice = true;
    let at = of(&mut ours, "j");
    ours[at].ledger_agrees = false;
    let at = of(&mut ours, "l");
    ours[at].expected = false;
    let at = of(&mut ours, "m");
    ours[at].on_another_bill = true;
    let mut bill: Vec<BillEntry> = ["a", "b", "c", "e", "g", "g", "h", "i", "j", "k", "x", "y"]
        .into_iter()
        .map(|number| row(number, 100))
        .collect();
    bill[3].amount.minor = 101;
    bill[6].amount.currency = Currency::parse("USD").unwrap();
    bill[9].fee_1e5 = 2_000;
    bill[11].foreign = true;
    assert_eq!(
        outcomes(PAYMENTS, ours, bill),
        [
            "a matched",
            "b short-by-status",
            "c short-by-status",
            "d missing-at-channel",
            "e amount",
            "g matched",
            "g duplicate",
            "h currency",
            "i duplicate-charge",
            "j ledger",
            "k fee",
            "x missing-with-us",
            "y merchant",
        ]
    );
}

#[test]
fn a_refunds_row_may_be_behind_and_is_still_the_same_refund() {
    use Settled::{Never, NotYet, Yes};
    let cases = [
        (Yes, AtChannel::Done, "r matched"),
        (Yes, AtChannel::Processing, "r matched"),
        (Yes, AtChannel::Failed, "r refund-status"),
        (NotYet, AtChannel::Done, "r refund-short-by-status"),
        (NotYet, AtChannel::Processing, "r refund-short-by-status"),
        (NotYet, AtChannel::Failed, "r refund-short-by-status"),
        (Never, AtChannel::Done, "r refund-short-by-status"),
        (Never, AtChannel::Failed, "r matched"),
    ];
    for (settled, status, expected) in cases {
        let mut row = row("r", 5);
        row.status = status;
        let found = outcomes(REFUNDS, vec![own("r", 5, settled)], vec![row]);
        assert_eq!(found, [expected], "{settled:?} {status:?}");
    }
    assert_eq!(
        outcomes(REFUNDS, vec![own("r", 5, Yes)], vec![]),
        ["r refund-missing-at-channel"]
    );
    assert_eq!(
        outcomes(REFUNDS, vec![], vec![row("r", 5)]),
        ["r refund-missing-with-us"]
    );
}

/// 0.6 % of 1 fen is 6 of the hundred-thousandths of a yuan.
#[test]
fn a_fee_is_reckoned_exactly() {
    let rate = FeeRate {
        ppm: 6_000,
        tolerance_1e5: 0,
    };
    assert!(rate.fits(&row("a", 1)));
    let mut off = row("a", 1);
    off.fee_1e5 += 1;
    assert!(!rate.fits(&off));
}

fn entries(numbers: &[u8]) -> (Vec<OwnEntry>, Vec<BillEntry>) {
    let name = |n: &u8| format!("{n:02}");
    let ours = numbers.iter().map(|n| own(&name(n), 1, Settled::Yes));
    let bill = numbers.iter().map(|n| row(&name(n), 1));
    (ours.collect(), bill.collect())
}

proptest! {
    #[test]
    fn every_row_is_counted_exactly_once_and_the_proof_holds(
        mut ours in prop::collection::vec(0_u8..50, 0..40),
        mut bill in prop::collection::vec(0_u8..50, 0..40),
    ) {
        ours.sort_unstable();
        ours.dedup();
        bill.sort_unstable();
        let rows = bill.len();
        let (ours, _) = entries(&ours);
        let (_, bill) = entries(&bill);
        let mut totals = Totals::default();
        for compared in PAYMENTS.merge(ours, bill, None) {
            totals.add(Kind::Payment, &compared);
        }
        let sums = std::iter::once(((Kind::Payment, "CNY".to_owned()), (rows as u64, rows as i128)));
        for proof in totals.proofs(&sums.collect()) {
            prop_assert!(proof.holds(), "{proof:?}");
        }
    }

    #[test]
    fn pieces_give_the_same_as_the_whole(
        mut ours in prop::collection::vec(0_u8..50, 0..40),
        mut bill in prop::collection::vec(0_u8..50, 0..40),
        cut in 0_usize..40,
    ) {
        ours.sort_unstable();
        ours.dedup();
        bill.sort_unstable();
        let (ours, _) = entries(&ours);
        let (_, bill) = entries(&bill);
        let whole: Vec<String> = PAYMENTS.merge(ours.clone(), bill.clone(), None).iter().map(told).collect();
        let cut = cut.min(bill.len());
        let (first, rest) = bill.split_at(cut);
        let until = first.last().map(|row| row.number.clone());
        let (before, after): (Vec<_>, Vec<_>) = ours
            .into_iter()
            .partition(|own| until.as_ref().is_some_and(|until| own.number <= *until));
        let mut pieces: Vec<String> = PAYMENTS.merge(before, first.to_vec(), None).iter().map(told).collect();
        pieces.extend(PAYMENTS.merge(after, rest.to_vec(), until).iter().map(told));
        prop_assert_eq!(pieces, whole);
    }
}
