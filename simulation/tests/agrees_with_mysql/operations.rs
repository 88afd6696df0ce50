//! Random operations on both databases: payments, attempts, refunds and the work on them.

use channels::Action;
use payment_core::{Evidence, Observation, RefundEvidence, RefundObservation, Source};
use payment_runtime::ports::Records as _;
use payment_runtime::records::{
    Applied, AppliedRefund, AttemptInserted, Change, Facts, Finish, Inserted, NewRefund, NextLook,
    PaymentRecord, RefundChange, RefundFacts, RefundOrigin, ReservedRefund, StoredAnswer,
};

use super::looking::{callbacks, look, requests};
use super::pair::{
    Compared, Pair, cny, compared, fate, plain_payment, plain_payments, plain_refund, plain_refunds,
};
use super::reconciling::reconcile;

/// One random operation on both.
pub(crate) async fn operate(pair: &mut Pair) -> Compared {
    match pair.chance.below(40) {
        0..4 => insert(pair).await,
        4..6 => insert_attempt(pair).await,
        6..12 => apply(pair).await,
        12 => reopen(pair).await,
        13..16 => work(pair).await,
        16..19 => reserve(pair).await,
        19..22 => apply_refund(pair).await,
        22..25 => callbacks(pair).await,
        25..28 => requests(pair).await,
        28..38 => reconcile(pair).await,
        _ => look(pair).await,
    }
}

async fn insert(pair: &mut Pair) -> Compared {
    let order_id = pair.order_id();
    let new = pair.new_payment(order_id);
    let request = if pair.chance.percent(50) {
        Some(pair.new_request(new.now))
    } else {
        None
    };
    let model = pair.model.insert(&new, request.as_ref());
    let records = pair.either_way();
    let real = records.insert(&new, request.as_ref()).await.unwrap();
    if let Inserted::New(payment) = &model {
        let number = payment.payment_no.clone();
        pair.latest = Some((number.clone(), request.as_ref().map(|r| r.key.clone())));
        pair.payment_nos.push(number);
    }
    let plain = |inserted| match inserted {
        Inserted::New(payment) => Inserted::New(plain_payment(payment)),
        Inserted::OrderExists(payment) => Inserted::OrderExists(plain_payment(payment)),
        Inserted::KeyExists => Inserted::KeyExists,
    };
    compared((&new, &request), &plain(model), &plain(real))
}

async fn insert_attempt(pair: &mut Pair) -> Compared {
    let previous = pair.known_payment();
    let order_id = pair
        .model
        .payment(&previous)
        .map(|payment| payment.order_id);
    let new = pair.new_payment(order_id.unwrap_or_default());
    let model = fate(pair.model.insert_attempt(&previous, &new));
    let real = fate(pair.real.insert_attempt(&previous, &new).await);
    if let Some(AttemptInserted::New(payment)) = &model {
        pair.payment_nos.push(payment.payment_no.clone());
    }
    let plain = |inserted: Option<AttemptInserted>| {
        inserted.map(|inserted| match inserted {
            AttemptInserted::New(payment) => AttemptInserted::New(plain_payment(payment)),
            AttemptInserted::Superseded(payment) => {
                AttemptInserted::Superseded(plain_payment(payment))
            }
            AttemptInserted::NotProven(payment) => {
                AttemptInserted::NotProven(plain_payment(payment))
            }
        })
    };
    compared(("attempt", &previous), &plain(model), &plain(real))
}

async fn apply(pair: &mut Pair) -> Compared {
    let latest = pair.latest.take();
    let at_once = latest.is_some();
    let (number, key) = latest.unwrap_or_else(|| (pair.known_payment(), None));
    let now = pair.now();
    let amount = pair
        .model
        .payment(&number)
        .map_or(cny(1), |payment| payment.amount);
    let observations = [
        Observation::NotSent,
        Observation::Refused,
        Observation::Accepted,
        Observation::Unclear,
        Observation::NotFound,
        Observation::Paid(amount),
        Observation::Paid(amount),
        Observation::Paid(cny(1)),
        Observation::Closed,
    ];
    let change = Change {
        evidence: Evidence {
            source: if at_once && pair.chance.percent(70) {
                Source::SyncAnswer
            } else {
                *pair.chance.pick(&Source::ALL)
            },
            observation: *pair.chance.pick(&observations),
        },
        facts: Facts {
            transaction_id: pair.chance.percent(40).then(|| "4200".to_owned()),
            paid_at: pair.chance.percent(40).then_some(now),
            action: pair.chance.percent(40).then(|| Action::QrCode {
                url: "weixin://q".to_owned(),
            }),
            detail: "é".repeat(usize::try_from(pair.chance.below(600)).unwrap()),
        },
        next_question_at: pair.soon(now),
        now,
    };
    let key = key.unwrap_or_else(|| pair.key());
    let answer = |payment: &PaymentRecord| StoredAnswer {
        status: 201,
        content_type: "application/json".to_owned(),
        location: Some(format!("/{}", payment.payment_no)),
        body: payment.status.to_string(),
    };
    let finish = pair.chance.percent(30).then_some(Finish {
        key: &key,
        answer: &answer,
    });
    let model = fate(pair.model.apply(&number, &change, finish.as_ref()));
    let records = pair.either_way();
    let real = fate(records.apply(&number, &change, finish.as_ref()).await);
    let plain = |applied: Option<Applied>| {
        applied.map(|applied| Applied {
            payment: plain_payment(applied.payment),
            ..applied
        })
    };
    compared(
        (&number, &change, finish.is_some()),
        &plain(model),
        &plain(real),
    )
}

