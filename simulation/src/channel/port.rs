//! The channels as one process reaches them: the book, behind a network that loses, delays and
//! repeats.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use channels::{
    CallbackError, Closed, Created, NewOrder, NewRefund, Notice, OrderState, OrderStatus, Outcome,
    RefundState, RefundStatus, Refusal, UncertaintyReason,
};
use jiff::Timestamp;
use payment_core::{ChannelKind, PayMethod};
use payment_runtime::ports::{PayChannel, PayChannels};

use super::book::News;
use super::spoken::{refused, unknown};
use super::{delivery, name, notices, payer};
use crate::points::{Point, Site};
use crate::process::Life;
use crate::world::World;

/// How long a call waits for its answer.
const TIMEOUT: Duration = Duration::from_secs(12);

/// Both channels, as one process has them.
pub struct SimChannels {
    wechat: Arc<SimChannel>,
    alipay: Arc<SimChannel>,
}

impl SimChannels {
    pub fn new(life: &Arc<Life>) -> Self {
        let channel = |kind| {
            Arc::new(SimChannel {
                life: life.clone(),
                kind,
            })
        };
        Self {
            wechat: channel(ChannelKind::Wechat),
            alipay: channel(ChannelKind::Alipay),
        }
    }
}

impl PayChannels for SimChannels {
    fn get(&self, kind: ChannelKind) -> Option<Arc<dyn PayChannel>> {
        Some(match kind {
            ChannelKind::Wechat => self.wechat.clone(),
            ChannelKind::Alipay => self.alipay.clone(),
        })
    }
}

/// One channel, as one process has it.
pub struct SimChannel {
    life: Arc<Life>,
    kind: ChannelKind,
}

/// What becomes of one call on its way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Through,
    NotConnected,
    Lost,
    /// Arrives long after the caller stopped waiting.
    Late,
    /// The channel fails before it does anything.
    ServerError,
}

impl SimChannel {
    fn world(&self) -> &Arc<World> {
        &self.life.world
    }

    async fn way(&self, site: Site) -> Way {
        let world = self.world();
        let rate = world.profile.channel_fault_rate;
        if !self.life.at(Point::before(site), rate).await {
            return Way::Through;
        }
        match world.chance().below(5) {
            0 => Way::NotConnected,
            1 => Way::Lost,
            2 | 3 => Way::Late,
            _ => Way::ServerError,
        }
    }

    /// One call: there, its effect, and back.
    async fn call<T: Send + 'static>(
        &self,
        site: Site,
        about: &str,
        effect: impl FnOnce(&Arc<World>) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let (life, world) = (&self.life, self.world());
        let way = self.way(site).await;
        let there = world.chance().millis(5, 150);
        let (outcome, how) = match way {
            Way::NotConnected => {
                life.sleep(Duration::from_secs(3)).await;
                let refusal = Refusal {
                    code: Refusal::NOT_CONNECTED.to_owned(),
                    message: "no connection".to_owned(),
                    sent: false,
                };
                (Outcome::Refused(refusal), "no connection could be made")
            }
            Way::Lost => {
                life.sleep(TIMEOUT).await;
                let outcome = unknown(UncertaintyReason::Timeout, "no answer in time");
                (outcome, "the request was lost")
            }
            Way::Late => {
                self.arrive_late(effect);
                life.sleep(TIMEOUT).await;
                let outcome = unknown(UncertaintyReason::Timeout, "no answer in time");
                (outcome, "the request was so slow that nobody waited for it")
            }
            Way::ServerError => {
                life.sleep(there).await;
                let outcome = unknown(UncertaintyReason::ServerError, "HTTP 500");
                (outcome, "the channel failed before it did anything")
            }
            Way::Through => self.there_and_back(site, there, effect).await,
        };
        world.say(life.name, || {
            let what = site.as_str().trim_start_matches("channel.");
            format!("asked {} to {what} {about}: {how}", name(self.kind))
        });
        outcome
    }

    async fn there_and_back<T: Send>(
        &self,
        site: Site,
        there: Duration,
        effect: impl FnOnce(&Arc<World>) -> Outcome<T> + Send,
    ) -> (Outcome<T>, &'static str) {
        let (life, world) = (&self.life, self.world());
        life.sleep(there).await;
        let outcome = effect(world);
        let back = world.chance().millis(5, 250);
        life.sleep(back).await;
        let rate = world.profile.channel_fault_rate;
        if !life.at(Point::after(site), rate).await {
            let how = match &outcome {
                Outcome::Done(_) => "done",
                Outcome::Refused(_) => "declined",
                Outcome::Unknown(_) => "no clear answer",
            };
            return (outcome, how);
        }
        if world.chance().percent(50) {
            let outcome = unknown(UncertaintyReason::ServerError, "HTTP 502");
            return (outcome, "done, but it answered with a server error");
        }
        life.sleep(TIMEOUT).await;
        let outcome = unknown(UncertaintyReason::Timeout, "no answer in time");
        (outcome, "done, but the answer was lost")
    }

    /// The request reaches the channel up to half a minute after its caller gave up.
    fn arrive_late<T: Send + 'static>(
        &self,
        effect: impl FnOnce(&Arc<World>) -> Outcome<T> + Send + 'static,
    ) {
        let world = self.world().clone();
        let pause = TIMEOUT + world.chance().millis(0, 30_000);
        let under_way = world.under_way();
        tokio::spawn(async move {
            let _under_way = under_way;
            tokio::time::sleep(pause).await;
            let _ = effect(&world);
        });
    }
}

