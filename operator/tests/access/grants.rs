//! What the printed manifests grant, one right at a time.

use serde_json::Value;

use crate::questions::Question;

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The only namespace it is for.
    pub namespace: Option<String>,
    pub group: String,
    /// Such as `paymentsystems/status`.
    pub resource: String,
    pub verb: String,
    /// The only name it is for.
    pub name: Option<String>,
}

impl Grant {
    pub fn covers(&self, question: &Question) -> bool {
        let any_or =
            |only: &Option<String>, asked: &str| only.as_ref().is_none_or(|only| only == asked);
        self.group == question.group
            && self.resource == question.resource
            && self.verb == question.verb
            && any_or(&self.namespace, &question.namespace)
            && any_or(&self.name, &question.name)
    }
}

/// Every right that the roles among some YAML documents give.
pub fn granted(yaml: &str) -> Vec<Grant> {
    let documents = yaml.split("---\n").filter(|text| !text.trim().is_empty());
    let objects = documents.map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let roles = objects.filter(|object| {
        let kind = object["kind"].as_str().unwrap();
        kind == "ClusterRole" || kind == "Role"
    });
    roles.flat_map(|role| rights(&role)).collect()
}

fn rights(role: &Value) -> Vec<Grant> {
    let namespace = role["metadata"]["namespace"].as_str().map(str::to_owned);
    let mut all = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        let mut names: Vec<_> = texts(&rule["resourceNames"])
            .into_iter()
            .map(Some)
            .collect();
        if names.is_empty() {
            names.push(None);
        }
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    all.extend(names.iter().map(|name| Grant {
                        namespace: namespace.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        name: name.clone(),
                    }));
                }
            }
        }
    }
    all
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}
