//! The cache: a fast memory that forgets, lies, hangs or is away, as the seed wants it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use payment_runtime::ports::{OrderCache, Seen};

use crate::points::{Point, Site};
use crate::process::Life;

/// One process's connection to the cache.
pub struct SimCache {
    life: Arc<Life>,
}

impl SimCache {
    pub const fn new(life: Arc<Life>) -> Self {
        Self { life }
    }

    /// What a cache that is not well says, whatever it knows.
    async fn wrong(&self) -> Seen {
        let answer = self.life.world.chance().below(4);
        match answer {
            0 => Seen::First,
            1 => Seen::Before,
            2 => Seen::NoAnswer,
            _ => {
                self.life.sleep(Duration::from_millis(100)).await;
                Seen::NoAnswer
            }
        }
    }
}

#[async_trait]
impl OrderCache for SimCache {
    async fn remember(&self, order_id: &str) -> Seen {
        let rate = self.life.world.profile.cache_fault_rate;
        if self.life.at(Point::before(Site::CacheRemember), rate).await {
            return self.wrong().await;
        }
        self.life.sleep(Duration::from_millis(1)).await;
        let before = self.life.world.database().cache_remember(order_id);
        if self.life.at(Point::after(Site::CacheRemember), rate).await {
            return self.wrong().await;
        }
        if before { Seen::Before } else { Seen::First }
    }

    async fn ping(&self) -> bool {
        true
    }
}
