//! Random operations on both databases: callbacks, keys of requests, and looking things up.

use std::time::Duration;

use channels::{OrderState, RefundState as AtChannel};
use jiff::Timestamp;
use payment_core::ChannelKind;
use payment_runtime::ports::Records as _;
use payment_runtime::records::{
    InboxEntry, Left, NewInboxEntry, SeenByChannel, SeenRefund, StoredAnswer,
};

use super::pair::{
    Compared, Pair, cny, compared, plain_counts, plain_events, plain_payment, plain_payments,
    plain_refund, plain_refunds,
};

pub(crate) async fn callbacks(pair: &mut Pair) -> Compared {
    let now = pair.now();
    match pair.chance.below(3) {
        0 => keep(pair, now).await,
        1 => {
            let limit = u32::try_from(pair.chance.between(1, 4)).unwrap();
            let again_at = pair.soon(now);
            let model = pair.model.claim_callbacks(now, again_at, limit);
            let real = pair
                .real
                .claim_callbacks(now, again_at, limit)
                .await
                .unwrap();
            let plain = |mut entries: Vec<InboxEntry>| {
                for entry in &mut entries {
                    entry.id = 0;
                }
                entries
            };
            // Those that were put off together come back in any order.
            let sorted = |entries| {
                let mut texts: Vec<String> = plain(entries)
                    .iter()
                    .map(|entry| format!("{entry:?}"))
                    .collect();
                texts.sort();
                texts
            };
            compared("claim_callbacks", &sorted(model), &sorted(real))
        }
        _ => {
            let Some((ours, theirs)) = pair.kept.first().copied() else {
                return compared("nothing kept", &(), &());
            };
            let at = usize::try_from(pair.chance.below(pair.kept.len() as u64)).unwrap();
            let (ours, theirs) = pair.kept.get(at).copied().unwrap_or((ours, theirs));
            let again_at = if pair.chance.percent(50) {
                Some(pair.soon(now))
            } else {
                None
            };
            pair.model.settle_callback(ours, "kept", again_at);
            pair.real
                .settle_callback(theirs, "kept", again_at)
                .await
                .unwrap();
            compared("settle_callback", &(), &())
        }
    }
}

async fn keep(pair: &mut Pair, now: Timestamp) -> Compared {
    let refund = pair.chance.percent(50).then(|| SeenRefund {
        channel_refund_no: Some("r".to_owned()),
        channel_refund_id: None,
        state: AtChannel::Succeeded,
        amount: Some(cny(5)),
        refunded_at: Some(now),
    });
    let new = NewInboxEntry {
        channel: *pair.chance.pick(&ChannelKind::ALL),
        channel_order_no: pair.number(),
        transaction_id: format!("T-{}", pair.chance.below(6)),
        event: format!("E-{}", pair.chance.below(2)),
        seen: SeenByChannel {
            state: *pair.chance.pick(&[OrderState::Paid, OrderState::Refunded]),
            amount: cny(99),
            paid_at: Some(now),
            refund,
        },
        headers: "{}".to_owned(),
        body: b"body".to_vec(),
        now,
    };
    let retry_at = pair.soon(now);
    let model = pair.model.keep_callback(&new, retry_at);
    let real = pair.real.keep_callback(&new, retry_at).await.unwrap();
    if let (Some(ours), Some(theirs)) = (model, real) {
        pair.kept.push((ours, theirs));
    }
    compared(&new, &model.is_some(), &real.is_some())
}

pub(crate) async fn requests(pair: &mut Pair) -> Compared {
    let now = pair.now();
    match pair.chance.below(8) {
        0..4 => {
            let new = pair.new_request(now);
            let model = pair.model.begin_request(&new);
            let real = pair.real.begin_request(&new).await.unwrap();
            compared(&new, &model, &real)
        }
        4..6 => {
            let key = pair.key();
            let answer = StoredAnswer {
                status: 202,
                content_type: "application/json".to_owned(),
                location: None,
                body: pair.number(),
            };
            let model = pair.model.finish_request(&key, &answer);
            let real = pair.real.finish_request(&key, &answer).await.unwrap();
            compared(("finish", &key), &model, &real)
        }
        6 => {
            let key = pair.key();
            let left = match pair.chance.below(2) {
                0 => Left::Nothing,
                _ => Left::Something,
            };
            pair.model.give_up_request(&key, left, now);
            pair.real.give_up_request(&key, left, now).await.unwrap();
            compared(("give up", &key), &(), &())
        }
        _ => {
            let before = now - Duration::from_mins(20);
            let model = pair.model.purge_requests(before, 1000);
            let real = pair.real.purge_requests(before, 1000).await.unwrap();
            compared("purge", &model, &real)
        }
    }
}

pub(crate) async fn look(pair: &mut Pair) -> Compared {
    let number = pair.known_payment();
    match pair.chance.below(8) {
        0 => {
            let order = pair.order_id();
            let model = pair.model.payment_of_order(&order).map(plain_payment);
            let real = pair
                .real
                .payment_of_order(&order)
                .await
                .unwrap()
                .map(plain_payment);
            compared(&order, &model, &real)
        }
        1 => {
            let order = pair.order_id();
            let model = plain_payments(pair.model.payments_of_order(&order));
            let real = plain_payments(pair.real.payments_of_order(&order).await.unwrap());
            compared(&order, &model, &real)
        }
        2 => {
            let channel = *pair.chance.pick(&ChannelKind::ALL);
            let at = number.trim_start_matches("pay_");
            let model = pair
                .model
                .payment_of_channel_order(channel, at)
                .map(plain_payment);
            let real = pair
                .real
                .payment_of_channel_order(channel, at)
                .await
                .unwrap();
            compared(at, &model, &real.map(plain_payment))
        }
        3 => pages(pair).await,
        4 => {
            let model = plain_counts(&pair.model.open_counts());
            let real = plain_counts(&pair.real.open_counts().await.unwrap());
            compared("open_counts", &model, &real)
        }
        5 => {
            let model = plain_events(pair.model.events(&number, 0, 5));
            let real = plain_events(pair.real.events(&number, 0, 5).await.unwrap());
            compared(&number, &model, &real)
        }
        6 => {
            let channel = *pair.chance.pick(&ChannelKind::ALL);
            let known = pair.known_refund();
            let at = pair
                .model
                .refund(&known.0, &known.1)
                .map(|refund| refund.channel_refund_no);
            let at = at.unwrap_or_default();
            let model = pair
                .model
                .refund_of_channel_number(channel, &at)
                .map(plain_refund);
            let real = pair
                .real
                .refund_of_channel_number(channel, &at)
                .await
                .unwrap();
            compared(&at, &model, &real.map(plain_refund))
        }
        _ => {
            let model = plain_refunds(pair.model.refunds(&number));
            let real = plain_refunds(pair.real.refunds(&number).await.unwrap());
            compared(&number, &model, &real)
        }
    }
}

/// Two pages, the second from where the first ended.
async fn pages(pair: &mut Pair) -> Compared {
    let ours = pair.model.payments(None, 3);
    let theirs = pair.real.payments(None, 3).await.unwrap();
    assert_eq!(ours.next.is_some(), theirs.next.is_some());
    let (mut model, mut real) = (ours.payments, theirs.payments);
    if let (Some(ours), Some(theirs)) = (ours.next, theirs.next) {
        model.extend(pair.model.payments(Some(ours), 3).payments);
        real.extend(pair.real.payments(Some(theirs), 3).await.unwrap().payments);
    }
    compared("pages", &plain_payments(model), &plain_payments(real))
}
