//! The edit: what a file says, and what the API server makes of it.
//!
//! The API server is asked as `kubectl apply` would ask it, as a dry run: with a three-way merge
//! where the object was applied that way, else with server-side apply. So fields that were taken
//! out of the file are taken out, and fields that others set stay.

use crds::PaymentSystem;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
    core::Status,
};
use payment_operator::validate::Settings;
use serde_json::{Map, Value, json};

use super::Refusal;
use crate::{
    cluster::Cluster,
    failure::{Failure, request},
};

/// Where `kubectl apply` keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One PaymentSystem of a file.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    value: Value,
}

/// What the API server says about an edit.
pub(super) enum Checked {
    /// The resource as it would be stored.
    Taken(Box<PaymentSystem>),
    Refused(Refusal),
}

/// The PaymentSystems of a file; other kinds are passed over.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, Failure> {
    let values: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let todo = "correct the line that is named";
        Failure::new("the file is no YAML", todo).because(error.to_string())
    })?;
    let systems = values
        .into_iter()
        .filter(|value| value["kind"] == "PaymentSystem");
    let documents: Option<Vec<Document>> = systems.map(document).collect();
    match documents {
        None => Err(Failure::new(
            "a PaymentSystem of the file has no metadata.name",
            "name it: the plan is made for the system of that name",
        )),
        Some(documents) if documents.is_empty() => Err(Failure::new(
            "the file has no PaymentSystem",
            "give the file that you would give to `kubectl apply -f`",
        )),
        Some(documents) => Ok(documents),
    }
}

fn document(value: Value) -> Option<Document> {
    let metadata = &value["metadata"];
    Some(Document {
        namespace: metadata["namespace"].as_str().map(str::to_owned),
        name: metadata["name"].as_str()?.to_owned(),
        value,
    })
}

/// Asks the API server what it would store. Nothing is stored.
pub(super) async fn check(
    cluster: &Cluster,
    document: &Document,
    current: Option<&PaymentSystem>,
    manager: &str,
) -> Result<Checked, Failure> {
    let last = current.and_then(|current| current.annotations().get(LAST_APPLIED));
    let last = last.and_then(|last| serde_json::from_str::<Value>(last).ok());
    let systems = cluster.systems();
    let result = if let (Some(last), Some(current)) = (last, current) {
        let live = json!({"spec": current.spec});
        let patch = three_way(&spec_of(&last), &spec_of(&document.value), &live);
        let parameters = PatchParams {
            dry_run: true,
            ..PatchParams::default().validation_strict()
        };
        let patch = Patch::Merge(patch);
        systems.patch(&document.name, &parameters, &patch).await
    } else {
        let parameters = PatchParams {
            dry_run: true,
            ..PatchParams::apply(manager).force().validation_strict()
        };
        let patch = Patch::Apply(&document.value);
        systems.patch(&document.name, &parameters, &patch).await
    };
    match result {
        Ok(edited) => Ok(Checked::Taken(Box::new(edited))),
        Err(kube::Error::Api(status)) if is_refusal(&status) => Ok(Checked::Refused(Refusal {
            reason: refusal(&status).to_owned(),
            message: status.message.clone(),
        })),
        Err(kube::Error::Api(status)) if status.is_not_found() => Err(Failure::new(
            format!("cannot plan {}/{}", cluster.namespace, document.name),
            "create the namespace, or install the operator and its definitions, first",
        )
        .because(status.message.clone())),
        Err(error) => {
            let what = format!("cannot check {}/{}", cluster.namespace, document.name);
            Err(request(what)(error))
        }
    }
}

/// Whether an answer is about the edit. Server-side apply answers a field that does not exist with
/// 500.
fn is_refusal(status: &Status) -> bool {
    let untyped = status
        .message
        .starts_with("failed to create typed patch object");
    matches!(status.code, 400 | 422) || status.code == 500 && untyped
}

/// Why an edit is refused, in one word.
fn refusal(status: &Status) -> &str {
    if status.code == 500 {
        "UnknownField"
    } else {
        &status.reason
    }
}

/// The part of a document that the operator reads.
fn spec_of(document: &Value) -> Value {
    let spec = &document["spec"];
    if spec.is_object() {
        json!({"spec": spec})
    } else {
        json!({"spec": {}})
    }
}