/// `may_decline`: the channel has a say before the payer comes.
fn create(
    world: &Arc<World>,
    kind: ChannelKind,
    order: &NewOrder,
    may_decline: bool,
) -> Outcome<Created> {
    let (now, now_ms) = (world.now(), world.elapsed_ms());
    let number = &order.channel_order_no;
    let known = world.book(kind).order(number).is_some();
    if may_decline && !known && world.strikes(world.profile.decline_percent) {
        return refused("NO_AUTH", "this merchant may not do that");
    }
    let grace_ms = world.chance().between(0, 20_000);
    let lag_ms = if world.strikes(world.profile.query_lag_percent) {
        world.chance().between(1_000, 50_000)
    } else {
        0
    };
    let until_ms = world.ms_of(order.expires_at) + grace_ms;
    let visible_ms = now_ms + lag_ms;
    let (outcome, news) = world
        .book(kind)
        .create(order, now, now_ms, until_ms, visible_ms);
    report_changed_repeats(world, kind);
    if news == News::Order {
        payer::comes(world, kind, number);
        delivery::may_tell_lies(world, kind, number);
    }
    outcome
}

fn report_changed_repeats(world: &World, kind: ChannelKind) {
    let changed = std::mem::take(&mut world.book(kind).changed_repeats);
    for number in changed {
        world.broken("IR", || format!("number {number} at {}", name(kind)));
    }
}

fn query(world: &Arc<World>, kind: ChannelKind, number: &str) -> OrderStatus {
    let (now, now_ms) = (world.now(), world.elapsed_ms());
    world.book(kind).query(number, now, now_ms)
}

fn close(world: &Arc<World>, kind: ChannelKind, number: &str) -> Closed {
    payer::may_pay_while_we_close(world, kind, number);
    let now_ms = world.elapsed_ms();
    let closed = world.book(kind).close(number, now_ms);
    if closed == Closed::Closed {
        payer::may_pay_despite_close(world, kind, number);
    }
    closed
}

fn refund(world: &Arc<World>, kind: ChannelKind, refund: &NewRefund) -> Outcome<RefundStatus> {
    let now_ms = world.elapsed_ms();
    let (order, number) = (&refund.channel_order_no, &refund.channel_refund_no);
    let known = world.book(kind).book_refund(order, number).is_some();
    if !known && world.strikes(world.profile.refund_trouble_percent / 3) {
        return refused("NOT_ENOUGH", "the merchant's balance is too low");
    }
    let lag_ms = if world.strikes(world.profile.query_lag_percent) {
        world.chance().between(1_000, 50_000)
    } else {
        0
    };
    let (outcome, news) = world.book(kind).refund(refund, now_ms, now_ms + lag_ms);
    report_changed_repeats(world, kind);
    if news == News::Nothing {
        return outcome;
    }
    world.tally().refunds += 1;
    let at_once = kind == ChannelKind::Alipay;
    if at_once {
        finish_refund(world, kind, order, number, RefundState::Succeeded);
        let status = world.book(kind).query_refund(order, number, u64::MAX);
        return Outcome::Done(status);
    }
    delivery::may_lie_about_refund(world, kind, order, refund);
    refund_takes_its_course(world, kind, order, number);
    outcome
}

