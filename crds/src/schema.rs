//! The CustomResourceDefinition, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use crate::{PaymentSystem, rules};

/// The definition of `PaymentSystem`.
///
/// Three things are added to what the types say: rules on the object's name, a status that exists
/// from the first moment with generation -1, so that a tool that waits for `Ready` does not mistake
/// a resource nobody has looked at for one that is done, and each section's defaults on its fields.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = PaymentSystem::crd();
    for version in &mut crd.spec.versions {
        let root = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut());
        let Some(root) = root else { continue };
        tidy(root);
        inherit(root);
        root.x_kubernetes_validations = serde_json::from_value(json!(rules::ROOT)).ok();
        let properties = root.properties.get_or_insert_default();
        if let Some(status) = properties.get_mut("status") {
            status.default = serde_json::from_value(json!({"observedGeneration": -1})).ok();
        }
    }
    crd
}

/// The definition as it is committed under `crds/yaml`.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser::Error> {
    let yaml = serde_saphyr::to_string(&crd())?;
    Ok(format!(
        "# Generated from the types in crds/src: change those, then run\n#   cargo run -p crds --bin crdgen\n{yaml}"
    ))
}

/// Drops `nullable` (leaving a field out says the same), joins the lines of each paragraph of a
/// description, and drops integer formats the API server does not know.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(text) = &mut schema.description {
        *text = text
            .split("\n\n")
            .map(|paragraph| paragraph.replace('\n', " "))
            .collect::<Vec<_>>()
            .join("\n\n");
    }
    if schema
        .format
        .as_deref()
        .is_some_and(|f| f.starts_with("uint"))
    {
        schema.format = None;
    }
    for child in schema
        .properties
        .iter_mut()
        .flat_map(|map| map.values_mut())
    {
        tidy(child);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
}

/// Gives each field the default it has in the default of its section, so that writing one field of
/// a section leaves the others as they were: a memory limit does not take the requests away.
fn inherit(schema: &mut JSONSchemaProps) {
    let default = schema.default.clone();
    for (name, child) in schema.properties.iter_mut().flatten() {
        let value = default.as_ref().and_then(|section| section.0.get(name));
        if let Some(value) = value {
            child.default = serde_json::from_value(value.clone()).ok();
        }
        inherit(child);
    }
}

/// A list of namespaces, none of them twice.
pub(crate) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {"type": "string", "minLength": 1, "maxLength": 63},
        "x-kubernetes-validations": rules::NAMESPACES,
    })
}
