//! Raw specification → [`ValidSystem`], which no later step bypasses.
//!
//! Pure. The API server has already checked the CEL rules; what they say is checked again here
//! only where a wrong value would build wrong objects, so that a resource that was stored under
//! older rules is refused in words instead of half applied.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    Role,
    names::{AUTHORITY_FILE, CERTIFICATE_FILE, PRIVATE_KEY_FILE},
};
use crds::{
    PaymentSystem, PaymentSystemSpec,
    orders::Orders,
    reconciliation::SecretKeyRef,
    tls::{ServerTls, StoreTls},
};
use kube::ResourceExt;

use crate::{acceptance, build::names, quantity, reconciliation};

/// Where an operator runs unless it is told.
pub const NAMESPACE: &str = "payment-system";

/// What the operator was started with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub runtime_image: Option<String>,
    pub simulator_image: Option<String>,
    /// Namespace of the operator's own pods, which read metrics of the systems' pods.
    pub namespace: String,
    /// Version of this operator: another one leaves pods as this one made them.
    pub version: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            runtime_image: None,
            simulator_image: None,
            namespace: NAMESPACE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A specification from which every object can be built.
#[derive(Clone, Debug)]
pub struct ValidSystem {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub generation: i64,
    pub settings: Settings,
    /// Digest of everything that was specified.
    pub inputs: String,
    /// Another version of the operator rendered what is there, and nobody has edited the
    /// specification since.
    pub keeps_rendering: bool,
    /// A rollout was taken back: the schema is newer than the services need.
    pub gone_back: bool,
    /// What the pods of the specification that was gone back to say of their restart, by workload.
    pub restart_reasons: BTreeMap<String, String>,
    pub spec: PaymentSystemSpec,
    pub runtime_image: String,
    /// Set if the simulator stands in for the channels.
    pub simulator_image: Option<String>,
    pub callback_base_url: String,
    /// `spec.reconciliation` as the runtime reads it.
    pub reconciliation: contract::config::Reconciliation,
    /// `innodb_buffer_pool_size` in bytes.
    pub buffer_pool_bytes: i128,
}

/// A specification that cannot work until its owner changes it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    #[error(
        "spec.payment.image is not set and the operator was started without --runtime-image: set one of them"
    )]
    RuntimeImageMissing,
    #[error(
        "spec.channels.simulator is true but the operator was started without --simulator-image: set it, or switch the simulator off"
    )]
    SimulatorImageMissing,
    #[error(
        "no payment channel is switched on: set channels.wechat.enabled, channels.alipay.enabled or channels.simulator to true"
    )]
    NoChannel,
    #[error("the channels must know where to call back: set channels.callbackBaseUrl or expose")]
    NoCallbackUrl,
    #[error("metadata.name has more than 30 characters: names of its objects are made from it")]
    NameTooLong,
    #[error("{field} is not a quantity such as 1Gi: {value}")]
    NotAQuantity { field: &'static str, value: String },
    #[error("{field} is not an amount of yuan such as 10000.00: {value}")]
    NotAnAmount { field: &'static str, value: String },
    #[error("{field} is not a percentage below 100 such as 0.6%: {value}")]
    NotARate { field: &'static str, value: String },
    #[error("{section}.autoscaling: minReplicas {min} is larger than maxReplicas {max}")]
    ReplicaRange {
        section: &'static str,
        min: i32,
        max: i32,
    },
    #[error("expose either by gateway or by ingress, not both")]
    ExposedTwice,
}

impl Invalid {
    /// Reason of the `Stalled` condition. Part of the API: never reword.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::RuntimeImageMissing => "RuntimeImageMissing",
            Self::SimulatorImageMissing => "SimulatorImageMissing",
            Self::NoChannel => "NoChannel",
            Self::NoCallbackUrl => "NoCallbackUrl",
            Self::NameTooLong => "NameTooLong",
            Self::NotAQuantity { .. } => "NotAQuantity",
            Self::NotAnAmount { .. } => "NotAnAmount",
            Self::NotARate { .. } => "NotARate",
            Self::ReplicaRange { .. } => "ReplicaRange",
            Self::ExposedTwice => "ExposedTwice",
        }
    }
}

