use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// Both clocks say the same.
fn moment(second: i64) -> Moment {
    Moment {
        wall: at(second),
        calendar: at(second),
    }
}

fn new_charge(number: &str, fingerprint: u8) -> NewCharge {
    NewCharge {
        out_trade_no: number.to_owned(),
        fingerprint: [fingerprint; 32],
        trade_type: "NATIVE",
        description: "thing".to_owned(),
        attach: String::new(),
        amount_minor: 100,
        notify_url: String::new(),
        code: "code".to_owned(),
        code_seconds: None,
        expires: Some(at(60)),
    }
}

fn payment(second: i64) -> Payment {
    Payment {
        transaction_id: "T1".to_owned(),
        payer: "p".to_owned(),
        time: at(second),
    }
}

fn new_refund(number: &str, amount_minor: i64) -> NewRefund {
    NewRefund {
        out_refund_no: number.to_owned(),
        channel_no: format!("R{number}"),
        amount_minor,
        reason: String::new(),
        notify_url: String::new(),
        state: RefundState::Processing,
    }
}

/// A book whose charge `A` is in the named state.
fn book(state: &str) -> Book {
    let mut book = Book::new(Rules::WECHAT);
    if state != "absent" {
        book.create(new_charge("A", 1), moment(0)).unwrap();
    }
    match state {
        "paid" => drop(book.pay("A", payment(1), at(1)).unwrap().clone()),
        "closed" => drop(book.close("A").unwrap().clone()),
        _ => {}
    }
    book
}

#[test]
fn every_state_answers_create_pay_and_close() {
    type Row = (
        &'static str,
        Result<Novelty, CreateError>,
        Option<PayError>,
        Option<CloseError>,
    );
    let table: [Row; 4] = [
        (
            "absent",
            Ok(Novelty::New),
            Some(PayError::Unknown),
            Some(CloseError::Unknown),
        ),
        ("unpaid", Ok(Novelty::Repeat), None, None),
        (
            "paid",
            Err(CreateError::Paid),
            Some(PayError::AlreadyPaid),
            Some(CloseError::Paid),
        ),
        (
            "closed",
            Err(CreateError::Closed),
            Some(PayError::Closed),
            None,
        ),
    ];
    for (state, create, pay, close) in table {
        let created = book(state)
            .create(new_charge("A", 1), moment(2))
            .map(|(_, novelty)| novelty);
        assert_eq!(created, create, "create, {state}");
        assert_eq!(
            book(state).pay("A", payment(2), at(2)).err(),
            pay,
            "pay, {state}"
        );
        assert_eq!(book(state).close("A").err(), close, "close, {state}");
    }
}

#[test]
fn changed_parameters_are_refused_while_unpaid() {
    let error = book("unpaid").create(new_charge("A", 2), moment(1)).err();
    assert_eq!(error, Some(CreateError::Changed));
}

#[test]
fn an_expired_charge_can_be_closed_but_neither_paid_nor_created() {
    let mut book = book("unpaid");
    assert_eq!(
        book.pay("A", payment(60), at(60)).err(),
        Some(PayError::Expired)
    );
    assert_eq!(
        book.create(new_charge("A", 1), moment(60)).err(),
        Some(CreateError::Expired)
    );
    assert_eq!(book.charge("A").unwrap().state, State::Unpaid);
    assert!(book.close("A").is_ok());
}

#[test]
fn an_opened_charge_keeps_its_number() {
    let mut book = book("unpaid");
    book.open("A", "T0".to_owned(), moment(1)).unwrap();
    book.pay("A", payment(2), at(2)).unwrap();
    assert_eq!(
        book.charge("A").unwrap().payment().unwrap().transaction_id,
        "T0"
    );
    assert!(book.charge_by_transaction("T0").is_some());
}

