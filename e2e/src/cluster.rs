//! A cluster, as anybody with a kubeconfig sees it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config, Resource, discovery};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::wait::{Seen, until};

/// Field manager of everything applied from here.
pub const MANAGER: &str = "e2e";

#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
}

impl Cluster {
    pub async fn connect(kubeconfig: &Path) -> Result<Self> {
        let context = || format!("cannot use {}", kubeconfig.display());
        let file = Kubeconfig::read_from(kubeconfig).with_context(context)?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .with_context(context)?;
        let client = Client::try_from(config).with_context(context)?;
        Ok(Self { client })
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub async fn list<K>(&self, namespace: &str, parameters: &ListParams) -> Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let listed = self.api::<K>(namespace).list(parameters).await;
        let kind = K::kind(&());
        Ok(listed
            .plainly()
            .with_context(|| format!("cannot list {kind} in {namespace}"))?
            .items)
    }

    /// Applies every document of a YAML text, server-side.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<()> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(yaml).context("the manifest is not YAML")?;
        for document in documents.iter().filter(|document| !document.is_null()) {
            self.apply(document).await?;
        }
        Ok(())
    }

    pub async fn apply(&self, object: &Value) -> Result<DynamicObject> {
        self.apply_with(object, &PatchParams::apply(MANAGER).force())
            .await
    }

    /// What the API server would say to `object`, without storing it.
    pub async fn apply_dry(&self, object: &Value) -> Result<DynamicObject> {
        let parameters = PatchParams::apply(MANAGER)
            .force()
            .validation_strict()
            .dry_run();
        self.apply_with(object, &parameters).await
    }

    async fn apply_with(&self, object: &Value, parameters: &PatchParams) -> Result<DynamicObject> {
        let name = object["metadata"]["name"]
            .as_str()
            .context("an object without a name")?;
        let api = self.dynamic(object).await?;
        let applied = api.patch(name, parameters, &Patch::Apply(object)).await;
        applied
            .plainly()
            .with_context(|| format!("cannot apply {} {name}", object["kind"]))
    }

    async fn dynamic(&self, object: &Value) -> Result<Api<DynamicObject>> {
        let version = object["apiVersion"]
            .as_str()
            .context("an object without apiVersion")?;
        let kind = object["kind"].as_str().context("an object without kind")?;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        let (resource, capabilities) = discovery::pinned_kind(&self.client, &kind)
            .await
            .plainly()
            .with_context(|| format!("the cluster has no {kind:?}"))?;
        let namespace = object["metadata"]["namespace"].as_str();
        Ok(match (&capabilities.scope, namespace) {
            (discovery::Scope::Cluster, _) => Api::all_with(self.client.clone(), &resource),
            (discovery::Scope::Namespaced, None) => {
                Api::default_namespaced_with(self.client.clone(), &resource)
            }
            (discovery::Scope::Namespaced, Some(namespace)) => {
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
        })
    }

    pub async fn ensure_namespace(&self, name: &str) -> Result<()> {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply(&namespace).await.map(drop)
    }

    /// Deletes a namespace, if it is there, and waits until it is gone.
    pub async fn delete_namespace(&self, name: &str, limit: Duration) -> Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        ignore_missing(
            api.delete(name, &DeleteParams::background())
                .await
                .map(drop),
        )?;
        let what = format!("namespace {name} to be gone");
        until(&what, limit, async || {
            let found = api.get_opt(name).await?;
            let phase = found.and_then(|namespace| namespace.status?.phase);
            Ok(phase.map_or(Seen::Done(()), |phase| {
                Seen::not_yet(format!("it is {phase}"))
            }))
        })
        .await
    }

    pub async fn delete_pod_now(&self, namespace: &str, name: &str) -> Result<()> {
        let now = DeleteParams::default().grace_period(0);
        let deleted = self
            .api::<Pod>(namespace)
            .delete(name, &now)
            .await
            .map(drop);
        ignore_missing(deleted).with_context(|| format!("cannot delete pod {name}"))
    }

    pub async fn logs(&self, namespace: &str, pod: &str) -> Result<String> {
        let logs = self
            .api::<Pod>(namespace)
            .logs(pod, &LogParams::default())
            .await;
        logs.plainly()
            .with_context(|| format!("cannot read the log of pod {pod}"))
    }

    /// The events about one object, oldest first.
    pub async fn events(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<Event>> {
        let about = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let mut events: Vec<Event> = self
            .list(namespace, &ListParams::default().fields(&about))
            .await?;
        events.sort_by_key(event_time);
        Ok(events)
    }

    /// The rows that kubectl would print for a path of the API.
    pub async fn table(&self, path: &str) -> Result<Table> {
        let request = http::Request::get(path)
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())?;
        let answer: Value = self
            .client
            .request(request)
            .await
            .plainly()
            .with_context(|| path.to_owned())?;
        Ok(Table::of(&answer))
    }

    /// The document at a path of the API.
    pub async fn raw(&self, path: &str) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.client
            .request(request)
            .await
            .plainly()
            .with_context(|| format!("cannot read {path}"))
    }

    /// The text at a path of the API, such as another program's page behind its proxy.
    pub async fn text(&self, path: &str) -> Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.client
            .request_text(request)
            .await
            .plainly()
            .with_context(|| format!("cannot read {path}"))
    }

    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let api: Api<Node> = Api::all(self.client.clone());
        let listed = api.list(&ListParams::default()).await;
        Ok(listed.plainly().context("cannot list the nodes")?.items)
    }

    /// A POST that the API server hands to one pod: the only way to choose which replica works.
    pub async fn post_to_pod(
        &self,
        namespace: &str,
        pod: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value> {
        let port = contract::ports::HTTP;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}");
        let request = http::Request::post(&path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(body)?)?;
        self.client
            .request(request)
            .await
            .plainly()
            .with_context(|| format!("POST {path}"))
    }
}

