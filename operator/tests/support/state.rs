//! A state of a system that can be compared with that of another run.

use std::collections::BTreeMap;

use payment_operator::build::labels;
use serde_json::{Map, Value, json};

use super::world::Objects;

/// Objects by kind and name, without what differs between any two runs.
pub type State = BTreeMap<String, Value>;

/// Fields that differ between any two runs and mean nothing.
const VARYING: [&str; 14] = [
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "lastTransitionTime",
    "clusterIP",
    "clusterIPs",
    "pass",
    labels::DESIRED_HASH,
    labels::TEMPLATE_HASH,
    // Whether a Secret was there before its store, or came after, is a matter of time.
    labels::RESTART_REASON,
    "accepted.json",
    labels::CONFIG_HASH,
    labels::CREDENTIALS_HASH,
    labels::STORE_DIGESTS,
];

/// The state of a namespace. Digests that cover the namespace's name are left out: what they are
/// made from is compared itself, and so is how often pods were replaced.
pub fn state(objects: &Objects, namespace: &str, generations: bool) -> State {
    let names: BTreeMap<&str, String> = objects
        .iter()
        .filter_map(|((kind, name), object)| {
            let uid = object["metadata"]["uid"].as_str()?;
            Some((uid, format!("uid of {kind} {name}")))
        })
        .collect();
    let mask = Mask {
        namespace,
        names,
        generations,
    };
    let masked = objects.iter().map(|((kind, name), object)| {
        let mut object = mask.value(object);
        if *kind == "Secret" {
            lengths(&mut object);
        }
        (format!("{kind} {name}"), object)
    });
    masked.collect()
}

struct Mask<'a> {
    namespace: &'a str,
    names: BTreeMap<&'a str, String>,
    /// Whether objects are compared by how often they were changed.
    generations: bool,
}

impl Mask<'_> {
    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                let kept = fields
                    .iter()
                    .filter(|(key, value)| **value == "None" || !self.varies(key));
                let masked = kept
                    .map(|(key, value)| (key.clone(), self.value(value)))
                    .filter(|(_, value)| *value != json!({}));
                Value::Object(masked.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    fn varies(&self, field: &str) -> bool {
        let generation = ["generation", "observedGeneration"].contains(&field);
        VARYING.contains(&field) || generation && !self.generations
    }

    fn text(&self, text: &str) -> String {
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        let bytes = text.as_bytes();
        let dashes = [8, 13, 18, 23];
        if bytes.len() == 36 && dashes.iter().all(|at| bytes[*at] == b'-') {
            return "uid of what is gone".to_owned();
        }
        text.replace(self.namespace, "NAMESPACE")
    }
}

/// Of generated values only the length is the same in each run.
fn lengths(secret: &mut Value) {
    let Some(data) = secret["data"].as_object_mut() else {
        return;
    };
    for value in data.values_mut() {
        // Keys of one size differ by some characters in length.
        let length = value.as_str().unwrap_or_default().len();
        *value = json!(format!("about {} characters", length.div_ceil(256) * 256));
    }
}

/// The first differences between two states, in words.
pub fn differences(expected: &State, found: &State) -> Vec<String> {
    let mut all = Vec::new();
    for (name, object) in expected {
        match found.get(name) {
            None => all.push(format!("{name} is missing")),
            Some(other) => compare(name, object, other, &mut all),
        }
    }
    let surplus = found.keys().filter(|name| !expected.contains_key(*name));
    all.extend(surplus.map(|name| format!("{name} should not exist")));
    all
}

fn compare(path: &str, expected: &Value, found: &Value, all: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(fields), Value::Object(others)) => {
            for (key, value) in fields {
                let other = others.get(key).unwrap_or(&Value::Null);
                compare(&format!("{path}/{key}"), value, other, all);
            }
            for (key, other) in others.iter().filter(|(key, _)| !fields.contains_key(*key)) {
                all.push(format!("{path}/{key}: nothing expected, found {other}"));
            }
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            for (index, (item, other)) in items.iter().zip(others).enumerate() {
                compare(&format!("{path}/{index}"), item, other, all);
            }
        }
        _ if expected == found => {}
        _ => all.push(format!("{path}: expected {expected}, found {found}")),
    }
}
