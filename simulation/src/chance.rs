//! Chance that is the same for the same seed, on every machine and with every version of every
//! library: SplitMix64, which is a few lines.

use std::time::Duration;

/// A stream of chance.
#[derive(Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Another stream, independent of how this one is used afterwards.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.bits() ^ 0x5851_F42D_4C95_7F2D)
    }

    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to `end`, without it.
    pub const fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.bits() % end }
    }

    /// Evenly from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub const fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap_or_default();
        &from[at]
    }
}
