//! How long to wait before connecting again.

use std::time::Duration;

use crate::config::Config;

/// The longest pause where nobody listens: such a try costs one packet each way, and a coordinator
/// that comes back is found within a second.
const NOBODY_MAX: Duration = Duration::from_secs(1);

/// Why there is no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The port is closed, or the name has no address.
    Nobody,
    /// Somebody is there, or nothing can be said.
    Failed,
}

/// Doubles with every failure up to a bound, and is drawn from the upper half of that, so that many
/// clients of one coordinator do not come back at once. `draw` gives a number up to its argument.
pub(super) fn pause(
    config: &Config,
    failures: u32,
    trouble: Trouble,
    draw: impl FnOnce(u64) -> u64,
) -> Duration {
    let max = match trouble {
        Trouble::Nobody => NOBODY_MAX.min(config.reconnect_max),
        Trouble::Failed => config.reconnect_max,
    };
    let full = config
        .reconnect_min
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(max);
    let half = full / 2;
    let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(draw(spread))
}

/// A random number from 0 to `max`.
pub(super) fn draw(max: u64) -> u64 {
    rand::random_range(0..=max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_bound_that_depends_on_the_trouble() {
        let config = Config::new(["h:1"], "a", "g");
        let longest = |failures, trouble| pause(&config, failures, trouble, |max| max).as_millis();
        assert_eq!(longest(0, Trouble::Failed), 100);
        assert_eq!(longest(3, Trouble::Failed), 800);
        assert_eq!(longest(99, Trouble::Failed), 5000);
        assert_eq!(longest(99, Trouble::Nobody), 1000);
        let shortest = pause(&config, 99, Trouble::Failed, |_| 0);
        assert_eq!(shortest, Duration::from_millis(2500));
        assert!(draw(3) <= 3);
    }
}
