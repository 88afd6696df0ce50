//! Whether a live object already says everything that is desired.
//!
//! `desired ⊆ live` after one normalisation: quantities compare by value, lists that server-side
//! apply merges compare by their key, and an empty desired value equals an absent one. What is
//! only in the live object (defaults, other managers' fields) is not looked at; that a field was
//! removed from the desired object is noticed by the hash in `apply`, not here.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use crate::quantity;

/// Fields whose text is a quantity.
const QUANTITIES: [&str; 5] = ["cpu", "memory", "storage", "ephemeral-storage", "sizeLimit"];

/// What is told of one place where `live` lacks something: its path, what is desired there and
/// what is there. Comparing ends where it breaks.
type Found<'a> = dyn FnMut(&str, &Value, Option<&Value>) -> ControlFlow<()> + 'a;

/// One place where a live object lacks what is desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub path: String,
    pub desired: Value,
    /// Absent if nothing is there.
    pub live: Option<Value>,
}

/// `None` if `live` contains `desired`, else the path of the first difference.
pub fn difference(desired: &Value, live: &Value) -> Option<String> {
    let mut first = None;
    let _ = compare("", desired, Some(live), &mut |path, _, _| {
        first = Some(path.to_owned());
        ControlFlow::Break(())
    });
    first
}

/// Every place where `live` lacks what is desired; none if and only if [`difference`] finds none.
pub fn differences(desired: &Value, live: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    let _ = compare("", desired, Some(live), &mut |path, desired, live| {
        all.push(Difference {
            path: path.to_owned(),
            desired: desired.clone(),
            live: live.cloned(),
        });
        ControlFlow::Continue(())
    });
    all
}

fn compare(
    path: &str,
    desired: &Value,
    live: Option<&Value>,
    found: &mut Found<'_>,
) -> ControlFlow<()> {
    match (desired, live) {
        (_, None) if is_empty(desired) => ControlFlow::Continue(()),
        (Value::Object(fields), Some(Value::Object(live))) => {
            fields.iter().try_for_each(|(key, value)| {
                compare(&format!("{path}/{key}"), value, live.get(key), found)
            })
        }
        (Value::Array(items), Some(Value::Array(live))) => compare_lists(path, items, live, found),
        (_, Some(live)) if same_scalar(path, desired, live) => ControlFlow::Continue(()),
        _ => found(path, desired, live),
    }
}

fn compare_lists(
    path: &str,
    items: &[Value],
    live: &[Value],
    found: &mut Found<'_>,
) -> ControlFlow<()> {
    // Ports of network policies have no names: that list is one.
    let merged = |key: &&str| items.iter().all(|item| item.get(*key).is_some());
    let Some(key) = merge_key(path).filter(merged) else {
        if items.len() != live.len() {
            return found(path, &json!(items), Some(&json!(live)));
        }
        let mut pairs = items.iter().zip(live).enumerate();
        return pairs.try_for_each(|(index, (item, live))| {
            compare(&format!("{path}/{index}"), item, Some(live), found)
        });
    };
    items.iter().try_for_each(|item| {
        let wanted = &item[key];
        let live = live.iter().find(|live| live.get(key) == Some(wanted));
        compare(&format!("{path}/{}", text(wanted)), item, live, found)
    })
}

/// The key by which server-side apply merges the list at `path`, `None` for lists that have one
/// owner.
pub fn merge_key(path: &str) -> Option<&'static str> {
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
            assert_eq!(differences(&desired, &live), [], "{desired} in {live}");
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
            // As of a network policy: no names.
            (
                json!({"ports": [{"port": 3306}]}),
                json!({"ports": [{"port": 22}]}),
                "/ports/0/port",
            ),
            (
                json!({"ports": [{"port": 3306}]}),
                json!({"ports": [{"port": 3306}, {"port": 22}]}),
                "/ports",
            ),
            (json!({"a": "x"}), json!({"a": 1}), "/a"),
            (json!({"a": {}}), json!({"a": "x"}), "/a"),
        ] {
            assert_eq!(
                difference(&desired, &live).as_deref(),
                Some(path),
                "{desired} in {live}"
            );
            let all = differences(&desired, &live);
            assert_eq!(all[0].path, path, "{desired} in {live}");
        }
    }

    #[test]
    fn all_differences_are_told_with_both_sides() {
        let desired = json!({"a": 1, "b": {"c": "x"}, "d": [1], "e": 5});
        let live = json!({"a": 2, "b": {}, "d": [1, 2], "e": 5});
        let told: Vec<_> = differences(&desired, &live)
            .into_iter()
            .map(|difference| (difference.path, difference.desired, difference.live))
            .collect();
        assert_eq!(
            told,
            [
                ("/a".to_owned(), json!(1), Some(json!(2))),
                ("/b/c".to_owned(), json!("x"), None),
                ("/d".to_owned(), json!([1]), Some(json!([1, 2]))),
            ]
        );
    }
}
