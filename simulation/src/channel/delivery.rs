//! How callbacks get there: at once, late, repeated or never; and the false ones among them.
//!
//! Guarantees: a genuine callback is repeated on the channel's own ladder until it is
//! acknowledged; an acknowledgement is checked against the inbox at once.

use std::sync::Arc;
use std::time::Duration;

use channels::NewRefund;
use payment_core::ChannelKind;

use super::notices::{Envelope, Message, RefundMessage, Signature, payment_message, sign};
use crate::door::{self, Replica};
use crate::points::Site;
use crate::world::World;

/// Sends a genuine callback, as often, late or never as the seed wants it.
pub(super) fn tell(world: &Arc<World>, kind: ChannelKind, number: &str, message: &Message) {
    let profile = &world.profile;
    if world.strikes(profile.callbacks_lost_percent) {
        world.say(super::name(kind), || {
            format!("callback of order {number}: never sent")
        });
        return;
    }
    let copies = if world.strikes(profile.callbacks_repeated_percent) {
        world.chance().between(2, 4)
    } else {
        1
    };
    for _ in 0..copies {
        let late = world.strikes(profile.callbacks_late_percent);
        let first = world
            .chance()
            .millis(0, if late { 1_200_000 } else { 1_500 });
        let sending = Sending {
            kind,
            path: notify_path(world, kind, number),
            message: message.clone(),
            signature: Signature::Genuine,
        };
        start(world, sending, first, ladder(kind));
    }
}

/// Something false about a new order: forged, with another amount, about nobody's order, a probe.
pub fn may_tell_lies(world: &Arc<World>, kind: ChannelKind, number: &str) {
    if !world.strikes(world.profile.callbacks_false_percent) {
        return;
    }
    let Some(total) = world
        .book(kind)
        .order(number)
        .map(|order| order.asked.amount.minor)
    else {
        return;
    };
    let transaction = format!("99{:014}", world.chance().below(1_000_000_000));
    let mut message = Message {
        event: "TRANSACTION.SUCCESS".to_owned(),
        order: number.to_owned(),
        transaction,
        refunded: false,
        total,
        paid_at_ms: world.now().as_millisecond(),
        refund: None,
    };
    let lie = world.chance().below(4);
    let signature = match lie {
        0 => Signature::Forged,
        1 => {
            message.total = total.saturating_mul(2) - 1;
            Signature::Genuine
        }
        2 => {
            message.order = format!("f{}", &number[1..]);
            Signature::Genuine
        }
        _ => Signature::Probe,
    };
    let path = notify_path(world, kind, number);
    let sending = Sending {
        kind,
        path,
        message,
        signature,
    };
    let first = world.chance().millis(0, 120_000);
    let ladder = if signature == Signature::Genuine {
        ladder(kind)
    } else {
        &[]
    };
    start(world, sending, first, ladder);
}

/// A false amount in a callback about a refund that has not ended yet.
pub fn may_lie_about_refund(
    world: &Arc<World>,
    kind: ChannelKind,
    number: &str,
    refund: &NewRefund,
) {
    if kind != ChannelKind::Wechat || !world.strikes(world.profile.callbacks_false_percent) {
        return;
    }
    let Some(mut message) = payment_message(world, kind, number) else {
        return;
    };
    let refund_number = refund.channel_refund_no.clone();
    message.event = format!("REFUND.SUCCESS:{refund_number}");
    message.refunded = true;
    message.refund = Some(RefundMessage {
        number: refund_number,
        id: None,
        amount: Some(refund.amount.minor + 1),
        state: 'S',
        at_ms: Some(world.now().as_millisecond()),
    });
    let sending = Sending {
        kind,
        path: notify_path(world, kind, number),
        message,
        signature: Signature::Genuine,
    };
    let first = world.chance().millis(0, 20_000);
    start(world, sending, first, ladder(kind));
}

/// Where the runtime asked to be told, as a path of its callback role.
fn notify_path(world: &World, kind: ChannelKind, number: &str) -> String {
    let book = world.book(kind);
    let url = book
        .order(number)
        .map(|order| order.asked.notify_url.clone());
    let url = url.unwrap_or_default();
    url.strip_prefix("http://callback:8088")
        .unwrap_or("/nowhere")
        .to_owned()
}

/// Pauses between the sends of one callback, in seconds (channels.md §1.6 and §2.5).
const fn ladder(kind: ChannelKind) -> &'static [u64] {
    match kind {
        ChannelKind::Wechat => &[
            15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600,
            21_600,
        ],
        ChannelKind::Alipay => &[240, 600, 600, 3600, 7200, 21_600, 54_000],
    }
}

struct Sending {
    kind: ChannelKind,
    path: String,
    message: Message,
    signature: Signature,
}

fn start(world: &Arc<World>, sending: Sending, first: Duration, ladder: &'static [u64]) {
    let (world, under_way) = (world.clone(), world.under_way());
    tokio::spawn(async move {
        let _under_way = under_way;
        tokio::time::sleep(first).await;
        for pause in std::iter::once(None).chain(ladder.iter().map(Some)) {
            if let Some(seconds) = pause {
                tokio::time::sleep(Duration::from_secs(*seconds)).await;
            }
            if send(&world, &sending).await {
                return;
            }
        }
    });
}

/// One send. True: it was acknowledged.
async fn send(world: &Arc<World>, sending: &Sending) -> bool {
    let (kind, message) = (sending.kind, &sending.message);
    let content = serde_json::to_string(message).unwrap_or_default();
    let timestamp = match kind {
        ChannelKind::Wechat => world.now().as_second(),
        ChannelKind::Alipay => 0,
    };
    let sign = sign(&content, timestamp, sending.signature);
    let request = axum::http::Request::post(sending.path.as_str())
        .header("content-type", "application/json")
        .header("wechatpay-timestamp", timestamp.to_string())
        .header("wechatpay-signature", sign.as_str());
    let body = serde_json::to_string(&Envelope { content, sign }).unwrap_or_default();
    let Ok(request) = request.body(axum::body::Body::from(body)) else {
        return false;
    };
    let replica = Replica::any_callback(world);
    let answer = door::send(world, replica, request, Site::Ack, Duration::from_secs(5)).await;
    world.tally().callbacks += 1;
    let acknowledged = answer.as_ref().is_ok_and(|answer| answer.status == 200);
    world.say(super::name(kind), || {
        let event = &message.event;
        let (order, name) = (&message.order, replica.name());
        let how = match (sending.signature, &answer) {
            (_, Err(broken)) => format!("not heard ({broken})"),
            (_, Ok(answer)) => format!("answered {}", answer.status),
        };
        let what = match sending.signature {
            Signature::Genuine => "callback",
            Signature::Forged => "FORGED callback",
            Signature::Probe => "signature probe",
        };
        format!("{what} {event} of order {order} to {name}: {how}")
    });
    if acknowledged {
        check_acknowledged(world, sending);
    }
    acknowledged
}

fn check_acknowledged(world: &World, sending: &Sending) {
    let message = &sending.message;
    if sending.signature != Signature::Genuine {
        world.broken("IC", || {
            format!("{:?} for {}", sending.signature, message.order)
        });
        return;
    }
    let transaction: String = message.transaction.chars().take(64).collect();
    let event: String = message.event.chars().take(96).collect();
    if !world
        .database()
        .has_kept(sending.kind, &transaction, &event)
    {
        world.broken("IA", || format!("{event} of order {}", message.order));
    }
}
