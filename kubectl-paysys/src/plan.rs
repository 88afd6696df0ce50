//! `plan`: what the operator would do about an edit, before anybody applies it.
//!
//! Guarantees: nothing is written (the API server checks the edit as a dry run); what is told is
//! decided by the operator's own functions, so that the plan holds for an operator of this version.

mod changes;
mod edit;
mod render;
mod restarts;
mod simulate;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use crds::PaymentSystem;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use payment_operator::{
    build::labels,
    cache::{Live, NamedSecret, key_digests},
    kinds::{KINDS, Kind},
    observe::Observed,
    validate::{Settings, ValidSystem, named_secrets, validate},
};
use serde::Serialize;

use crate::{
    Screen,
    cluster::{Cluster, LIST_MAX},
    failure::{Failure, Verdict, cause, request},
};
use changes::Change;
use edit::{Checked, Document};
use simulate::{Object, Simulation, simulate};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Name of the operator's Deployment.
const OPERATOR: &str = "payment-operator";

#[derive(Args)]
pub(crate) struct Plan {
    /// The edited resources (YAML or JSON); - reads standard input
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// Field manager you apply with, where you apply with --server-side
    #[arg(long, default_value = "kubectl", value_name = "NAME")]
    field_manager: String,
    /// Where the operator runs: its Deployment says which images it uses
    #[arg(long, default_value = "payment-system", value_name = "NAMESPACE")]
    operator_namespace: String,
    /// The operator's --runtime-image; its Deployment is not read then
    #[arg(long, value_name = "IMAGE")]
    runtime_image: Option<String>,
    /// The operator's --simulator-image
    #[arg(long, value_name = "IMAGE", requires = "runtime_image")]
    simulator_image: Option<String>,
}

/// All plans of a file.
#[derive(Debug, Serialize)]
struct Plans {
    plans: Vec<Planned>,
}

/// What an edit of one system does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    namespace: String,
    name: String,
    /// The system does not exist yet.
    new: bool,
    /// Why the edit is not taken.
    refused: Option<Refusal>,
    paused: bool,
    /// What it changes of the specification, defaults included.
    edit: Vec<Change>,
    #[serde(flatten)]
    simulation: Simulation,
    /// What the operator would write without the edit, too.
    already_due: Vec<Object>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Refusal {
    reason: String,
    message: String,
}

impl Plan {
    pub(crate) async fn run(self, cluster: Cluster, screen: Screen) -> Result<Verdict, Failure> {
        let documents = edit::documents(&self.read()?)?;
        let settings = self.settings(&cluster).await?;
        let mut plans = Vec::new();
        for document in documents {
            let mut place = cluster.clone();
            place.namespace = document.namespace.clone().unwrap_or(place.namespace);
            plans.push(self.one(&place, &document, &settings).await?);
        }
        let fine = plans
            .iter()
            .all(|plan| plan.refused.is_none() && plan.simulation.held.is_empty());
        screen.show(&Plans { plans }, |plans, paint| {
            let texts = plans.plans.iter().map(|plan| render::plan(plan, paint));
            texts.collect::<Vec<_>>().join("\n")
        })?;
        Ok(Verdict::fine_if(fine))
    }

    fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let stdin = self.filename.as_os_str() == "-";
        let read = if stdin {
            std::io::stdin()
                .take(FILE_BYTES_MAX + 1)
                .read_to_string(&mut text)
        } else {
            std::fs::File::open(&self.filename)
                .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        };
        let name = if stdin {
            "standard input".to_owned()
        } else {
            self.filename.display().to_string()
        };
        let bytes = read.map_err(|error| {
            Failure::new(format!("cannot read {name}"), "check --filename")
                .because(error.to_string())
        })?;
        if bytes as u64 > FILE_BYTES_MAX {
            let todo = "plan the PaymentSystems alone";
            return Err(Failure::new(
                format!("{name} is larger than a mebibyte"),
                todo,
            ));
        }
        Ok(text)
    }

    async fn settings(&self, cluster: &Cluster) -> Result<Settings, Failure> {
        if self.runtime_image.is_some() {
            return Ok(Settings {
                runtime_image: self.runtime_image.clone(),
                simulator_image: self.simulator_image.clone(),
                namespace: self.operator_namespace.clone(),
                ..Settings::default()
            });
        }
        let namespace = &self.operator_namespace;
        let api = Api::<Deployment>::namespaced(cluster.client.clone(), namespace);
        let deployment = api.get(OPERATOR).await.map_err(|error| {
            let todo = "name the operator's namespace with --operator-namespace, or give its --runtime-image and --simulator-image";
            let what = format!("cannot read Deployment {OPERATOR} in namespace {namespace}");
            Failure::new(what, todo).because(cause(&error))
        })?;
        Ok(edit::settings(&deployment))
    }

    async fn one(
        &self,
        cluster: &Cluster,
        document: &Document,
        settings: &Settings,
    ) -> Result<Planned, Failure> {
        let (name, namespace) = (&document.name, &cluster.namespace);
        let what = format!("cannot read PaymentSystem {name} in namespace {namespace}");
        let current = cluster
            .systems()
            .get_opt(name)
            .await
            .map_err(request(what))?;
        let checked = edit::check(cluster, document, current.as_ref(), &self.field_manager).await?;
        let edited = match checked {
            Checked::Taken(edited) => edited,
            Checked::Refused(refusal) => {
                return Ok(Planned::refused(
                    namespace,
                    name,
                    current.is_none(),
                    refusal,
                ));
            }
        };
        let mut secrets = named_secrets(&edited.spec);
        secrets.extend(
            current
                .iter()
                .flat_map(|current| named_secrets(&current.spec)),
        );
        let observed = observe(cluster, name, secrets).await?;
        decide(current.as_ref(), &edited, &observed, settings)
    }
}

