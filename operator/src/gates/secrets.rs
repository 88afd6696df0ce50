//! Secrets that must be there before the pods that read them.
//!
//! Pure. A fault names the Secret and its key, and says what to do.

use contract::{
    Role,
    names::rotation::{NEXT, PREVIOUS},
};
use crds::{reconciliation::SecretKeyRef, tls::StoreTls};

use super::{Part, condition};
use crate::{
    build::common::{self, CERTIFICATE_AND_AUTHORITY, CERTIFICATE_PAIR},
    cache::NamedSecret,
    observe::Observed,
    reconciliation,
    validate::ValidSystem,
};

const UNREADABLE: &str = "SecretUnreadable";
const MISSING: &str = "SecretMissing";
const KEY_MISSING: &str = "SecretKeyMissing";
const KEY_INVALID: &str = "SecretKeyInvalid";
pub(super) const REASONS: [&str; 4] = [UNREADABLE, MISSING, KEY_MISSING, KEY_INVALID];

/// `None` if a Secret has all keys.
pub(super) fn fault(
    observed: &Observed,
    condition: &'static str,
    secret: &str,
    keys: &[&str],
) -> Option<Part> {
    match observed.named_secrets.get(secret) {
        Some(NamedSecret::Unreadable(error)) => {
            let message = format!("Secret {secret} cannot be read: {error}; trying again");
            return Some(Part::waiting(condition, UNREADABLE, message));
        }
        Some(NamedSecret::Absent) => {
            let message = format!(
                "Secret {secret} does not exist: create it with the keys {}",
                keys.join(", ")
            );
            return Some(Part::failed(condition, MISSING, message));
        }
        Some(NamedSecret::Present(_)) | None => {}
    }
    let digests = common::secret_digests(observed, secret);
    let missing: Vec<&str> = keys
        .iter()
        .copied()
        .filter(|key| digests.get(*key).is_none_or(|digest| digest.empty))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!(
        "Secret {secret} lacks {}: add to its data",
        missing.join(", ")
    );
    Some(Part::failed(condition, KEY_MISSING, message))
}

pub(super) fn channels(system: &ValidSystem, observed: &Observed) -> Part {
    let secret = system.channel_secret();
    let keys = system.channel_keys();
    fault(observed, condition::CHANNELS, &secret, &keys).unwrap_or_else(|| {
        let message = format!("keys are read from Secret {secret}");
        Part::ready(condition::CHANNELS, "KeysPresent", message)
    })
}

/// Passwords are spliced into SQL, also those beside the ones in use: an adopted Secret may hold
/// one that cannot be.
pub(super) fn unquotable(observed: &Observed, secret: &str, keys: &[&str]) -> Option<Part> {
    let digests = common::secret_digests(observed, secret);
    let all = ["", NEXT, PREVIOUS]
        .iter()
        .flat_map(|prefix| keys.iter().map(move |key| format!("{prefix}{key}")));
    let unquotable = |key: &String| digests.get(key).is_some_and(|digest| !digest.plain);
    let key = all.into_iter().find(unquotable)?;
    let message = format!(
        "Secret {secret}: {key} has characters other than letters, digits and . _ ~ -: choose another password"
    );
    Some(Part::failed(condition::DATABASE, KEY_INVALID, message))
}

/// The Secrets of the reconciliation, if the specification names any. One that is missing holds
/// back the reconciliation alone.
pub(super) fn reconciliation(system: &ValidSystem, observed: &Observed) -> Option<Part> {
    const CONDITION: &str = condition::RECONCILIATION_SECRETS;
    let named: Vec<_> = reconciliation::secrets(&system.spec.reconciliation).collect();
    let first_fault = named
        .iter()
        .find_map(|secret| fault(observed, CONDITION, &secret.name, &[secret.key.as_str()]));
    let ready = || {
        let keys: Vec<String> = named
            .iter()
            .map(|secret| format!("{} of Secret {}", secret.key, secret.name))
            .collect();
        let message = format!("reads {}", keys.join(", "));
        Part::ready(CONDITION, "KeysPresent", message)
    };
    (!named.is_empty()).then(|| first_fault.unwrap_or_else(ready))
}

/// The certificate that a store shows, and the authority by which it is verified.
pub(super) fn certificate(
    observed: &Observed,
    condition: &'static str,
    tls: Option<&StoreTls>,
) -> Option<Part> {
    let secret = &tls?.certificate_ref.name;
    fault(observed, condition, secret, CERTIFICATE_AND_AUTHORITY)
}

/// The authority by which a server is verified.
pub(super) fn authority(
    observed: &Observed,
    condition: &'static str,
    authority: Option<SecretKeyRef>,
) -> Option<Part> {
    let secret = authority?;
    fault(observed, condition, &secret.name, &[&secret.key])
}

/// The certificates that services show. One that is missing holds back its service alone.
pub(super) fn certificates(system: &ValidSystem, observed: &Observed) -> Vec<Part> {
    let shown = [
        (condition::PAYMENT_CERTIFICATE, Role::Api),
        (condition::CALLBACK_CERTIFICATE, Role::Callback),
    ];
    let part = |(condition, role)| {
        let secret = system.certificate(role)?;
        let present = || {
            let message = format!("HTTPS is served with Secret {secret}");
            Part::ready(condition, "KeysPresent", message)
        };
        Some(fault(observed, condition, secret, CERTIFICATE_PAIR).unwrap_or_else(present))
    };
    shown.into_iter().filter_map(part).collect()
}