/// Errors in the API server's own words, without the rest of its answer.
pub trait Plainly<T> {
    fn plainly(self) -> Result<T>;
}

impl<T> Plainly<T> for Result<T, kube::Error> {
    fn plainly(self) -> Result<T> {
        self.map_err(|error| match error {
            kube::Error::Api(status) => anyhow!(status.message),
            other => anyhow!(other),
        })
    }
}

/// Deleting what is not there has succeeded.
pub fn ignore_missing(result: Result<(), kube::Error>) -> Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.plainly(),
    }
}

fn event_time(event: &Event) -> Option<k8s_openapi::jiff::Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or_else(|| event.event_time.as_ref().map(|time| time.0))
        .or_else(|| {
            event
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0)
        })
}

/// What `kubectl get` prints.
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn of(answer: &Value) -> Self {
        let definitions = answer["columnDefinitions"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let shown: Vec<usize> = (0..definitions.len())
            .filter(|index| definitions[*index]["priority"].as_i64().unwrap_or(0) == 0)
            .collect();
        let name = |index: &usize| {
            definitions[*index]["name"]
                .as_str()
                .unwrap_or("")
                .to_uppercase()
        };
        let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
        let cells = |row: &Value| {
            shown
                .iter()
                .map(|index| text(&row["cells"][*index]))
                .collect()
        };
        Self {
            columns: shown.iter().map(name).collect(),
            rows: rows.iter().map(cells).collect(),
        }
    }

    /// Aligned lines, the heading first.
    pub fn lines(&self) -> Vec<String> {
        let all: Vec<&Vec<String>> = std::iter::once(&self.columns).chain(&self.rows).collect();
        let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        let line = |row: &&Vec<String>| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
        };
        all.iter().map(line).collect()
    }
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `a=1,b=2`, as label selectors are written.
pub fn selector(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_what_kubectl_shows() {
        let table = Table::of(&json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Wide", "priority": 1}, {"name": "Differences"}],
            "rows": [{"cells": ["demo", "x", null]}, {"cells": ["longer-name", "y", 3]}],
        }));
        let expected = [
            "NAME          DIFFERENCES",
            "demo          <none>",
            "longer-name   3",
        ];
        assert_eq!(table.lines(), expected);
    }
}