/// Checks a specification.
pub fn validate(object: &PaymentSystem, settings: &Settings) -> Result<ValidSystem, Invalid> {
    let spec = &object.spec;
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_default();
    check(&name, spec)?;
    let runtime_image = acceptance::runtime_image(spec, settings.runtime_image.as_ref()).cloned();
    let simulator_image = match (spec.channels.simulator, &settings.simulator_image) {
        (true, None) => return Err(Invalid::SimulatorImageMissing),
        (true, Some(image)) => Some(image.clone()),
        (false, _) => None,
    };
    Ok(ValidSystem {
        callback_base_url: callback_base_url(&name, &namespace, spec)
            .ok_or(Invalid::NoCallbackUrl)?,
        reconciliation: reconciliation::configuration(&spec.reconciliation)?,
        buffer_pool_bytes: size(
            "mysql.innodbBufferPoolSize",
            &spec.mysql.innodb_buffer_pool_size,
        )?,
        runtime_image: runtime_image.ok_or(Invalid::RuntimeImageMissing)?,
        simulator_image,
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        settings: settings.clone(),
        inputs: acceptance::inputs(object, settings),
        gone_back: false,
        restart_reasons: BTreeMap::new(),
        keeps_rendering: keeps_rendering(object, settings),
        spec: spec.clone(),
        name,
        namespace,
    })
}

fn keeps_rendering(object: &PaymentSystem, settings: &Settings) -> bool {
    let status = object.status.as_ref();
    let rendering = status.and_then(|status| status.rendering.as_ref());
    rendering.is_some_and(|rendering| {
        rendering.operator != settings.version
            && acceptance::is_same(&rendering.inputs, &acceptance::inputs(object, settings))
    })
}

fn check(name: &str, spec: &PaymentSystemSpec) -> Result<(), Invalid> {
    if name.len() > 30 {
        return Err(Invalid::NameTooLong);
    }
    let channels = &spec.channels;
    if !(channels.simulator || channels.wechat.enabled || channels.alipay.enabled) {
        return Err(Invalid::NoChannel);
    }
    if spec
        .expose
        .as_ref()
        .is_some_and(|e| e.gateway.is_some() && e.ingress.is_some())
    {
        return Err(Invalid::ExposedTwice);
    }
    size("mysql.storage.size", &spec.mysql.storage.size)?;
    size("redis.storage.size", &spec.redis.storage.size)?;
    for (section, scaling) in [
        ("payment", &spec.payment.autoscaling),
        ("callback", &spec.callback.autoscaling),
    ] {
        let (min, max) = (scaling.min_replicas, scaling.max_replicas);
        if min > max {
            return Err(Invalid::ReplicaRange { section, min, max });
        }
    }
    Ok(())
}

fn size(field: &'static str, value: &str) -> Result<i128, Invalid> {
    quantity::units(value)
        .filter(|units| *units > 0)
        .ok_or_else(|| Invalid::NotAQuantity {
            field,
            value: value.to_owned(),
        })
}

fn callback_base_url(name: &str, namespace: &str, spec: &PaymentSystemSpec) -> Option<String> {
    let stated = spec.channels.callback_base_url.clone();
    stated
        .or_else(|| {
            spec.channels.simulator.then(|| {
                let service = names::callback(name);
                format!(
                    "http://{service}.{namespace}.svc:{}",
                    contract::ports::CALLBACK_SERVICE
                )
            })
        })
        .or_else(|| exposed_host(spec).map(|host| format!("https://{host}")))
}

fn exposed_host(spec: &PaymentSystemSpec) -> Option<String> {
    let expose = spec.expose.as_ref()?;
    let gateway = expose.gateway.as_ref();
    gateway
        .and_then(|gateway| gateway.hostnames.first().cloned())
        .or_else(|| expose.ingress.as_ref().map(|ingress| ingress.host.clone()))
}

/// Secrets that a specification names and the operator does not own.
pub fn named_secrets(spec: &PaymentSystemSpec) -> BTreeSet<String> {
    let mysql = spec
        .mysql
        .external
        .as_ref()
        .map(|external| external.secret_name.clone());
    let redis = spec
        .redis
        .external
        .as_ref()
        .and_then(|external| external.secret_name.clone());
    let channels = (!spec.channels.simulator).then(|| spec.channels.secret_name.clone());
    let reconciliation =
        reconciliation::secrets(&spec.reconciliation).map(|secret| secret.name.clone());
    let certificates = [
        &spec.payment.certificate_ref,
        &spec.callback.certificate_ref,
    ]
    .into_iter()
    .flatten()
    .map(|certificate| certificate.name.clone());
    let tls = store_certificates(spec).chain(authorities(spec).into_iter().flatten());
    let stores = [mysql, redis, channels].into_iter().flatten();
    stores
        .chain(reconciliation)
        .chain(certificates)
        .chain(tls.map(|secret| secret.name))
        .collect()
}

