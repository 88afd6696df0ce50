//! Credentials the operator makes: once, if their Secret does not exist.
//!
//! Guarantees: a Secret that exists is adopted as it is, never overwritten (only a rotation that
//! its owner asks for replaces values), whether the operator
//! made it, an earlier PaymentSystem of the same name left it, or a person wrote it. Making one is
//! a single create request, so a crash leaves either the whole Secret or none; one that is to go
//! with its PaymentSystem belongs to it from that request on.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::names::channel_key as key;
use contract::names::rotation::{COORDINATOR_PASSWORD, PASSWORD};
use crds::resources::Retention;
use serde_json::{Value, json};

use crate::{
    build::{common, coordinator, labels, names, secrets},
    keys::{KeyError, password, rsa_pair, upper_hex},
    validate::ValidSystem,
};

/// A Secret the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    Mysql,
    Redis,
    Coordinator,
    Orders,
    Simulator,
}

/// The Secrets a system needs.
pub fn needed(system: &ValidSystem) -> Vec<Generated> {
    let spec = &system.spec;
    [
        (Generated::Mysql, spec.mysql.external.is_none()),
        (Generated::Redis, spec.redis.external.is_none()),
        (
            Generated::Coordinator,
            spec.transaction_coordinator.external.is_none(),
        ),
        (
            Generated::Orders,
            system.orders().is_some() && spec.mysql.external.is_none(),
        ),
        (Generated::Simulator, spec.channels.simulator),
    ]
    .into_iter()
    .filter_map(|(secret, needed)| needed.then_some(secret))
    .collect()
}

impl Generated {
    pub fn name(self, system: &str) -> String {
        match self {
            Self::Mysql => names::mysql(system),
            Self::Redis => names::redis(system),
            Self::Coordinator => names::coordinator(system),
            Self::Orders => names::orders(system),
            Self::Simulator => names::simulator(system),
        }
    }

    /// What becomes of it when its PaymentSystem is deleted.
    pub fn retention(self, system: &ValidSystem) -> Retention {
        match self {
            Self::Mysql | Self::Coordinator | Self::Orders => system.spec.mysql.retention,
            Self::Redis => system.spec.redis.retention,
            Self::Simulator => Retention::Delete,
        }
    }

