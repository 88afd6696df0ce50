//! The keys that WeChat Pay is believed by.
//!
//! Guarantees: several keys live at once, public keys and platform certificates side by side,
//! because WeChat Pay moves a merchant from one to the next in small steps; a certificate counts
//! only between its dates.
//!
//! Not here: where certificates come from (`certificates`).

use std::sync::Arc;

use contract::names::channel_key as key;
use jiff::Timestamp;

use super::certificates::Certificates;
use crate::credentials::{Files, LoadError};
use crate::crypto::{VerifyingKey, key_blocks};

/// What the ids of WeChat Pay public keys start with; all other ids are hex serial numbers.
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_";

pub(super) struct TrustedKeys {
    public: Vec<(String, Arc<VerifyingKey>)>,
    certificates: Option<Arc<Certificates>>,
}

impl TrustedKeys {
    /// Without certificates the public key is indispensable, with them it may be absent.
    pub(super) fn load(
        files: &Files,
        certificates: Option<Arc<Certificates>>,
    ) -> Result<Self, LoadError> {
        let absent = !files.has(key::WECHAT_PUBLIC_KEY) && !files.has(key::WECHAT_PUBLIC_KEY_ID);
        let public = if certificates.is_some() && absent {
            Vec::new()
        } else {
            public_keys(files)?
        };
        Ok(Self {
            public,
            certificates,
        })
    }

    pub(super) const fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.certificates.as_ref()
    }

    /// The key of that id. An unknown serial number makes the next download of certificates due.
    pub(super) fn get(&self, id: &str, now: Timestamp) -> Option<Arc<VerifyingKey>> {
        let public = self.public.iter().find(|(known, _)| known == id);
        if let Some((_, key)) = public {
            return Some(Arc::clone(key));
        }
        let certificates = self.certificates.as_ref()?;
        let found = certificates.get(id, now);
        if found.is_none() && !id.starts_with(PUBLIC_KEY_ID) {
            certificates.unknown_seen();
        }
        found
    }

    /// The key we ask WeChat Pay to sign its answers with: the first public key, else the newest
    /// certificate.
    pub(super) fn preferred(&self, now: Timestamp) -> Option<String> {
        match self.public.first() {
            Some((id, _)) => Some(id.clone()),
            None => self.certificates.as_ref()?.newest(now),
        }
    }

    pub(super) fn ids(&self) -> Vec<String> {
        let certificates = self.certificates.iter().flat_map(|all| all.serials());
        let public = self.public.iter().map(|(id, _)| id.clone());
        public.chain(certificates).collect()
    }
}

fn public_keys(files: &Files) -> Result<Vec<(String, Arc<VerifyingKey>)>, LoadError> {
    let ids = files.text(key::WECHAT_PUBLIC_KEY_ID)?;
    let ids: Vec<&str> = ids
        .lines()
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .collect();
    if ids
        .iter()
        .any(|id| !id.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(files.invalid(
            key::WECHAT_PUBLIC_KEY_ID,
            "has a line of more than one word",
        ));
    }
    let blocks = key_blocks(files.text(key::WECHAT_PUBLIC_KEY)?.trim());
    if ids.len() != blocks.len() {
        let problem = format!("names {} keys for {} in the file", ids.len(), blocks.len());
        return Err(files.invalid(key::WECHAT_PUBLIC_KEY_ID, problem));
    }
    let parsed = ids.into_iter().zip(&blocks).map(|(id, block)| {
        VerifyingKey::parse(block)
            .map(|parsed| (id.to_owned(), Arc::new(parsed)))
            .map_err(|error| files.invalid(key::WECHAT_PUBLIC_KEY, error.to_string()))
    });
    parsed.collect()
}