/// The keys of every certificate that a managed store shows.
fn store_certificates(spec: &PaymentSystemSpec) -> impl Iterator<Item = SecretKeyRef> {
    let shown = [&spec.mysql.tls, &spec.redis.tls].into_iter().flatten();
    shown.flat_map(certificate_keys)
}

/// What a store reads of its certificate's Secret.
pub fn certificate_keys(tls: &StoreTls) -> [SecretKeyRef; 2] {
    [CERTIFICATE_FILE, PRIVATE_KEY_FILE].map(|key| SecretKeyRef {
        name: tls.certificate_ref.name.clone(),
        key: key.to_owned(),
    })
}

/// By whom the database, the cache and the coordinator are verified.
fn authorities(spec: &PaymentSystemSpec) -> [Option<SecretKeyRef>; 3] {
    let (mysql, redis) = (&spec.mysql, &spec.redis);
    let external = mysql.external.as_ref().map(|external| &external.tls);
    let database = external.map_or_else(|| own(mysql.tls.as_ref()), |tls| named(tls.as_ref()));
    let external = redis.external.as_ref().map(|external| &external.tls);
    let cache = external.map_or_else(|| own(redis.tls.as_ref()), |tls| named(tls.as_ref()));
    let external = spec.transaction_coordinator.external.as_ref();
    let coordinator = external.and_then(|external| named(external.tls.as_ref()));
    [database, cache, coordinator]
}

fn own(tls: Option<&StoreTls>) -> Option<SecretKeyRef> {
    tls.map(|tls| SecretKeyRef {
        name: tls.certificate_ref.name.clone(),
        key: AUTHORITY_FILE.to_owned(),
    })
}

fn named(tls: Option<&ServerTls>) -> Option<SecretKeyRef> {
    tls.map(|tls| SecretKeyRef {
        name: tls.ca_ref.name.clone(),
        key: tls.ca_ref.key.clone(),
    })
}

impl ValidSystem {
    /// A Service's DNS name inside the cluster.
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    pub fn wechat(&self) -> bool {
        self.spec.channels.simulator || self.spec.channels.wechat.enabled
    }

    pub fn alipay(&self) -> bool {
        self.spec.channels.simulator || self.spec.channels.alipay.enabled
    }

    /// Name of the Secret that services read channel keys from.
    pub fn channel_secret(&self) -> String {
        if self.spec.channels.simulator {
            names::simulator(&self.name)
        } else {
            self.spec.channels.secret_name.clone()
        }
    }

    /// Whether services download WeChat Pay's platform certificates. The simulator's merchant has
    /// a public key.
    pub fn platform_certificates(&self) -> bool {
        let channels = &self.spec.channels;
        !channels.simulator && channels.wechat.platform_certificates
    }

    fn alipay_certificates(&self) -> bool {
        let channels = &self.spec.channels;
        !channels.simulator && channels.alipay.certificate_mode
    }

