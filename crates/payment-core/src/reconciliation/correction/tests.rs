use std::fmt::Write as _;

use super::*;
use crate::Currency;

const SETTINGS: Settings = Settings {
    enabled: true,
    wait_days: 3,
};
const PLENTY: Budget = Budget {
    count: 10,
    minor: 1_000,
};

fn money(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

fn case(class: DifferenceClass) -> Case {
    Case {
        class,
        kind: Kind::Payment,
        ours: Some(money(100)),
        bill: Some(money(100)),
        age_days: 1,
    }
}

fn all_said() -> [Said; 8] {
    [
        Said::Nothing,
        Said::Absent,
        Said::NotCharged,
        Said::Charged(money(100)),
        Said::Charged(money(99)),
        Said::GivenBack(Some(money(100))),
        Said::Processing,
        Said::NotGivenBack,
    ]
}

/// The whole table, so that a change of it is seen.
#[test]
fn every_class_and_answer_has_one_decision() {
    let mut table = String::new();
    for class in DifferenceClass::ALL {
        for said in all_said() {
            let decision = decide_correction(case(class), said, SETTINGS, PLENTY);
            let said = format!("{said:?}");
            let _ = writeln!(table, "{class:<26} {said:<32} {decision:?}");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn without_an_answer_nothing_that_needs_one_is_corrected() {
    for class in DifferenceClass::ALL {
        let decision = decide_correction(case(class), Said::Nothing, SETTINGS, PLENTY);
        let by_itself = matches!(class, DifferenceClass::Ledger);
        assert_eq!(decision.moves_money(), by_itself, "{class}");
    }
}

#[test]
fn money_moves_only_when_allowed_and_within_the_budget() {
    let off = Settings {
        enabled: false,
        ..SETTINGS
    };
    let few = Budget { count: 0, ..PLENTY };
    let little = Budget {
        minor: 99,
        ..PLENTY
    };
    for class in DifferenceClass::ALL {
        for said in all_said() {
            let case = case(class);
            if !decide_correction(case, said, SETTINGS, PLENTY).moves_money() {
                continue;
            }
            let why = |settings, left| decide_correction(case, said, settings, left);
            let person = Correction::Person;
            assert_eq!(why(off, PLENTY), person(Unprovable::SwitchedOff));
            assert_eq!(why(SETTINGS, few), person(Unprovable::Capped));
            assert_eq!(why(SETTINGS, little), person(Unprovable::Capped));
        }
    }
}

#[test]
fn what_never_turns_up_goes_to_a_person() {
    let mut late = case(DifferenceClass::MissingAtChannel);
    late.age_days = 4;
    let said = Said::Charged(money(100));
    assert_eq!(
        decide_correction(late, said, SETTINGS, PLENTY),
        Correction::Person(Unprovable::NeverTurnedUp)
    );
}

#[test]
fn only_a_row_at_the_edge_of_its_day_is_kept_apart() {
    assert!(TURNS_UP.heals_by_itself(true));
    assert!(!TURNS_UP.heals_by_itself(false));
    assert!(!Correction::Freeze.heals_by_itself(true));
}
