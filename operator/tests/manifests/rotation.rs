//! Which pods a changed Secret replaces.

use std::collections::BTreeMap;

use payment_operator::{
    build::build,
    cache::{KeyDigest, NamedSecret},
};
use serde_json::Value;

use super::{example, observed, valid};

/// Pod templates of an example whose channel keys have these values.
fn templates(name: &str, keys: &[(&str, &str)]) -> BTreeMap<String, Value> {
    let system = valid(&example(name));
    let mut observed = observed(&system);
    let digest = |value: &str| KeyDigest {
        hash: value.to_owned(),
        plain: true,
        empty: false,
    };
    let mut digests: BTreeMap<String, KeyDigest> = system
        .channel_keys()
        .into_iter()
        .map(|key| (key.to_owned(), digest("first")))
        .collect();
    for (key, value) in keys {
        digests.insert((*key).to_owned(), digest(value));
    }
    let secret = NamedSecret::Present(digests);
    observed
        .named_secrets
        .insert(system.channel_secret(), secret);
    let all = build(&system, &observed).unwrap().into_iter();
    all.filter_map(|manifest| {
        let template = manifest.value.pointer("/spec/template")?.clone();
        Some((manifest.name, template))
    })
    .collect()
}

fn replaced(name: &str, keys: &[(&str, &str)]) -> Vec<String> {
    let (before, after) = (templates(name, &[]), templates(name, keys));
    let changed = |(name, template): (&String, &Value)| {
        (after.get(name) != Some(template)).then(|| name.clone())
    };
    before.iter().filter_map(changed).collect()
}

#[test]
fn a_channel_key_replaces_the_pods_that_read_it_and_no_other() {
    let nobody: [&str; 0] = [];
    assert_eq!(
        replaced(
            "production",
            &[("wechat-private-key-of-next-year", "a key")]
        ),
        nobody
    );
    // The simulator plays the channels: it restarts for another merchant alone.
    for name in ["production", "demo"] {
        let changed = replaced(name, &[("wechat-public-key", "two keys")]);
        let readers = ["callback", "payment", "reconciliation", "worker"];
        assert_eq!(changed, readers.map(|reader| format!("{name}-{reader}")));
    }
    let another = replaced("demo", &[("wechat-app-id", "another")]);
    assert!(another.contains(&"demo-channel-simulator".to_owned()));
}