    /// Keys of the channel Secret that services need.
    pub fn channel_keys(&self) -> Vec<&'static str> {
        use contract::names::channel_key as key;
        let mut keys = Vec::new();
        if self.wechat() {
            keys.extend(key::WECHAT);
        }
        if self.alipay() {
            keys.extend(key::ALIPAY);
        }
        if self.alipay() && self.alipay_certificates() {
            keys.extend(key::ALIPAY_CERTIFICATE_MODE);
        }
        let optional = self.optional_channel_keys();
        keys.retain(|key| !optional.contains(key));
        keys
    }

    /// Keys of the channel Secret that services read if they are there.
    pub fn optional_channel_keys(&self) -> Vec<&'static str> {
        use contract::names::channel_key as key;
        let mut keys = Vec::new();
        if self.wechat() && self.platform_certificates() {
            keys.extend([key::WECHAT_PUBLIC_KEY_ID, key::WECHAT_PUBLIC_KEY]);
        }
        if self.alipay() && !self.spec.channels.simulator {
            keys.push(key::ALIPAY_SELLER_ID);
        }
        if self.alipay() && self.alipay_certificates() {
            keys.push(key::ALIPAY_PUBLIC_KEY);
        }
        keys
    }

    /// Secret with the database passwords.
    pub fn mysql_secret(&self) -> String {
        let external = self.spec.mysql.external.as_ref();
        external.map_or_else(
            || names::mysql(&self.name),
            |external| external.secret_name.clone(),
        )
    }

    /// By whom the database is verified. `None`: it is not.
    pub fn mysql_authority(&self) -> Option<SecretKeyRef> {
        let [database, _, _] = authorities(&self.spec);
        database
    }

    /// By whom the cache is verified. `None`: it is not.
    pub fn redis_authority(&self) -> Option<SecretKeyRef> {
        let [_, cache, _] = authorities(&self.spec);
        cache
    }

    /// By whom the transaction coordinator is verified. `None`: it is not.
    pub fn coordinator_authority(&self) -> Option<SecretKeyRef> {
        let [_, _, coordinator] = authorities(&self.spec);
        coordinator
    }

    /// Secret with the certificate that a role shows.
    pub fn certificate(&self, role: Role) -> Option<&str> {
        let certificate = match role {
            Role::Api => &self.spec.payment.certificate_ref,
            Role::Callback => &self.spec.callback.certificate_ref,
            _ => return None,
        };
        certificate.as_ref().map(|secret| secret.name.as_str())
    }

    /// The order service that comes with the system, if there is one.
    pub fn orders(&self) -> Option<&Orders> {
        let orders = self.spec.orders.as_ref();
        orders.filter(|orders| orders.external.is_none())
    }

    /// Where the password of the order database's user stands.
    pub fn orders_password(&self) -> SecretKeyRef {
        let external = self.spec.mysql.external.as_ref();
        let (name, key) = external.map_or_else(
            || (names::orders(&self.name), "password"),
            |external| (external.secret_name.clone(), "orders-password"),
        );
        SecretKeyRef {
            name,
            key: key.to_owned(),
        }
    }

    /// Secret with the cache's password, if it asks for one.
    pub fn redis_secret(&self) -> Option<String> {
        match &self.spec.redis.external {
            Some(external) => external.secret_name.clone(),
            None => Some(names::redis(&self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(change: impl FnOnce(&mut PaymentSystem)) -> PaymentSystem {
        let mut object = PaymentSystem::new("demo", PaymentSystemSpec::default());
        object.metadata.namespace = Some("payment".to_owned());
        object.spec.channels.simulator = true;
        change(&mut object);
        object
    }

    fn settings() -> Settings {
        Settings {
            runtime_image: Some("runtime:1".to_owned()),
            simulator_image: Some("simulator:1".to_owned()),
            ..Settings::default()
        }
    }

    #[test]
    fn each_fault_has_its_reason() {
        type Change = fn(&mut PaymentSystem);
        let cases: [(Change, &str); 8] = [
            (|o| o.spec.channels.simulator = false, "NoChannel"),
            (|o| o.metadata.name = Some("a".repeat(31)), "NameTooLong"),
            (
                |o| "1X".clone_into(&mut o.spec.mysql.storage.size),
                "NotAQuantity",
            ),
            (
                |o| "0".clone_into(&mut o.spec.mysql.innodb_buffer_pool_size),
                "NotAQuantity",
            ),
            (
                |o| "1.005".clone_into(&mut o.spec.reconciliation.second_person_above),
                "NotAnAmount",
            ),
            (
                |o| o.spec.reconciliation.fee_rates.wechat = Some("6".to_owned()),
                "NotARate",
            ),
            (
                |o| o.spec.payment.autoscaling.min_replicas = 11,
                "ReplicaRange",
            ),
            (
                |o| {
                    o.spec.channels.simulator = false;
                    o.spec.channels.wechat.enabled = true;
                },
                "NoCallbackUrl",
            ),
        ];
        for (change, reason) in cases {
            let error = validate(&system(change), &settings()).unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
        }
    }

    #[test]
    fn images_must_come_from_somewhere() {
        let none = Settings::default();
        let error = validate(&system(|_| ()), &none).unwrap_err();
        assert_eq!(error, Invalid::SimulatorImageMissing);
        let own = |o: &mut PaymentSystem| {
            o.spec.channels.simulator = false;
            o.spec.channels.wechat.enabled = true;
            o.spec.channels.callback_base_url = Some("https://pay.example.com".to_owned());
        };
        let error = validate(&system(own), &none).unwrap_err();
        assert_eq!(error, Invalid::RuntimeImageMissing);
    }

    #[test]
    fn the_simulator_calls_the_callback_service() {
        let valid = validate(&system(|_| ()), &settings()).unwrap();
        assert_eq!(
            valid.callback_base_url,
            "http://demo-callback.payment.svc:8088"
        );
    }
}
