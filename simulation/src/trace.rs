//! What happened in a seed: a hash of all of it, and, when asked for, a story of the main parts.
//!
//! Guarantees: two runs of one seed that differ in anything they did have different hashes.

/// One line of the story.
#[derive(Clone, Debug)]
pub struct Line {
    pub at_ms: u64,
    pub who: String,
    pub what: String,
}

/// The trace of one seed.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    steps: u64,
    story: Option<Vec<Line>>,
}

impl Trace {
    pub fn new(with_story: bool) -> Self {
        Self {
            hash: 0xCBF2_9CE4_8422_2325,
            steps: 0,
            story: with_story.then(Vec::new),
        }
    }

    /// Mixes a step into the hash (FNV-1a).
    pub fn mark(&mut self, at_ms: u64, bytes: &[u8]) {
        self.steps += 1;
        for byte in at_ms.to_be_bytes().iter().chain(bytes) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    pub fn say(&mut self, at_ms: u64, who: &str, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(Line {
                at_ms,
                who: who.to_owned(),
                what: what(),
            });
        }
    }

    pub const fn hash(&self) -> u64 {
        self.hash
    }

    pub const fn steps(&self) -> u64 {
        self.steps
    }

    pub fn take_story(&mut self) -> Vec<Line> {
        self.story.take().unwrap_or_default()
    }
}