/// The merge patch that brings `current` to `modified` and takes out what only `original` has.
fn three_way(original: &Value, modified: &Value, current: &Value) -> Value {
    let mut patch = Map::new();
    let none = Map::new();
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_else(|| none.clone());
    let (original, modified, current) = (fields(original), fields(modified), fields(current));
    for (key, wanted) in &modified {
        match current.get(key) {
            Some(there) if there == wanted => {}
            Some(there) if there.is_object() && wanted.is_object() => {
                let before = original.get(key).unwrap_or(&Value::Null);
                let inner = three_way(before, wanted, there);
                if inner != json!({}) {
                    patch.insert(key.clone(), inner);
                }
            }
            _ => {
                patch.insert(key.clone(), wanted.clone());
            }
        }
    }
    for key in original.keys().filter(|key| !modified.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

/// The images the operator was started with, and where it runs.
pub(super) fn settings(operator: &Deployment) -> Settings {
    let pod = operator
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    let setting = |option: &str, variable: &str| {
        let mut containers = containers.iter();
        containers.find_map(|container| given(container, option, variable))
    };
    let otherwise = Settings::default();
    Settings {
        runtime_image: setting("--runtime-image", "RUNTIME_IMAGE"),
        simulator_image: setting("--simulator-image", "SIMULATOR_IMAGE"),
        namespace: operator.namespace().unwrap_or(otherwise.namespace),
        version: otherwise.version,
    }
}

/// An option decides before a variable, as in the operator.
fn given(container: &Container, option: &str, variable: &str) -> Option<String> {
    let arguments = container.args.as_deref().unwrap_or_default();
    let split = arguments
        .iter()
        .position(|argument| argument == option)
        .and_then(|at| arguments.get(at + 1).cloned());
    let joined = || {
        let mut arguments = arguments.iter();
        arguments.find_map(|a| Some(a.strip_prefix(option)?.strip_prefix('=')?.to_owned()))
    };
    let variables = || {
        let mut variables = container.env.iter().flatten();
        variables.find(|v| v.name == variable)?.value.clone()
    };
    split.or_else(joined).or_else(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_three_way_merge_leaves_what_others_set() {
        let original = json!({"spec": {"payment": {"replicas": 3, "batching": true}}});
        let modified = json!({"spec": {"payment": {"replicas": 5}}});
        let current = json!({"spec": {
            "paused": true,
            "payment": {"replicas": 3, "batching": true, "expiresInSeconds": 60},
        }});
        assert_eq!(
            three_way(&original, &modified, &current),
            json!({"spec": {"payment": {"replicas": 5, "batching": null}}})
        );
        assert_eq!(three_way(&modified, &modified, &modified), json!({}));
    }

    #[test]
    fn only_systems_of_a_file_are_planned() {
        let text = "kind: Namespace\n---\nkind: PaymentSystem\nmetadata: {name: demo}\n";
        let documents = documents(text).unwrap();
        assert_eq!((documents.len(), documents[0].name.as_str()), (1, "demo"));
        for (text, words) in [
            ("kind: Namespace", "has no PaymentSystem"),
            ("kind: PaymentSystem", "no metadata.name"),
            ("a: [", "is no YAML"),
        ] {
            let error = super::documents(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_operators_images_stand_in_its_deployment() {
        let deployment = |container: Value| -> Deployment {
            serde_json::from_value(json!({"spec": {
                "selector": {},
                "template": {"spec": {"containers": [container]}},
            }}))
            .unwrap()
        };
        let variables = json!({"name": "operator", "args": ["run"], "env": [
            {"name": "RUNTIME_IMAGE", "value": "runtime:1"},
            {"name": "SIMULATOR_IMAGE", "value": "simulator:1"},
        ]});
        let options = json!({"name": "operator", "args": [
            "run", "--runtime-image", "runtime:1", "--simulator-image=simulator:1",
        ]});
        for container in [variables, options] {
            let settings = settings(&deployment(container));
            assert_eq!(settings.runtime_image.as_deref(), Some("runtime:1"));
            assert_eq!(settings.simulator_image.as_deref(), Some("simulator:1"));
        }
    }
}