#[test]
fn refunds_never_pass_the_amount_and_repeat_by_number() {
    let mut book = book("paid");
    assert_eq!(
        book.refund("A", new_refund("1", 60), moment(3)).unwrap().2,
        Novelty::New
    );
    assert_eq!(
        book.refund("A", new_refund("1", 60), moment(4)).unwrap().2,
        Novelty::Repeat
    );
    assert_eq!(
        book.refund("A", new_refund("1", 61), moment(4)).err(),
        Some(RefundError::Changed)
    );
    assert_eq!(
        book.refund("A", new_refund("2", 41), moment(4)).err(),
        Some(RefundError::TooMuch)
    );
    book.settle("A", "1", RefundState::Closed, at(5));
    assert!(book.refund("A", new_refund("2", 100), moment(6)).is_ok());
    book.settle("A", "1", RefundState::Success, at(7));
    assert_eq!(book.refund_of("A", "1").unwrap().state, RefundState::Closed);
}

#[test]
fn a_day_holds_what_was_paid_and_refunded() {
    let mut book = book("paid");
    book.create(new_charge("B", 1), moment(1)).unwrap();
    book.refund("A", new_refund("1", 60), moment(3)).unwrap();
    assert_eq!(book.day(beijing_day(at(1))).len(), 2);
    assert!(book.day(beijing_day(at(86_400))).is_empty());
}

#[test]
fn what_is_too_old_is_refused_by_the_calendar_alone() {
    let later = |days: i64| Moment {
        wall: at(2),
        calendar: at(2 + days * DAY_SECONDS),
    };
    let mut old = book("unpaid");
    assert_eq!(
        old.create(new_charge("A", 1), later(7)).err(),
        Some(CreateError::Closed)
    );
    assert_eq!(
        old.pay("A", payment(2), later(7).calendar).err(),
        Some(PayError::Closed)
    );

    let with_code = NewCharge {
        code_seconds: Some(7200),
        ..new_charge("A", 1)
    };
    let mut book_of_codes = book("absent");
    book_of_codes.create(with_code.clone(), moment(0)).unwrap();
    let error = book_of_codes.pay("A", payment(2), at(7200)).err();
    assert_eq!(error, Some(PayError::CodeExpired));
    let fresh = NewCharge {
        code: "fresh".to_owned(),
        ..with_code
    };
    let (charge, _) = book_of_codes.create(fresh, later(1)).unwrap();
    assert_eq!(charge.code, "fresh");
    assert!(
        book_of_codes
            .pay("A", payment(2), later(1).calendar)
            .is_ok()
    );

    let mut paid = book("paid");
    assert!(paid.refund("A", new_refund("1", 1), later(364)).is_ok());
    let error = paid.refund("A", new_refund("2", 1), later(365)).err();
    assert_eq!(error, Some(RefundError::TooLate));
}

#[test]
fn a_charge_has_at_most_fifty_refunds_and_failed_ones_do_not_count() {
    let mut book = book("paid");
    for number in 0..50 {
        book.refund("A", new_refund(&format!("n{number}"), 1), moment(3))
            .unwrap();
    }
    let error = book.refund("A", new_refund("more", 1), moment(3)).err();
    assert_eq!(error, Some(RefundError::TooMany));
    book.settle("A", "n7", RefundState::Closed, at(4));
    assert!(book.refund("A", new_refund("more", 1), moment(5)).is_ok());
}

#[test]
fn an_abnormal_refund_is_tried_again_by_its_own_numbers() {
    let mut book = book("paid");
    book.refund("A", new_refund("1", 60), moment(3)).unwrap();
    let retry = |book: &mut Book, id: &str| book.retry_abnormal(id, "1").err();
    assert_eq!(retry(&mut book, "R1"), Some(RetryError::NotAbnormal));
    book.settle("A", "1", RefundState::Abnormal, at(4));
    assert_eq!(retry(&mut book, "R2"), Some(RetryError::Unknown));
    assert_eq!(retry(&mut book, "R1"), None);
    book.settle("A", "1", RefundState::Success, at(5));
    assert_eq!(
        book.refund_of("A", "1").unwrap().state,
        RefundState::Success
    );
}

#[test]
fn a_postponed_line_stands_in_the_next_day_s_bill() {
    let mut book = book("paid");
    book.refund("A", new_refund("1", 60), moment(3)).unwrap();
    let (day, next) = (beijing_day(at(1)), beijing_day(at(86_401)));
    book.postpone_first(day, LineKind::Refund);
    assert!(matches!(book.day(day).as_slice(), [DayEntry::Paid(..)]));
    assert!(matches!(
        book.day(next).as_slice(),
        [DayEntry::Refunded(..)]
    ));
}
