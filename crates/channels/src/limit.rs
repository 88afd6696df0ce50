//! How often each channel may be called: a token bucket for each merchant and operation.
//!
//! Guarantees: a call that gets no permit in time was surely not sent; the buckets outlive a
//! change of keys.
//!
//! Not here: what a channel says when it is called too often all the same (`answer`); sharing the
//! limits between processes, each of which counts for itself.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::outcome::{Fail, Refusal};

/// What is counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    WechatPrepay,
    WechatQuery,
    WechatClose,
    WechatRefund,
    WechatRefundQuery,
    WechatBill,
    AlipayCreate,
    AlipayQuery,
    AlipayClose,
    AlipayRefund,
    AlipayRefundQuery,
    AlipayBill,
}

impl Operation {
    const ALL: [Self; 12] = [
        Self::WechatPrepay,
        Self::WechatQuery,
        Self::WechatClose,
        Self::WechatRefund,
        Self::WechatRefundQuery,
        Self::WechatBill,
        Self::AlipayCreate,
        Self::AlipayQuery,
        Self::AlipayClose,
        Self::AlipayRefund,
        Self::AlipayRefundQuery,
        Self::AlipayBill,
    ];

    /// Permits a second, and as many at once. WeChat Pay publishes its limits on prepaying,
    /// querying and refunding; all others, Alipay's among them, are careful guesses.
    fn quota(self) -> Quota {
        let permits = match self {
            Self::WechatPrepay => 500,
            Self::WechatQuery | Self::WechatClose | Self::WechatRefundQuery => 300,
            Self::WechatRefund => 150,
            Self::AlipayCreate | Self::AlipayQuery => 100,
            Self::AlipayClose | Self::AlipayRefundQuery => 50,
            Self::AlipayRefund => 30,
            Self::WechatBill | Self::AlipayBill => 5,
        };
        Quota::per_second(NonZeroU32::new(permits).unwrap_or(NonZeroU32::MIN))
    }
}

/// One bucket for each merchant; there are few of them, so none is ever thrown away.
type Buckets = RateLimiter<String, HashMapStateStore<String>, MonotonicClock>;

pub(crate) struct Limits {
    buckets: Vec<(Operation, Buckets)>,
    patience: Duration,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Limits {
    /// `patience`: how long a call waits for its permit at most.
    pub(crate) fn new(patience: Duration) -> Self {
        Self::with(patience, Operation::quota)
    }

    pub(crate) fn with(patience: Duration, quota: impl Fn(Operation) -> Quota) -> Self {
        let buckets = Operation::ALL.map(|operation| {
            let store = HashMapStateStore::default();
            let buckets = RateLimiter::new(quota(operation), store, MonotonicClock);
            (operation, buckets)
        });
        Self {
            buckets: buckets.into(),
            patience,
        }
    }

    /// Takes a permit, waiting for it if that is worth while.
    pub(crate) async fn permit(&self, operation: Operation, merchant: &str) -> Result<(), Fail> {
        let bucket = self.buckets.iter().find(|(known, _)| *known == operation);
        let Some((_, buckets)) = bucket else {
            return Ok(());
        };
        let merchant = merchant.to_owned();
        let deadline = Instant::now() + self.patience;
        while let Err(busy) = buckets.check_key(&merchant) {
            let ready = Instant::now() + busy.wait_time_from(MonotonicClock.now());
            if ready > deadline {
                return Err(Fail::Refused(Refusal::not_sent(
                    Refusal::LOCAL_RATE_LIMIT,
                    format!("too many calls of {operation:?} at once"),
                )));
            }
            tokio::time::sleep_until(ready).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
