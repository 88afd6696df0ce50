//! One order from its creation to PAID, with the time of each step.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::{Answer, Order, PaymentApi, Simulator};
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::paint::Paint;

const PAID_WITHIN: Duration = Duration::from_secs(30);

/// Pays one order and tells how; the Beijing day on whose bill it stands.
pub(crate) async fn pay_one(
    api: &PaymentApi,
    simulator: &Simulator,
    channel: &str,
    title: &str,
    paint: Paint,
) -> Result<Date> {
    let order = Order::new("TOUR", channel, "88.10");
    println!(
        "\n{}  {}",
        paint.title(&format!("{title}, 88.10 CNY")),
        paint.dim(order.id())
    );
    let began = Instant::now();
    let created = api.create_payable(&order).await?;
    let answered = began.elapsed();
    let (id, number) = (created.payment_id(), created.channel_order_no());
    step(
        answered,
        "created",
        &format!(
            "{} {}, payment {id}",
            created.status,
            created.text("status")
        ),
    );
    step(answered, "QR code", created.qr_code().unwrap_or_default());
    let paid = simulator.pay(channel, number).await?;
    let transaction = paid["transactionId"].as_str().unwrap_or_default();
    step(
        began.elapsed(),
        "paid",
        &format!("at the simulator, transaction {transaction}"),
    );
    let payment = api.wait_status(id, "PAID", PAID_WITHIN).await?;
    let seen = began.elapsed();
    let events = api.events(id).await?;
    if let Some((how, after)) = final_step(&events) {
        step(answered + after, how, "verified, PENDING → PAID");
    }
    let paid = paint.good("PAID");
    println!(
        "  {:>7}  {paid:<10} GET /api/payments/{id} says so",
        seconds(seen)
    );
    bill_day(&payment)
}

fn step(at: Duration, name: &str, what: &str) {
    println!("  {:>7}  {name:<10} {what}", seconds(at));
}

fn seconds(time: Duration) -> String {
    format!("{}.{:02} s", time.as_secs(), time.subsec_millis() / 10)
}

/// What moved the payment to PAID, and how long after it became PENDING, by the service's own
/// clock.
fn final_step(events: &[Value]) -> Option<(&str, Duration)> {
    let moved = |state: &str| events.iter().find(|event| event["to"] == state);
    let (pending, paid) = (moved("PENDING")?, moved("PAID")?);
    let at = |event: &Value| event["at"].as_str()?.parse::<Timestamp>().ok();
    let between: SignedDuration = at(paid)?.duration_since(at(pending)?);
    Some((paid["source"].as_str()?, between.try_into().ok()?))
}

fn bill_day(payment: &Answer) -> Result<Date> {
    let paid_at = payment.text("paidAt");
    let paid_at: Timestamp = paid_at
        .parse()
        .with_context(|| format!("paidAt is {paid_at:?}"))?;
    Ok(beijing().to_datetime(paid_at).date())
}

/// The channels' bills follow Beijing's calendar.
pub(crate) fn beijing() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}
