//! Text kept small: compressed, and where there is an earlier text like it, against that one.
//!
//! The children of one system look like those of every other; what tells them apart is a tenth of
//! their text. At a hundred systems their copies are most of the operator's memory.
//!
//! Guarantees: what was given comes back byte for byte; the number and the size of the samples are
//! bounded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Samples at most: one of each child, and room for kinds of many.
const SAMPLES_MAX: usize = 256;
/// Bytes of a sample at most: how far back the compression looks.
const SAMPLE_MAX: usize = 64 << 10;

/// One text.
#[derive(Clone, Debug)]
pub(crate) struct Compact {
    bytes: Box<[u8]>,
    like: Arc<[u8]>,
}

impl Compact {
    /// `like` is a text with many of the same passages; it is shared, and may be empty.
    pub(crate) fn new(text: &[u8], like: Arc<[u8]>) -> Self {
        let bytes = lz4_flex::block::compress_prepend_size_with_dict(text, &like);
        Self {
            bytes: bytes.into_boxed_slice(),
            like,
        }
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        // What this type compressed it can read.
        lz4_flex::block::decompress_size_prepended_with_dict(&self.bytes, &self.like)
            .unwrap_or_default()
    }
}

/// One earlier text of each sort.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<HashMap<String, Arc<[u8]>>>);

impl Samples {
    /// The sample of this sort of text; this very text is the next one's if it is the first, or
    /// says clearly more: objects grow once they run.
    pub(crate) fn like(&self, sort: String, text: &[u8]) -> Arc<[u8]> {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = samples.get(&sort).cloned();
        let enough = known.as_ref().map_or(0, |known| known.len() / 8 * 9);
        let room = known.is_some() || samples.len() < SAMPLES_MAX;
        if room && (enough..=SAMPLE_MAX).contains(&text.len()) {
            samples.insert(sort, Arc::from(text));
        }
        known.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(system: &str) -> Vec<u8> {
        let lines = (0..200).map(|n| format!("line {n} is {}\n", n * 7919 % 1000));
        format!("{system}\n{}", lines.collect::<String>()).into_bytes()
    }

    #[test]
    fn what_is_like_an_earlier_text_is_small_and_comes_back() {
        let samples = Samples::default();
        let kept = |name: &str| {
            let text = text(name);
            let like = samples.like("config".to_owned(), &text);
            let compact = Compact::new(&text, like);
            assert_eq!(compact.text(), text);
            compact.bytes.len()
        };
        let (first, second) = (kept("shop"), kept("bank"));
        assert!(second * 10 < first, "{first} {second}");
    }

    #[test]
    fn a_sample_gives_way_to_one_that_says_more() {
        let samples = Samples::default();
        let like = |text: &[u8]| samples.like("deployment".to_owned(), text);
        assert!(like(b"0123456789abcdef").is_empty());
        assert_eq!(*like(b"0123456789abcdef+"), *b"0123456789abcdef");
        assert_eq!(*like(&[b'x'; 32]), *b"0123456789abcdef");
        assert_eq!(like(b"").len(), 32);
    }

    #[test]
    fn samples_are_bounded() {
        let samples = Samples::default();
        for n in 0..2 * SAMPLES_MAX {
            samples.like(n.to_string(), b"text");
        }
        samples.like("0".to_owned(), &vec![b'x'; SAMPLE_MAX + 1]);
        let kept = samples.0.lock().unwrap();
        assert_eq!(kept.len(), SAMPLES_MAX);
        assert_eq!(*kept["0"], *b"text");
    }
}
