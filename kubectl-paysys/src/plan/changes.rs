//! What changes in a document, field by field: old and new.
//!
//! Pure. Values of Secrets are never told. Long texts (configuration files) are told by the lines
//! that differ.

use std::collections::BTreeMap;

use payment_operator::{build::labels, kinds::Kind, subset};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// One field that changes. Texts of several lines are lists of the lines that go and come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) path: String,
    /// Absent if the field was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) old: Option<Value>,
    /// Absent if the field is taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) new: Option<Value>,
}

impl Change {
    fn new(path: String, old: Option<Value>, new: Option<Value>) -> Self {
        if let (Some(Value::String(before)), Some(Value::String(after))) = (&old, &new)
            && (before.contains('\n') || after.contains('\n'))
        {
            let (old, new) = (only_in(before, after), only_in(after, before));
            return Self {
                path,
                old: Some(json!(old)),
                new: Some(json!(new)),
            };
        }
        Self { path, old, new }
    }
}

/// The lines of one text that the other has fewer of.
fn only_in(text: &str, other: &str) -> Vec<String> {
    let mut there: BTreeMap<&str, usize> = BTreeMap::new();
    for line in other.lines() {
        *there.entry(line).or_default() += 1;
    }
    let missing = |line: &&str| match there.get_mut(*line) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    text.lines().filter(missing).map(str::to_owned).collect()
}

/// Everything that differs between two documents.
pub(super) fn between(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", Some(old), Some(new), &mut changes);
    changes
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    if let (Some(Value::Object(before)), Some(Value::Object(after))) = (old, new) {
        for key in before
            .keys()
            .chain(after.keys().filter(|key| !before.contains_key(*key)))
        {
            let path = format!("{path}/{key}");
            compare(&path, before.get(key), after.get(key), changes);
        }
        return;
    }
    let known = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    changes.push(Change::new(path.to_owned(), known(old), known(new)));
}

/// What applying a manifest changes of a live object: what it lacks, by the operator's own
/// comparison, and what the manifest before had and this one has no more.
pub(super) fn applied(
    kind: Kind,
    desired: &Value,
    live: &Value,
    before: Option<&Value>,
) -> Vec<Change> {
    let lacks = subset::differences(desired, live).into_iter();
    let mut changes: Vec<Change> = lacks
        .map(|lack| Change::new(lack.path, lack.live, Some(lack.desired)))
        .collect();
    if let Some(before) = before {
        removed("", before, desired, &mut changes);
    }
    changes.retain(|change| !OWN.iter().any(|own| change.path.ends_with(own)));
    if kind == Kind::Secret {
        changes.iter_mut().for_each(mask);
    }
    changes
}

/// What the operator notes for itself.
const OWN: [&str; 3] = [
    labels::DESIRED_HASH,
    labels::TEMPLATE_HASH,
    labels::RESTART_REASON,
];

fn mask(change: &mut Change) {
    let values = change.path.starts_with("/data") || change.path.starts_with("/stringData");
    if values {
        let hidden = |value: &Option<Value>| value.as_ref().map(|_| json!("***"));
        (change.old, change.new) = (hidden(&change.old), hidden(&change.new));
    }
}

/// Fields of `before` that `after` has no more. Lists that are merged by a key are looked through,
/// others are one value.
fn removed(path: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            removed_fields(path, before, after, changes);
        }
        (Value::Array(before), Value::Array(after)) => {
            let Some(key) = subset::merge_key(path) else {
                return;
            };
            let keyed = |items: &[Value]| -> Map<String, Value> {
                let named = |item: &Value| Some((item[key].as_str()?.to_owned(), item.clone()));
                items.iter().filter_map(named).collect()
            };
            removed_fields(path, &keyed(before), &keyed(after), changes);
        }
        _ => {}
    }
}

fn removed_fields(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<Change>,
) {
    for (key, value) in before {
        let path = format!("{path}/{key}");
        match after.get(key) {
            Some(after) => removed(&path, value, after, changes),
            None => changes.push(Change {
                path,
                old: Some(value.clone()),
                new: None,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_told() {
        let old = json!({"a": 1, "b": {"c": "x", "d": null}, "gone": true});
        let new = json!({"a": 2, "b": {"c": "x", "d": "new"}, "more": [1]});
        let told: Vec<String> = between(&old, &new)
            .into_iter()
            .map(|change| format!("{} {:?} {:?}", change.path, change.old, change.new))
            .collect();
        insta::assert_snapshot!("between", told.join("\n"));
    }

    #[test]
    fn of_long_texts_the_lines_that_differ_are_told() {
        let old = json!({"data": {"f": "a: 1\nenabled: true\nb: 2\nenabled: true\n"}});
        let new = json!({"data": {"f": "a: 1\nenabled: true\nb: 3\n"}});
        let changes = between(&old, &new);
        assert_eq!(changes[0].old, Some(json!(["b: 2", "enabled: true"])));
        assert_eq!(changes[0].new, Some(json!(["b: 3"])));
    }

    #[test]
    fn fields_that_are_taken_out_are_told() {
        let container = |more: Value| json!({"containers": [{"name": "a", "x": 1, "env": more}]});
        let before = container(json!([{"name": "A"}, {"name": "B", "value": "b"}]));
        let after = container(json!([{"name": "A"}]));
        let changes = applied(Kind::Deployment, &after, &before, Some(&before));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].path, "/containers/a/env/B");
        assert_eq!(changes[0].new, None);
    }

    #[test]
    fn values_of_secrets_are_never_told() {
        let desired = json!({"data": {"password": "bmV3"}, "metadata": {"labels": {"a": "b"}}});
        let live = json!({"data": {"password": "b2xk"}, "metadata": {}});
        let changes = applied(Kind::Secret, &desired, &live, None);
        let text = serde_json::to_string(&changes).unwrap();
        assert!(!text.contains("bmV3") && !text.contains("b2xk"), "{text}");
        assert_eq!(changes[0].new, Some(json!("***")));
        assert_eq!(changes[1].new, Some(json!({"a": "b"})));
    }
}