async fn reopen(pair: &mut Pair) -> Compared {
    let (number, now) = (pair.known_payment(), pair.now());
    let model = fate(pair.model.reopen(&number, now)).map(|payment| payment.map(plain_payment));
    let real = fate(pair.real.reopen(&number, now).await).map(|payment| payment.map(plain_payment));
    compared(("reopen", &number), &model, &real)
}

/// A worker's claims and releases.
async fn work(pair: &mut Pair) -> Compared {
    let now = pair.now();
    let limit = u32::try_from(pair.chance.between(1, 4)).unwrap();
    match pair.chance.below(4) {
        0 => {
            let model = plain_payments(pair.model.claim_due(now, 60, limit));
            let real = plain_payments(pair.real.claim_due(now, 60, limit).await.unwrap());
            compared("claim_due", &model, &real)
        }
        1 => {
            let number = pair.known_payment();
            let next = match pair.chance.below(3) {
                0 => NextLook::At(pair.soon(now)),
                1 => NextLook::AsRecorded,
                _ => NextLook::Never,
            };
            pair.model.release(&number, next);
            pair.real.release(&number, next).await.unwrap();
            let model = pair.model.payment(&number).map(plain_payment);
            let real = pair.real.payment(&number).await.unwrap().map(plain_payment);
            compared("release", &model, &real)
        }
        2 => {
            let model = plain_refunds(pair.model.claim_due_refunds(now, 60, limit));
            let real = plain_refunds(pair.real.claim_due_refunds(now, 60, limit).await.unwrap());
            compared("claim_due_refunds", &model, &real)
        }
        _ => {
            let ((payment, refund), next) = (pair.known_refund(), pair.soon(now));
            pair.model.release_refund(&payment, &refund, next);
            pair.real
                .release_refund(&payment, &refund, next)
                .await
                .unwrap();
            let model = pair.model.refund(&payment, &refund).map(plain_refund);
            let real = pair
                .real
                .refund(&payment, &refund)
                .await
                .unwrap()
                .map(plain_refund);
            compared("release_refund", &model, &real)
        }
    }
}

async fn reserve(pair: &mut Pair) -> Compared {
    let (payment_no, now) = (pair.known_payment(), pair.now());
    let minor = pair.chance.between(1, 3_000);
    let new = NewRefund {
        refund_no: format!("R-{}", pair.chance.below(5)),
        channel_refund_no: pair.number(),
        amount: cny(minor),
        reason: pair.chance.percent(50).then(|| "returned".to_owned()),
        request_hash: format!("{:064x}", pair.chance.below(2)),
        origin: *pair
            .chance
            .pick(&[RefundOrigin::Api, RefundOrigin::PaidAfterClose]),
        next_question_at: pair.soon(now),
        payment_no,
        now,
    };
    let model = fate(pair.model.reserve_refund(&new));
    let real = fate(pair.real.reserve_refund(&new).await);
    if let Some(ReservedRefund::New(refund)) = &model {
        let name = (refund.payment_no.clone(), refund.refund_no.clone());
        pair.refund_nos.push(name);
    }
    let plain = |reserved: Option<ReservedRefund>| {
        reserved.map(|reserved| match reserved {
            ReservedRefund::New(refund) => ReservedRefund::New(plain_refund(refund)),
            ReservedRefund::Existing(refund) => ReservedRefund::Existing(plain_refund(refund)),
            ReservedRefund::Refused(why) => ReservedRefund::Refused(why),
        })
    };
    compared(&new, &plain(model), &plain(real))
}

async fn apply_refund(pair: &mut Pair) -> Compared {
    let ((payment_no, refund_no), now) = (pair.known_refund(), pair.now());
    let known = pair.model.refund(&payment_no, &refund_no);
    let amount = known.map_or(cny(1), |refund| refund.amount);
    let observations = [
        RefundObservation::Due,
        RefundObservation::NotSent,
        RefundObservation::Refused,
        RefundObservation::Accepted,
        RefundObservation::Unclear,
        RefundObservation::NotFound,
        RefundObservation::Succeeded(amount),
        RefundObservation::Succeeded(amount),
        RefundObservation::Failed,
        RefundObservation::Abnormal,
    ];
    let change = RefundChange {
        evidence: RefundEvidence {
            source: *pair.chance.pick(&Source::ALL),
            observation: *pair.chance.pick(&observations),
        },
        facts: RefundFacts {
            channel_refund_id: pair.chance.percent(40).then(|| "5030".to_owned()),
            refunded_at: pair.chance.percent(40).then_some(now),
            detail: String::new(),
        },
        next_question_at: pair.soon(now),
        now,
    };
    let model = fate(pair.model.apply_refund(&payment_no, &refund_no, &change));
    let real = fate(
        pair.real
            .apply_refund(&payment_no, &refund_no, &change)
            .await,
    );
    let plain = |applied: Option<AppliedRefund>| {
        applied.map(|applied| AppliedRefund {
            refund: plain_refund(applied.refund),
            payment: plain_payment(applied.payment),
            ..applied
        })
    };
    compared(
        (&payment_no, &refund_no, &change),
        &plain(model),
        &plain(real),
    )
}
