//! Values that no field may have, and what the API server says of them.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NAMESPACE},
    leaf::{self, Leaf},
};

/// No name, address, amount, schedule, image or quantity.
const NO_TEXT: &str = "no such!";

/// Invalid values of a field: of another type, out of its bounds, without meaning. Every field must
/// have bounds.
pub fn values(leaf: &Leaf) -> Vec<Value> {
    let bound = |name: &str| {
        let found = leaf.bound(name);
        found.unwrap_or_else(|| panic!("{} has no {name}", leaf.path))
    };
    let beyond = |name: &str| 0..=bound(name);
    match leaf.schema["type"].as_str().unwrap_or_default() {
        "boolean" => vec![json!("yes")],
        "integer" => vec![
            json!("seven"),
            json!(bound("minimum") - 1),
            json!(bound("maximum") + 1),
        ],
        "string" if leaf.schema["enum"].is_array() => vec![json!(7), json!(NO_TEXT)],
        "string" => {
            let long: String = beyond("maxLength").map(|_| '1').collect();
            vec![json!(7), json!(NO_TEXT), json!(long)]
        }
        "array" => {
            let many: Vec<String> = beyond("maxItems").map(|n| format!("a{n}")).collect();
            vec![json!(NO_TEXT), json!([NO_TEXT]), json!(many)]
        }
        "object" => {
            let many = beyond("maxProperties").map(|n| (format!("a{n}"), json!("a")));
            let many: serde_json::Map<_, _> = many.collect();
            vec![
                json!(NO_TEXT),
                json!({"a": NO_TEXT}),
                json!({"a": 7}),
                many.into(),
            ]
        }
        other => panic!("{} is a {other}", leaf.path),
    }
}

/// Says so if a specification with a wrong value is accepted, or refused in words that do not name
/// the field.
pub async fn must_be_refused(
    cluster: &Cluster,
    specification: &Value,
    path: &str,
    wrong: Value,
) -> Option<String> {
    let object = json!({
        "apiVersion": "paymentsystem.dev/v1alpha1",
        "kind": "PaymentSystem",
        "metadata": {"name": "invalid", "namespace": NAMESPACE},
        "spec": leaf::with(specification, path, wrong.clone()),
    });
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::apply("test").force().validation_strict()
    };
    let tried = cluster
        .systems()
        .patch("invalid", &parameters, &Patch::Apply(&object))
        .await;
    let status = match tried {
        Err(kube::Error::Api(status)) => status,
        Err(error) => panic!("{path}: {error}"),
        Ok(_) => return Some(format!("{path}: {wrong} is accepted")),
    };
    let causes = status.details.as_ref().map(|details| &details.causes);
    let said: Vec<String> = causes
        .into_iter()
        .flatten()
        .map(|cause| format!("{} {}", cause.field, without_values(&cause.message)))
        .chain([without_values(&status.message)])
        .collect();
    let (section, name) = (
        path.split('.').next().unwrap_or_default(),
        path.rsplit('.').next().unwrap_or_default(),
    );
    let names = |text: &String| text.contains(section) && text.contains(name);
    (!said.iter().any(names)).then(|| format!("{path}: {wrong} is refused by {}", status.message))
}

/// A message without the objects it quotes, whose fields would pass for named ones.
fn without_values(message: &str) -> String {
    match (message.find('{'), message.rfind('}')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{}", &message[..start], &message[end + 1..])
        }
        _ => message.to_owned(),
    }
}
