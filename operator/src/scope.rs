//! Where an operator looks for systems: in the whole cluster, or in namespaces that are named.
//!
//! Each namespace gets watches and a queue of its own, as if it were a cluster: nothing is asked
//! for beyond it, and what fails in one holds up no other. The lease, the metrics and the limits
//! on requests are the process's.
//!
//! Not here: which optional kinds exist where definitions may not be watched (`discovery`).

use std::sync::Arc;

use futures::{FutureExt, future};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
    core::NamespaceResourceScope,
};

use crate::{
    controller::{self, Process},
    discovery::Discovery,
    validate::Settings,
};

/// More namespaces are a cluster: each costs a watch of every kind.
pub const NAMESPACES_MAX: usize = 32;

/// Where one set of watches looks.
#[derive(Clone, Default)]
pub enum Scope {
    #[default]
    Cluster,
    Namespace(String, Arc<Discovery>),
}

impl Scope {
    /// Objects of a kind, here.
    pub fn api<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self {
            Self::Cluster => Api::all(client),
            Self::Namespace(namespace, _) => Api::namespaced(client, namespace),
        }
    }

    /// Objects of a kind that is known by name, here.
    pub fn objects(&self, client: Client, kind: &ApiResource) -> Api<DynamicObject> {
        match self {
            Self::Cluster => Api::all_with(client, kind),
            Self::Namespace(namespace, _) => Api::namespaced_with(client, namespace, kind),
        }
    }
}

/// A namespace's name, as an argument.
pub fn namespace(text: &str) -> Result<String, String> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()];
    let valid = text.len() <= 63
        && text.bytes().all(|byte| letter(byte) || byte == b'-')
        && ends.iter().all(|end| end.is_some_and(letter));
    if valid {
        Ok(text.to_owned())
    } else {
        Err("a namespace's name has up to 63 of a-z, 0-9 and -; leave the option out to watch the whole cluster".to_owned())
    }
}

/// Runs in these namespaces until `stop` is done, or what runs in one of them has ended, which it
/// does not by itself.
pub async fn run(
    namespaces: &[String],
    discovery: Discovery,
    process: &Process,
    client: Client,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let discovery = Arc::new(discovery);
    process.health.expect(namespaces);
    let stop = stop.boxed().shared();
    let controllers = namespaces.iter().map(|namespace| {
        let process = Process {
            health: process.health.within(namespace),
            scope: Scope::Namespace(namespace.clone(), Arc::clone(&discovery)),
            ..process.clone()
        };
        controller::run_as(process, client.clone(), settings.clone(), stop.clone()).boxed()
    });
    let controllers = async {
        let ((), _, rest) = future::select_all(controllers).await;
        // Told to stop, each finishes its passes.
        if stop.peek().is_some() {
            future::join_all(rest).await;
        }
    };
    tokio::select! {
        () = controllers => {}
        () = discovery.run(client.clone()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_have_names_that_the_cluster_takes() {
        for good in ["a", "payment", "team-1"] {
            assert_eq!(namespace(good).as_deref(), Ok(good));
        }
        let long = "a".repeat(64);
        for bad in ["", "Payment", "-a", "a-", "a b", "a.b", "*", &long] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }
}