impl Planned {
    fn refused(namespace: &str, name: &str, new: bool, refusal: Refusal) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            new,
            refused: Some(refusal),
            paused: false,
            edit: Vec::new(),
            simulation: Simulation::default(),
            already_due: Vec::new(),
        }
    }
}

/// Reads what the operator's caches hold of one system.
async fn observe(
    cluster: &Cluster,
    name: &str,
    secrets: BTreeSet<String>,
) -> Result<Observed, Failure> {
    let kinds = KINDS.iter().map(|entry| list(cluster, name, entry.kind));
    let mut observed = Observed::default();
    for (kind, objects) in try_join_all(kinds).await? {
        let Some(objects) = objects else { continue };
        if kind.entry().optional {
            observed.installed.insert(kind);
        }
        let lives = objects
            .into_iter()
            .map(|object| ((kind, object.name_any()), Arc::new(Live::new(kind, object))));
        observed.objects.extend(lives.collect::<BTreeMap<_, _>>());
    }
    for secret in secrets {
        let named = named_secret(cluster, &secret).await?;
        observed.named_secrets.insert(secret, named);
    }
    Ok(observed)
}

fn api(cluster: &Cluster, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(
        cluster.client.clone(),
        &cluster.namespace,
        &kind.entry().resource(),
    )
}

/// A system's objects of a kind; `None` where the kind is not installed.
async fn list(
    cluster: &Cluster,
    name: &str,
    kind: Kind,
) -> Result<(Kind, Option<Vec<DynamicObject>>), Failure> {
    let selector = format!("{},{}={name}", labels::SELECTOR, labels::INSTANCE);
    let parameters = ListParams::default().labels(&selector).limit(LIST_MAX);
    match api(cluster, kind).list(&parameters).await {
        Ok(list) => Ok((kind, Some(list.items))),
        Err(kube::Error::Api(status)) if status.code == 404 && kind.entry().optional => {
            Ok((kind, None))
        }
        Err(error) => {
            let namespace = &cluster.namespace;
            let what = format!(
                "cannot list {} in namespace {namespace}",
                kind.entry().plural
            );
            Err(request(what)(error))
        }
    }
}

/// Which keys a named Secret has, and digests of their values.
async fn named_secret(cluster: &Cluster, name: &str) -> Result<NamedSecret, Failure> {
    let what = format!("cannot read Secret {name}");
    let secret = api(cluster, Kind::Secret).get_opt(name).await;
    let secret = secret.map_err(request(what))?;
    Ok(secret.map_or(NamedSecret::Absent, |secret| {
        NamedSecret::Present(key_digests(&Live::new(Kind::Secret, secret).value()))
    }))
}

/// The plan: pure.
fn decide(
    current: Option<&PaymentSystem>,
    edited: &PaymentSystem,
    observed: &Observed,
    settings: &Settings,
) -> Result<Planned, Failure> {
    let namespace = edited.namespace().unwrap_or_default();
    let name = edited.name_any();
    let after = match validate(edited, settings) {
        Ok(after) => after,
        Err(invalid) => {
            let refusal = Refusal {
                reason: invalid.reason().to_owned(),
                message: invalid.to_string(),
            };
            return Ok(Planned::refused(
                &namespace,
                &name,
                current.is_none(),
                refusal,
            ));
        }
    };
    let before = current.and_then(|current| validate(current, settings).ok());
    let made = |system: &ValidSystem| {
        simulate(system, observed, before.as_ref()).map_err(|error| {
            let todo = "report this: it is a fault of the operator";
            Failure::new("cannot build the objects", todo).because(error.to_string())
        })
    };
    let paused = after.spec.paused;
    let simulation = if paused {
        Simulation::default()
    } else {
        made(&after)?
    };
    let at_rest = current.is_some_and(|current| !current.spec.paused);
    let already = match &before {
        Some(before) if at_rest => made(before)?,
        _ => Simulation::default(),
    };
    let already: BTreeSet<Object> = already.writes().map(|write| write.object.clone()).collect();
    let spec = |object: &PaymentSystem| serde_json::to_value(&object.spec).unwrap_or_default();
    Ok(Planned {
        new: current.is_none(),
        refused: None,
        paused,
        edit: current.map_or_else(Vec::new, |current| {
            changes::between(&spec(current), &spec(edited))
        }),
        already_due: already.into_iter().collect(),
        simulation,
        namespace,
        name,
    })
}

#[cfg(test)]
mod tests;