    pub const fn component(self) -> &'static str {
        match self {
            Self::Mysql => labels::component::MYSQL,
            Self::Redis => labels::component::REDIS,
            Self::Coordinator => labels::component::COORDINATOR,
            Self::Orders => labels::component::ORDERS,
            Self::Simulator => labels::component::SIMULATOR,
        }
    }

    /// The keys of its data.
    pub fn keys(self) -> Vec<&'static str> {
        match self {
            Self::Mysql => vec!["root-password", "password", "coordinator-password"],
            Self::Redis | Self::Orders => vec!["password"],
            Self::Coordinator => vec![
                coordinator::CONSOLE_USER,
                coordinator::CONSOLE_PASSWORD,
                coordinator::SECRET_KEY,
            ],
            Self::Simulator => {
                let all = key::WECHAT
                    .iter()
                    .chain(&key::ALIPAY)
                    .chain(&key::SIMULATOR);
                all.copied().collect()
            }
        }
    }

    /// Keys whose values are replaced in two phases: their stores accept two passwords at a time.
    pub const fn rotated_keys(self) -> &'static [&'static str] {
        match self {
            Self::Mysql => &[PASSWORD, COORDINATOR_PASSWORD],
            Self::Redis | Self::Orders => &[PASSWORD],
            Self::Coordinator | Self::Simulator => &[],
        }
    }

    /// Keys whose values only one server knows: a restart brings it the new ones.
    pub const fn replaced_keys(self) -> &'static [&'static str] {
        match self {
            Self::Coordinator => &[coordinator::CONSOLE_PASSWORD, coordinator::SECRET_KEY],
            Self::Mysql | Self::Redis | Self::Orders | Self::Simulator => &[],
        }
    }

    /// Whether a rotation changes it. The simulator's keys are nobody's secret.
    pub const fn rotates(self) -> bool {
        !self.rotated_keys().is_empty() || !self.replaced_keys().is_empty()
    }

    /// Characters of a password.
    pub fn length(self, key: &str) -> usize {
        if key == coordinator::SECRET_KEY {
            64
        } else {
            32
        }
    }

    fn values(self) -> Result<BTreeMap<&'static str, String>, KeyError> {
        Ok(match self {
            Self::Mysql => self.passwords(&["root-password", PASSWORD, COORDINATOR_PASSWORD])?,
            Self::Redis | Self::Orders => self.passwords(&[PASSWORD])?,
            Self::Coordinator => {
                let mut values =
                    self.passwords(&[coordinator::CONSOLE_PASSWORD, coordinator::SECRET_KEY])?;
                values.insert(coordinator::CONSOLE_USER, "seata".to_owned());
                values
            }
            Self::Simulator => simulator_keys()?,
        })
    }

    fn passwords(self, keys: &[&'static str]) -> Result<BTreeMap<&'static str, String>, KeyError> {
        keys.iter()
            .map(|key| Ok((*key, password(self.length(key))?)))
            .collect()
    }

    /// The Secret with fresh values, ready to be created.
    pub fn manifest(self, system: &ValidSystem) -> Result<Value, KeyError> {
        let data: BTreeMap<_, _> = self
            .values()?
            .into_iter()
            .map(|(key, value)| (key, STANDARD.encode(value)))
            .collect();
        let mut said = secrets::manifest(system, self).value;
        let hash = common::digest(&said);
        said["metadata"]["annotations"][labels::DESIRED_HASH] = json!(hash);
        // Fresh values are those of the rotation that is asked for.
        if let (true, Some(asked)) = (self.rotates(), &system.spec.credentials) {
            said["metadata"]["annotations"][labels::ROTATION] = json!(asked.rotation);
        }
        said["type"] = json!("Opaque");
        said["data"] = json!(data);
        Ok(said)
    }
}

/// Both halves of every key the simulated channels and their client need.
fn simulator_keys() -> Result<BTreeMap<&'static str, String>, KeyError> {
    let (wechat_merchant, wechat_channel) = (rsa_pair()?, rsa_pair()?);
    let (alipay_app, alipay_channel) = (rsa_pair()?, rsa_pair()?);
    Ok(BTreeMap::from([
        (
            key::WECHAT_APP_ID,
            format!("wx{}", upper_hex(8)?.to_lowercase()),
        ),
        (key::WECHAT_MCH_ID, "1900000001".to_owned()),
        (key::WECHAT_API_KEY, password(32)?),
        (key::WECHAT_PRIVATE_KEY, wechat_merchant.private),
        (key::WECHAT_MERCHANT_SERIAL, upper_hex(20)?),
        (
            key::WECHAT_PUBLIC_KEY_ID,
            format!("PUB_KEY_ID_{}", upper_hex(16)?),
        ),
        (key::WECHAT_PUBLIC_KEY, wechat_channel.public),
        (key::ALIPAY_APP_ID, "2021000000000001".to_owned()),
        (key::ALIPAY_PRIVATE_KEY, alipay_app.private),
        (key::ALIPAY_PUBLIC_KEY, alipay_channel.public),
        (key::SIMULATOR_WECHAT_PRIVATE_KEY, wechat_channel.private),
        (key::SIMULATOR_ALIPAY_PRIVATE_KEY, alipay_channel.private),
        (
            key::SIMULATOR_WECHAT_MERCHANT_PUBLIC_KEY,
            wechat_merchant.public,
        ),
        (key::SIMULATOR_ALIPAY_APP_PUBLIC_KEY, alipay_app.public),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_secret_has_the_keys_it_names() {
        for secret in [
            Generated::Mysql,
            Generated::Redis,
            Generated::Coordinator,
            Generated::Orders,
            Generated::Simulator,
        ] {
            let mut keys = secret.keys();
            keys.sort_unstable();
            keys.dedup();
            let made = secret.values().unwrap();
            assert_eq!(keys, made.into_keys().collect::<Vec<_>>(), "{secret:?}");
        }
    }

    #[test]
    fn the_simulator_gets_every_key_of_the_contract() {
        let keys = simulator_keys().unwrap();
        for name in key::WECHAT
            .iter()
            .chain(&key::ALIPAY)
            .chain(&key::SIMULATOR)
        {
            assert!(keys.contains_key(name), "{name}");
        }
        assert_eq!(keys[key::WECHAT_API_KEY].len(), 32);
        assert_eq!(keys[key::WECHAT_MERCHANT_SERIAL].len(), 40);
    }
}
