//! Numbers and tokens the channels hand out. Unique by 60 random bits beside the day.

use jiff::Timestamp;
use rand::Rng;

use crate::clock::compact_day;

/// WeChat Pay's transaction id: 28 digits, `4200…`.
pub(crate) fn wechat_transaction(now: Timestamp) -> String {
    let mut random = rand::rng();
    let (head, tail) = (
        random.random_range(0..1_000_000_u32),
        random_tail(&mut random),
    );
    format!("4200{head:06}{}{tail:010}", compact_day(now))
}

/// WeChat Pay's refund id: 29 digits, `5030…`.
pub(crate) fn wechat_refund(now: Timestamp) -> String {
    let mut random = rand::rng();
    let (head, tail) = (
        random.random_range(0..10_000_000_u32),
        random_tail(&mut random),
    );
    format!("5030{head:07}{}{tail:010}", compact_day(now))
}

/// Alipay's trade number: 28 digits, the day, then `22001…`.
pub(crate) fn alipay_trade(now: Timestamp) -> String {
    let mut random = rand::rng();
    let (head, tail) = (
        random.random_range(0..100_000_u32),
        random_tail(&mut random),
    );
    format!("{}22001{head:05}{tail:010}", compact_day(now))
}

fn random_tail(random: &mut impl Rng) -> u64 {
    random.random_range(0..10_000_000_000)
}

pub(crate) fn prepay() -> String {
    format!("wx{}", token())
}

/// 32 lower-case hex digits.
pub(crate) fn token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A nonce of `length` letters and digits.
pub(crate) fn nonce(length: usize) -> String {
    rand::rng()
        .sample_iter(rand::distr::Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}

/// An id of the same shape that is surely not this one: another merchant's.
pub(crate) fn another(id: &str) -> String {
    let kept = id
        .char_indices()
        .next_back()
        .map_or("", |(last, _)| &id[..last]);
    let end = if id.ends_with('1') { '2' } else { '1' };
    format!("{kept}{end}")
}
