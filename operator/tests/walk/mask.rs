//! The state of a namespace, without what each write changes. Unlike between two runs, passwords
//! and digests must stay what they were.

use payment_operator::build::{labels, names};
use serde_json::{Map, Value};

use crate::{scenario::SYSTEM, state::State, world::Objects};

/// The last three tell of the way: why pods were restarted, and from which generation they are.
const VARYING: [&str; 11] = [
    "resourceVersion",
    "generation",
    "observedGeneration",
    "creationTimestamp",
    "lastTransitionTime",
    "managedFields",
    "clusterIPs",
    "pass",
    labels::RESTART_REASON,
    labels::DESIRED_HASH,
    "rendering",
];

/// Everything: the system with its status, and all its objects.
pub fn everything(objects: &Objects) -> State {
    let lasting = objects.iter().filter(|((_, name), _)| !is_record(name));
    let masked = lasting.map(|((kind, name), object)| {
        let name = match *kind {
            // A Job that is run again has its name, and another identity.
            "Job" => "of the migration",
            _ => name,
        };
        (format!("{kind} {name}"), mask(object))
    });
    masked.collect()
}

/// The record of the generation that was accepted last.
pub fn is_record(name: &str) -> bool {
    name == names::accepted(SYSTEM)
}

/// What the operator made of the system.
pub fn made(objects: &Objects) -> State {
    let mut state = everything(objects);
    state.retain(|name, _| !name.starts_with("PaymentSystem "));
    state
}

fn mask(value: &Value) -> Value {
    match value {
        Value::String(text) if is_uid(text) => Value::from("a uid"),
        Value::Array(items) => items.iter().map(mask).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, value)| {
                !VARYING.contains(&key.as_str()) && (*key != "clusterIP" || **value == "None")
            });
            let masked = kept
                .map(|(key, value)| (key.clone(), mask(value)))
                .filter(|(_, value)| value.as_object().is_none_or(|fields| !fields.is_empty()));
            Value::Object(masked.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn is_uid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36 && [8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-')
}
