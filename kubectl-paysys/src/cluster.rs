//! The cluster a command speaks to: found as kubectl finds it, and which system is meant.
//!
//! Not here: what is read of it (each command), and how an answer is shown.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use crds::PaymentSystem;
use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        watcher::{self, watch_object},
    },
};
use serde::de::DeserializeOwned;

use crate::failure::{Failure, request};

/// The most objects of one kind that a command lists at a time.
pub(crate) const LIST_MAX: u32 = 500;

/// Where the cluster is, with kubectl's own names.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Target {
    /// Namespace of the system; without it, that of the context
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Context of the kubeconfig; without it, the current one
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig; without it $KUBECONFIG, then ~/.kube/config, then the pod's own account
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A reachable API server and the namespace that is meant.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Target {
    pub(crate) async fn connect(&self) -> Result<Cluster, Failure> {
        let mut config = self.config().await?;
        // Somebody waits for the answer, also for a bad one; watches try again by themselves.
        config.default_retry = false;
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| {
            let todo = "check the certificates and the user of the kubeconfig";
            Failure::new(format!("cannot speak to {server}"), todo).because(error.to_string())
        })?;
        Ok(Cluster { client, namespace })
    }

    async fn config(&self) -> Result<Config, Failure> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let (from, result) = match &self.kubeconfig {
            Some(file) => {
                let from = format!("kubeconfig {}", file.display());
                let read = Kubeconfig::read_from(file).map_err(|error| error.to_string());
                let config = match read {
                    Ok(read) => Config::from_custom_kubeconfig(read, &options)
                        .await
                        .map_err(|error| error.to_string()),
                    Err(error) => Err(error),
                };
                (from, config)
            }
            None if self.context.is_some() => {
                let config = Config::from_kubeconfig(&options).await;
                let config = config.map_err(|error| error.to_string());
                ("the kubeconfig".to_owned(), config)
            }
            None => {
                let config = Config::infer().await.map_err(|error| error.to_string());
                ("the kubeconfig".to_owned(), config)
            }
        };
        result.map_err(|error| {
            let todo = "check --kubeconfig, --context and $KUBECONFIG; `kubectl config get-contexts` lists contexts";
            Failure::new(format!("cannot use {from}"), todo).because(error)
        })
    }
}

impl Cluster {
    pub(crate) fn systems(&self) -> Api<PaymentSystem> {
        self.api()
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The system of that name; without a name, the only one of the namespace.
    pub(crate) async fn system(&self, name: Option<&str>) -> Result<PaymentSystem, Failure> {
        let namespace = &self.namespace;
        if let Some(name) = name {
            let what = format!("cannot read PaymentSystem {name} in namespace {namespace}");
            return self.systems().get(name).await.map_err(request(what));
        }
        let what = format!("cannot list PaymentSystems in namespace {namespace}");
        let parameters = ListParams::default().limit(LIST_MAX);
        let list = self.systems().list(&parameters).await;
        only(list.map_err(request(what))?.items, namespace)
    }

    /// Follows one object until `done` says what came of it. `None` once `timeout` is over or the
    /// object is gone. A watch that breaks off is begun anew; one that is not allowed fails.
    pub(crate) async fn follow<K, T>(
        &self,
        name: &str,
        timeout: Duration,
        done: impl FnMut(&K) -> Option<T>,
    ) -> Result<Option<T>, Failure>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let versions = watch_object(self.api::<K>(), name).default_backoff();
        let look = first(versions.boxed(), done);
        let Ok(result) = tokio::time::timeout(timeout, look).await else {
            return Ok(None);
        };
        let what = format!(
            "cannot watch {} {name} in namespace {}",
            K::kind(&()),
            self.namespace
        );
        result.map_err(|error| request(what)(error))
    }
}

/// The first of an object's versions of which `done` says something.
async fn first<K, T>(
    mut versions: BoxStream<'_, Result<Option<K>, watcher::Error>>,
    mut done: impl FnMut(&K) -> Option<T>,
) -> Result<Option<T>, kube::Error> {
    while let Some(version) = versions.next().await {
        match version {
            Ok(Some(object)) => {
                if let Some(result) = done(&object) {
                    return Ok(Some(result));
                }
            }
            Ok(None) => return Ok(None),
            Err(
                watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error),
            ) if is_forbidden(&error) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(None)
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

fn only(systems: Vec<PaymentSystem>, namespace: &str) -> Result<PaymentSystem, Failure> {
    let names: Vec<String> = systems.iter().map(ResourceExt::name_any).collect();
    let mut systems = systems.into_iter();
    match (systems.next(), systems.next()) {
        (Some(system), None) => Ok(system),
        (None, _) => Err(Failure::new(
            format!("there is no PaymentSystem in namespace {namespace}"),
            "name another namespace with -n; `kubectl paysys status -A` lists every system",
        )),
        (Some(_), Some(_)) => Err(Failure::new(
            format!("namespace {namespace} has several PaymentSystems"),
            format!("name one of {}", names.join(", ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> PaymentSystem {
        PaymentSystem::new(name, crds::PaymentSystemSpec::default())
    }

    #[test]
    fn without_a_name_the_only_system_is_meant() {
        assert_eq!(only(vec![named("a")], "n").unwrap().name_any(), "a");
        let none = only(Vec::new(), "n").unwrap_err().to_string();
        assert!(none.starts_with("there is no PaymentSystem in namespace n\n"));
        let several = only(vec![named("a"), named("b")], "n").unwrap_err();
        assert!(several.to_string().ends_with("name one of a, b"));
    }
}
