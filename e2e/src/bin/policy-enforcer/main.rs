//! Enforces NetworkPolicies on a node that has no network plugin for it, with nftables: for tests.
//!
//! Guarantees: what a pod may do is replaced as a whole (`nft -f`), on each change of pods,
//! namespaces or policies; a pod that a policy selects reaches, and is reached by, only what is
//! known and allowed, so that whoever is not known yet is kept out; what was enforced last stays
//! when this program ends. Whatever the node itself starts, such as a probe, passes, and so do
//! answers.
//!
//! Not here: IPv6, and pods that share the node's network. A pod that is not known yet is closed as
//! soon as its address is, as the API of NetworkPolicies allows.

mod rules;
mod world;

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use e2e::Cluster;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Notify;
use world::World;

const APPLY_WITHIN: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Enforces the NetworkPolicies of a one-node cluster in the network namespace it runs in.
#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    kubeconfig: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match enforce(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn enforce(arguments: &Arguments) -> Result<()> {
    let client = Cluster::connect(&arguments.kubeconfig).await?.client;
    let changed = Arc::new(Notify::new());
    let pods: Store<Pod> = follow(Api::all(client.clone()), &changed);
    let namespaces: Store<Namespace> = follow(Api::all(client.clone()), &changed);
    let policies: Store<NetworkPolicy> = follow(Api::all(client), &changed);
    pods.wait_until_ready().await?;
    namespaces.wait_until_ready().await?;
    policies.wait_until_ready().await?;
    let mut enforced = String::new();
    loop {
        let world = World::of(&pods.state(), &namespaces.state(), &policies.state());
        let wanted = rules::script(&world);
        if wanted != enforced {
            match apply(&wanted).await {
                Ok(()) => {
                    eprintln!("{}", world.summary());
                    enforced = wanted;
                }
                Err(error) => {
                    eprintln!("error: {error:#}");
                    // Another change may come sooner.
                    let _ = tokio::time::timeout(RETRY_AFTER, changed.notified()).await;
                    continue;
                }
            }
        }
        changed.notified().await;
    }
}

/// Keeps a copy of all objects of a kind, and says when it changes.
fn follow<K>(api: Api<K>, news: &Arc<Notify>) -> Store<K>
where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let changes = reflector::reflector(writer, watcher(api, watcher::Config::default()));
    let news = Arc::clone(news);
    tokio::spawn(async move {
        let mut changes = std::pin::pin!(changes.default_backoff());
        while let Some(change) = changes.next().await {
            match change {
                Ok(_) => news.notify_one(),
                Err(error) => eprintln!("error: {error}"),
            }
        }
    });
    store
}

/// All of it or nothing.
async fn apply(script: &str) -> Result<()> {
    let mut command = Command::new("nft");
    command
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let work = async {
        let mut child = command.spawn().context("cannot start nft")?;
        let mut input = child.stdin.take().context("nft takes no input")?;
        input.write_all(script.as_bytes()).await?;
        drop(input);
        Ok::<_, anyhow::Error>(child.wait_with_output().await?)
    };
    let done = tokio::time::timeout(APPLY_WITHIN, work).await;
    let done = done.context("nft does not end")??;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "nft: {said}");
    Ok(())
}
