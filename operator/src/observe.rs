//! What one pass looks at: a snapshot of the cache. No request is made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    cache::{Cache, KeyDigest, Live, NamedSecret, SystemKey, key_digests},
    kinds::Kind,
};

/// Everything the cluster holds for one system, and the Secrets its specification names.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub objects: BTreeMap<(Kind, String), Arc<Live>>,
    pub named_secrets: BTreeMap<String, NamedSecret>,
    pub installed: BTreeSet<Kind>,
}

/// The Secrets that a specification names; `None` while one of them has not been looked at.
pub fn named_secrets(
    cache: &Cache,
    namespace: &str,
    names: &BTreeSet<String>,
) -> Option<BTreeMap<String, NamedSecret>> {
    let look = |name: &String| Some((name.clone(), cache.named_secret(namespace, name)?));
    names.iter().map(look).collect()
}

impl Observed {
    /// What there is of a system now, beside Secrets that were looked at before.
    pub fn read(
        cache: &Cache,
        system: &SystemKey,
        named_secrets: BTreeMap<String, NamedSecret>,
    ) -> Self {
        Self {
            objects: cache.objects(system),
            named_secrets,
            installed: cache.installed(),
        }
    }

    pub fn get(&self, kind: Kind, name: &str) -> Option<&Live> {
        self.objects.get(&(kind, name.to_owned())).map(Arc::as_ref)
    }

    pub fn value(&self, kind: Kind, name: &str) -> Option<Value> {
        self.get(kind, name).map(Live::value)
    }

    /// The digests of one of our own Secrets.
    pub fn secret(&self, name: &str) -> Option<BTreeMap<String, KeyDigest>> {
        self.value(Kind::Secret, name)
            .map(|value| key_digests(&value))
    }

    /// Pods with a component label.
    pub fn pods(&self) -> impl Iterator<Item = Value> + '_ {
        self.objects
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::Pod)
            .map(|(_, live)| live.value())
    }
}
