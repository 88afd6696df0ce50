//! Whether a live object already says everything that is desired.
//!
//! `desired ⊆ live` after one normalisation: quantities compare by value, lists that server-side
//! apply merges compare by their key, and an empty desired value equals an absent one. What is
//! only in the live object (defaults, other managers' fields) is not looked at; that a field was
//! removed from the desired object is noticed by the hash in `apply`, not here.

use serde_json::Value;

use crate::quantity;

/// Fields whose text is a quantity.
const QUANTITIES: [&str; 5] = ["cpu", "memory", "storage", "ephemeral-storage", "sizeLimit"];

/// `None` if `live` contains `desired`, else the path of the first difference.
pub fn difference(desired: &Value, live: &Value) -> Option<String> {
    compare("", desired, Some(live))
}

fn compare(path: &str, desired: &Value, live: Option<&Value>) -> Option<String> {
    let Some(live) = live else {
        return (!is_empty(desired)).then(|| path.to_owned());
    };
    match (desired, live) {
        (Value::Object(fields), Value::Object(live_fields)) => {
            fields.iter().find_map(|(key, value)| {
                compare(&format!("{path}/{key}"), value, live_fields.get(key))
            })
        }
        (Value::Array(items), Value::Array(live_items)) => compare_lists(path, items, live_items),
        _ if same_scalar(path, desired, live) => None,
        _ => Some(path.to_owned()),
    }
}

fn compare_lists(path: &str, items: &[Value], live: &[Value]) -> Option<String> {
    let Some(key) = merge_key(path) else {
        if items.len() != live.len() {
            return Some(path.to_owned());
        }
        return items
            .iter()
            .zip(live)
            .enumerate()
            .find_map(|(index, (item, live))| {
                compare(&format!("{path}/{index}"), item, Some(live))
            });
    };
    items.iter().find_map(|item| {
        let wanted = item.get(key)?;
        let found = live.iter().find(|live| live.get(key) == Some(wanted));
        compare(&format!("{path}/{}", text(wanted)), item, found)
    })
}

/// The key by which server-side apply merges the list at `path`, `None` for lists that have one
/// owner.
fn merge_key(path: &str) -> Option<&'static str> {
    Some(match path.rsplit('/').next().unwrap_or_default() {
        "containers" | "initContainers" | "env" | "volumes" | "ports" => "name",
        "volumeMounts" => "mountPath",
        "ownerReferences" => "uid",
        _ => return None,
    })
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn same_scalar(path: &str, desired: &Value, live: &Value) -> bool {
    if desired == live {
        return true;
    }
    let field = path.rsplit('/').next().unwrap_or_default();
    let (Some(desired), Some(live)) = (desired.as_str(), live.as_str()) else {
        return false;
    };
    QUANTITIES.contains(&field)
        && quantity::milli(desired).is_some_and(|value| quantity::milli(live) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contained() {
        for (desired, live) in [
            (json!({"a": 1}), json!({"a": 1, "b": 2})),
            (json!({"a": {"b": "x"}}), json!({"a": {"b": "x", "c": 1}})),
            (json!({"a": ""}), json!({})),
            (json!({"a": null, "b": [], "c": {}, "d": false}), json!({})),
            (json!({"cpu": "1"}), json!({"cpu": "1000m"})),
            (json!({"memory": "1Gi"}), json!({"memory": "1024Mi"})),
            (
                json!({"containers": [{"name": "b"}]}),
                json!({"containers": [{"name": "a"}, {"name": "b", "image": "x"}]}),
            ),
            (
                json!({"env": [{"name": "A", "value": ""}]}),
                json!({"env": [{"name": "A"}]}),
            ),
            (
                json!({"volumeMounts": [{"mountPath": "/a", "name": "a"}]}),
                json!({"volumeMounts": [{"mountPath": "/b", "name": "b"}, {"mountPath": "/a", "name": "a"}]}),
            ),
            (json!({"args": ["a", "b"]}), json!({"args": ["a", "b"]})),
            (
                json!({"ownerReferences": [{"uid": "1"}]}),
                json!({"ownerReferences": [{"uid": "0"}, {"uid": "1"}]}),
            ),
        ] {
            assert_eq!(difference(&desired, &live), None, "{desired} in {live}");
        }
    }

    #[test]
    fn not_contained() {
        for (desired, live, path) in [
            (json!({"a": 1}), json!({"a": 2}), "/a"),
            (json!({"a": 1}), json!({}), "/a"),
            (json!({"a": 0}), json!({}), "/a"),
            (json!({"a": true}), json!({"a": false}), "/a"),
            (json!({"a": {"b": "x"}}), json!({"a": {}}), "/a/b"),
            (json!({"cpu": "1"}), json!({"cpu": "999m"}), "/cpu"),
            (json!({"name": "1"}), json!({"name": "1000m"}), "/name"),
            (json!({"args": ["a"]}), json!({"args": ["a", "b"]}), "/args"),
            (
                json!({"args": ["a", "b"]}),
                json!({"args": ["b", "a"]}),
                "/args/0",
            ),
            (
                json!({"containers": [{"name": "a"}]}),
                json!({"containers": [{"name": "b"}]}),
                "/containers/a",
            ),
            (
                json!({"containers": [{"name": "a", "image": "x"}]}),
                json!({"containers": [{"name": "a", "image": "y"}]}),
                "/containers/a/image",
            ),
            (json!({"a": "x"}), json!({"a": 1}), "/a"),
            (json!({"a": {}}), json!({"a": "x"}), "/a"),
        ] {
            assert_eq!(
                difference(&desired, &live).as_deref(),
                Some(path),
                "{desired} in {live}"
            );
        }
    }
}