/// An accepted refund ends by itself: mostly well, sometimes stuck until a person acts, sometimes
/// not at all.
fn refund_takes_its_course(world: &Arc<World>, kind: ChannelKind, order: &str, number: &str) {
    let trouble = world.strikes(world.profile.refund_trouble_percent);
    let (first, stuck, ends_well) = {
        let mut chance = world.chance();
        let first = if chance.percent(60) {
            chance.millis(200, 20_000)
        } else {
            chance.millis(20_000, 900_000)
        };
        let stuck = trouble && chance.percent(50);
        (first, stuck, !trouble || (stuck && chance.percent(70)))
    };
    let (order, number) = (order.to_owned(), number.to_owned());
    let (world, under_way) = (world.clone(), world.under_way());
    tokio::spawn(async move {
        let _under_way = under_way;
        tokio::time::sleep(first).await;
        if stuck {
            finish_refund(&world, kind, &order, &number, RefundState::Abnormal);
            let person_acts = world.chance().millis(600_000, 14_400_000);
            tokio::time::sleep(person_acts).await;
        }
        let state = if ends_well {
            RefundState::Succeeded
        } else {
            RefundState::Failed
        };
        finish_refund(&world, kind, &order, &number, state);
    });
}

fn finish_refund(
    world: &Arc<World>,
    kind: ChannelKind,
    order: &str,
    number: &str,
    state: RefundState,
) {
    let now = world.now();
    world.book(kind).settle_refund(order, number, state, now);
    world.say(name(kind), || format!("refund {number}: {state:?}"));
    notices::refunded(world, kind, order, number);
}

#[async_trait]
impl PayChannel for SimChannel {
    fn kind(&self) -> ChannelKind {
        self.kind
    }

    async fn create(&self, order: &NewOrder, _now: Timestamp) -> Outcome<Created> {
        let (kind, order) = (self.kind, order.clone());
        let signed_here = matches!(
            order.method,
            PayMethod::AlipayPage | PayMethod::AlipayWap | PayMethod::AlipayApp
        );
        if signed_here {
            // Nothing is sent: the payer's side carries the signed order to the channel.
            self.life.at(Point::before(Site::ChannelCreate), 0).await;
            let outcome = create(self.world(), kind, &order, false);
            self.life.at(Point::after(Site::ChannelCreate), 0).await;
            return outcome;
        }
        let about = format!("order {} over {}", order.channel_order_no, order.amount);
        let effect = move |world: &Arc<World>| create(world, kind, &order, true);
        self.call(Site::ChannelCreate, &about, effect).await
    }

    async fn query(&self, channel_order_no: &str, _now: Timestamp) -> Outcome<OrderStatus> {
        let (kind, number) = (self.kind, channel_order_no.to_owned());
        let about = format!("order {number}");
        let effect = move |world: &Arc<World>| Outcome::Done(query(world, kind, &number));
        let outcome = self.call(Site::ChannelQuery, &about, effect).await;
        if let Outcome::Done(status) = &outcome {
            self.tell_state(channel_order_no, status.state);
        }
        outcome
    }

    async fn close(&self, channel_order_no: &str, _now: Timestamp) -> Outcome<Closed> {
        let (kind, number) = (self.kind, channel_order_no.to_owned());
        let about = format!("order {number}");
        let effect = move |world: &Arc<World>| Outcome::Done(close(world, kind, &number));
        self.call(Site::ChannelClose, &about, effect).await
    }

    async fn refund(&self, asked: &NewRefund, _now: Timestamp) -> Outcome<RefundStatus> {
        let (kind, asked) = (self.kind, asked.clone());
        let about = format!("{} of order {}", asked.amount, asked.channel_order_no);
        let effect = move |world: &Arc<World>| refund(world, kind, &asked);
        self.call(Site::ChannelRefund, &about, effect).await
    }

    async fn query_refund(
        &self,
        channel_order_no: &str,
        channel_refund_no: &str,
        _now: Timestamp,
    ) -> Outcome<RefundStatus> {
        let kind = self.kind;
        let (order, number) = (channel_order_no.to_owned(), channel_refund_no.to_owned());
        let about = format!("refund {number}");
        let effect = move |world: &Arc<World>| {
            let now_ms = world.elapsed_ms();
            Outcome::Done(world.book(kind).query_refund(&order, &number, now_ms))
        };
        self.call(Site::ChannelQueryRefund, &about, effect).await
    }

    fn verify_callback(
        &self,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notice, CallbackError> {
        notices::verify(self.kind, headers, body, now)
    }
}

impl SimChannel {
    fn tell_state(&self, number: &str, state: OrderState) {
        self.world()
            .say(name(self.kind), || format!("order {number} is {state:?}"));
    }
}
