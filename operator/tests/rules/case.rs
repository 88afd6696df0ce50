//! One rule, a value that breaks it and one that does not.

use kube::{
    api::{DeleteParams, Patch, PatchParams},
    core::response::{Status, StatusCause},
};
use serde_json::{Value, json};

use super::{Cluster, system};

const NAME: &str = "tried";

#[derive(Clone)]
pub(crate) struct Case {
    /// What the message of this rule alone has.
    pub(crate) words: &'static str,
    /// The field, in dots; below `spec`, unless it is in `metadata`.
    field: &'static str,
    refused: Value,
    accepted: Value,
    /// The rest of the specification.
    around: Value,
    /// How the living system differs from that, for a rule about changes.
    before: Option<Value>,
}

/// A rule's case in a system with the simulator. `null` leaves the field out.
pub(crate) fn case(
    words: &'static str,
    field: &'static str,
    refused: impl Into<Value>,
    accepted: impl Into<Value>,
) -> Case {
    Case {
        words,
        field,
        refused: refused.into(),
        accepted: accepted.into(),
        around: json!({"channels": {"simulator": true}}),
        before: None,
    }
}

impl Case {
    pub(crate) fn around(mut self, sections: Value) -> Self {
        merge(&mut self.around, sections);
        self
    }

    pub(crate) fn before(mut self, sections: Value) -> Self {
        self.before = Some(sections);
        self
    }

    /// What is wrong, if anything.
    pub(crate) async fn check(&self, cluster: &Cluster, message: &str) -> Vec<String> {
        if let Some(before) = &self.before {
            let mut spec = self.around.clone();
            merge(&mut spec, before.clone());
            let living = cluster.apply(&system(NAME, &spec)).await;
            living.unwrap_or_else(|error| panic!("{}: before: {error}", self.words));
        }
        let refused = try_out(cluster, &self.with(&self.refused)).await;
        let accepted = try_out(cluster, &self.with(&self.accepted)).await;
        if self.before.is_some() {
            let systems = cluster.systems();
            let deleted = systems.delete(NAME, &DeleteParams::default()).await;
            deleted.map(drop).unwrap();
        }
        let what = format!("{}: {} = ", self.words, self.field);
        let mut wrong = Vec::new();
        match refused {
            Ok(()) => wrong.push(format!("{what}{} was accepted", self.refused)),
            Err(status) => {
                let causes = status.details.map(|details| details.causes);
                let causes = causes.unwrap_or_default();
                let said = |cause: &StatusCause| cause.message.ends_with(message);
                if causes.is_empty() || !causes.iter().all(said) {
                    wrong.push(format!("{what}{}: {}", self.refused, status.message));
                }
            }
        }
        if let Err(status) = accepted {
            wrong.push(format!("{what}{}: {}", self.accepted, status.message));
        }
        wrong
    }

    fn with(&self, value: &Value) -> Value {
        let mut object = system(NAME, &self.around);
        let field = if self.field.starts_with("metadata.") {
            self.field.to_owned()
        } else {
            format!("spec.{}", self.field)
        };
        let path = field.split('.').rev();
        let change = path.fold(value.clone(), |value, part| json!({part: value}));
        merge(&mut object, change);
        object
    }
}

async fn try_out(cluster: &Cluster, object: &Value) -> Result<(), Box<Status>> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::apply("test").force().validation_strict()
    };
    let tried = cluster
        .systems()
        .patch(name, &parameters, &Patch::Apply(object))
        .await;
    match tried {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status),
        Err(error) => panic!("{object}: {error}"),
    }
}

/// Merges field by field; `null` takes a field out.
pub(crate) fn merge(into: &mut Value, from: Value) {
    let Value::Object(fields) = from else {
        *into = from;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let target = into.as_object_mut().unwrap();
    for (key, value) in fields {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}
