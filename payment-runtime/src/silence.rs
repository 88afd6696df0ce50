//! Why something we depend on does not answer: told once, until it answers again.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it was told of one dependency.
#[derive(Default)]
pub(crate) struct Silence(AtomicBool);

impl Silence {
    /// Logs why `who` does not answer, if it does not and that is news. `why` is absent if it does.
    pub(crate) fn tell(&self, who: &str, why: Option<String>) {
        if !self.0.swap(why.is_some(), Ordering::Relaxed)
            && let Some(why) = why
        {
            tracing::warn!(why, "{who} does not answer");
        }
    }
}
