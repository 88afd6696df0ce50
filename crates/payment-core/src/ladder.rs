//! When to ask the channel again about an open payment.

use std::time::Duration;

/// Pauses before the first, second, … question; afterwards one a day until a bill settles it.
/// Denser than elsewhere because the channels' codes expire in minutes.
const LADDER_SECONDS: [u64; 9] = [5, 15, 30, 60, 180, 600, 1800, 3600, 21_600];
const DAY_SECONDS: u64 = 86_400;

/// The channel may not show an order for this long after it was created.
pub const VISIBILITY_DELAY: Duration = Duration::from_mins(1);

/// The pause before question number `attempt` (from 0), stretched by up to 20 % so that many
/// payments of one moment do not ask together. `jitter` is any number, e.g. random.
pub fn pause_before(attempt: u32, jitter: u32) -> Duration {
    let index = usize::try_from(attempt).unwrap_or(usize::MAX);
    let seconds = LADDER_SECONDS.get(index).copied().unwrap_or(DAY_SECONDS);
    let stretch_milliseconds = seconds * 200 * u64::from(jitter % 1000) / 1000;
    Duration::from_millis(seconds * 1000 + stretch_milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_day_and_stay_there() {
        let pauses: Vec<u64> = (0..11).map(|n| pause_before(n, 0).as_secs()).collect();
        assert_eq!(
            pauses,
            [5, 15, 30, 60, 180, 600, 1800, 3600, 21_600, 86_400, 86_400]
        );
        assert_eq!(pause_before(u32::MAX, 0).as_secs(), 86_400);
    }

    #[test]
    fn jitter_stretches_by_less_than_a_fifth() {
        assert!(pause_before(3, 999) < Duration::from_secs(72));
        assert!(pause_before(3, 999) > Duration::from_secs(71));
    }
}
