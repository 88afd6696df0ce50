//! Which text Alipay signs and has signed.
//!
//! Guarantees: values are raw (not URL-encoded), names in byte order.
//!
//! Not here: answers, whose own bytes are signed (`answer`).

/// `k=v` joined by `&`, sorted by name; empty values are left out.
pub(super) fn message(parameters: &[(&str, &str)]) -> String {
    let filled: Vec<_> = parameters
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .copied()
        .collect();
    joined(filled)
}

/// The same, with empty values kept.
pub(super) fn joined(mut parameters: Vec<(&str, &str)>) -> String {
    parameters.sort_unstable();
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}
