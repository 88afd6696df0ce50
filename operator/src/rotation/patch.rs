//! The writes as JSON patches, which move values inside of the API server.

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::names::rotation::{NEXT, PREVIOUS, RETIRED};
use serde_json::{Value, json};

use super::{Held, Write, held::store_digests, wanted};
use crate::{
    build::labels,
    keys::{KeyError, password},
    observe::Observed,
    rotation::{self, store_digest},
    validate::ValidSystem,
};

impl Write {
    /// The operations of this write upon a Secret. They hold for the version that was looked at.
    pub fn operations(
        self,
        system: &ValidSystem,
        observed: &Observed,
        held: &Held,
    ) -> Result<Vec<Value>, KeyError> {
        let version = held.resource_version.to_string();
        let mut all =
            vec![json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version})];
        if !held.metadata["annotations"].is_object() {
            all.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        match self {
            Self::Announce(secret) => {
                all.extend(stamp(labels::NEXT_ROTATION, wanted(system)));
                for key in secret.rotated_keys() {
                    all.push(fresh(&format!("{NEXT}{key}"), secret.length(key))?);
                }
            }
            Self::Swap(_) => all.extend(swap(observed, held)),
            Self::Replace(secret) => {
                let others = rotation::held(system, observed);
                all.extend(stamp(labels::ROTATION, rotation::goal(system, &others)));
                for key in secret.replaced_keys() {
                    all.push(fresh(key, secret.length(key))?);
                }
            }
            Self::Retire(_) => {
                let former = held.beside(PREVIOUS).into_iter();
                all.extend(former.map(|key| {
                    let (from, path) = (format!("{PREVIOUS}{key}"), format!("{RETIRED}{key}"));
                    json!({"op": "move", "from": data(&from), "path": data(&path)})
                }));
            }
            Self::Clean(_) => {
                let former = held.beside(RETIRED).into_iter();
                all.extend(former.map(|key| {
                    let path = data(&format!("{RETIRED}{key}"));
                    json!({"op": "remove", "path": path})
                }));
            }
        }
        Ok(all)
    }
}

fn data(key: &str) -> String {
    format!("/data/{key}")
}

fn annotation(name: &str) -> String {
    format!("/metadata/annotations/{}", name.replace('/', "~1"))
}

fn stamp(name: &str, rotation: Option<&str>) -> Option<Value> {
    rotation.map(|rotation| json!({"op": "add", "path": annotation(name), "value": rotation}))
}

fn fresh(key: &str, length: usize) -> Result<Value, KeyError> {
    let value = STANDARD.encode(password(length)?);
    Ok(json!({"op": "add", "path": data(key), "value": value}))
}

fn swap(observed: &Observed, held: &Held) -> Vec<Value> {
    let mut all = Vec::new();
    let mut digests = store_digests(&held.metadata);
    for key in held.beside(NEXT) {
        let next = format!("{NEXT}{key}");
        let former = data(&format!("{PREVIOUS}{key}"));
        all.push(json!({"op": "copy", "from": data(key), "path": former}));
        all.push(json!({"op": "move", "from": data(&next), "path": data(key)}));
        let value = held.digests[&next].hash.clone();
        let store = store_digest(observed, &held.name, key).unwrap_or_default();
        digests.insert(key.to_owned(), (value, store));
    }
    let digests = json!(digests).to_string();
    all.push(json!({"op": "add", "path": annotation(labels::STORE_DIGESTS), "value": digests}));
    all.extend(stamp(labels::ROTATION, held.next_rotation()));
    let announced = held.next_rotation();
    all.extend(
        announced.map(|_| json!({"op": "remove", "path": annotation(labels::NEXT_ROTATION)})),
    );
    all
}
