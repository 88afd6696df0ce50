//! A Secret under rotation, as it stands.

use std::collections::BTreeMap;

use contract::names::rotation::{NEXT, PREVIOUS, RETIRED};
use serde_json::Value;

use crate::{
    build::{common, labels},
    cache::{KeyDigest, key_digests, short_hash},
    credentials::Generated,
    kinds::Kind,
    observe::Observed,
    validate::ValidSystem,
};

/// How far a Secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Settled,
    /// There are next values; the store may not know them yet.
    Announced,
    /// There are former values; somebody may still use them.
    Swapped,
    /// There are former values that nobody uses; the store may still accept them.
    Retired,
}

/// A Secret that has every key it needs.
#[derive(Clone, Debug)]
pub struct Held {
    pub secret: Generated,
    pub name: String,
    pub resource_version: u64,
    pub(super) metadata: Value,
    pub(super) digests: BTreeMap<String, KeyDigest>,
}

impl Held {
    pub(super) fn read(
        system: &ValidSystem,
        observed: &Observed,
        secret: Generated,
    ) -> Option<Self> {
        let name = secret.name(&system.name);
        let live = observed.get(Kind::Secret, &name)?;
        let mut value = live.value();
        let held = Self {
            secret,
            resource_version: live.resource_version,
            digests: key_digests(&value),
            metadata: value["metadata"].take(),
            name,
        };
        let mut keys = secret
            .rotated_keys()
            .iter()
            .chain(secret.replaced_keys())
            .peekable();
        let takes_part = keys.peek().is_some() && !live.deleting;
        (takes_part && keys.all(|key| held.has(key))).then_some(held)
    }

    fn has(&self, key: &str) -> bool {
        self.digests.get(key).is_some_and(|digest| !digest.empty)
    }

    /// Keys that have another value beside them, named with a prefix.
    pub(super) fn beside(&self, prefix: &str) -> Vec<&'static str> {
        let keys = self.secret.rotated_keys().iter().copied();
        keys.filter(|key| self.digests.contains_key(&format!("{prefix}{key}")))
            .collect()
    }

    pub fn phase(&self) -> Phase {
        if !self.beside(PREVIOUS).is_empty() {
            Phase::Swapped
        } else if !self.beside(RETIRED).is_empty() {
            Phase::Retired
        } else if !self.beside(NEXT).is_empty() {
            Phase::Announced
        } else {
            Phase::Settled
        }
    }

    /// Names of the keys that a phase's Job needs: those in use, and those beside them.
    pub fn keys_at_work(&self) -> Vec<String> {
        let prefix = match self.phase() {
            Phase::Settled | Phase::Swapped => return Vec::new(),
            Phase::Announced => NEXT,
            Phase::Retired => RETIRED,
        };
        let keys = self.beside(prefix).into_iter();
        keys.flat_map(|key| [key.to_owned(), format!("{prefix}{key}")])
            .collect()
    }

    /// The rotation that the values in use belong to.
    pub fn rotation(&self) -> Option<&str> {
        self.annotation(labels::ROTATION)
    }

    /// The rotation that the next values belong to.
    pub fn next_rotation(&self) -> Option<&str> {
        self.annotation(labels::NEXT_ROTATION)
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata["annotations"][name].as_str()
    }
}

/// Digests of values that a rotation brought to a store, by key: the value's own, and that under
/// which the store's pod goes on.
pub(super) type StoreDigests = BTreeMap<String, (String, String)>;

pub(super) fn store_digests(metadata: &Value) -> StoreDigests {
    let text = metadata["annotations"][labels::STORE_DIGESTS].as_str();
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// The digest under which a store's pod knows a value. Values that a rotation brought keep that of
/// the value before; any other value has one of its own, so that an edit by hand restarts the
/// store, also one that brings a former value back.
pub fn store_digest(observed: &Observed, secret: &str, key: &str) -> Option<String> {
    let digests = common::secret_digests(observed, secret);
    let value = digests.get(key)?.hash.clone();
    let live = observed.value(Kind::Secret, secret).unwrap_or_default();
    let brought = store_digests(&live["metadata"]);
    Some(match brought.get(key) {
        Some((now, store)) if *now == value => store.clone(),
        Some((now, store)) if *store == value => {
            short_hash(format!("{value} after {now}").as_bytes())
        }
        _ => value,
    })
}
