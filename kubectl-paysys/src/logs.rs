//! `logs`: the logs of all pods of a system as one, each line with its pod's role and name.
//!
//! Guarantees: without `--follow` the lines of all pods stand in the order of their times, and
//! memory is bounded by the number of pods; with it, pods that come later and containers that are
//! started again are followed too. A pod whose log cannot be read is named, and holds up no other.

mod merge;

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use futures::{
    AsyncBufReadExt, StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{ListParams, LogParams},
    runtime::{WatchStreamExt, watcher},
};
use payment_operator::build::labels::{self, component};

use crate::{
    Screen,
    cluster::{Cluster, LIST_MAX},
    failure::{Failure, Verdict, request},
    status::duration,
};
use merge::{Line, Source};

const ROLES: [&str; 11] = [
    component::PAYMENT,
    component::CALLBACK,
    component::WORKER,
    component::RECONCILIATION,
    component::RECONCILIATION_RUN,
    component::ORDERS,
    component::MIGRATION,
    component::MYSQL,
    component::REDIS,
    component::COORDINATOR,
    component::SIMULATOR,
];

#[derive(Args)]
pub(crate) struct Logs {
    /// The system; without it, the only one of the namespace
    name: Option<String>,
    /// Only pods of this role; may be given several times
    #[arg(long, value_parser = ROLES, value_name = "ROLE")]
    role: Vec<String>,
    /// Go on with what is logged from now on, also by pods that come later
    #[arg(short, long)]
    follow: bool,
    /// Only lines of the last while, such as 30s, 10m or 2h
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    since: Option<Duration>,
    /// The last lines of each pod; -1 for all. Without it 100, or all with --since
    #[arg(long, allow_negative_numbers = true, value_name = "LINES")]
    tail: Option<i64>,
}

impl Logs {
    pub(crate) async fn run(self, cluster: Cluster, screen: Screen) -> Result<Verdict, Failure> {
        let system = cluster.system(self.name.as_deref()).await?;
        let selector = selector(&system.name_any(), &self.role);
        let wanted = self.wanted();
        if self.follow {
            let never = std::future::pending();
            let what = (selector.as_str(), &wanted);
            follow(&cluster, screen, what, never, |line| show(line, screen)).await?;
            return Ok(Verdict::Fine);
        }
        let parameters = ListParams::default().labels(&selector).limit(LIST_MAX);
        let what = format!("cannot list pods in namespace {}", cluster.namespace);
        let pods = cluster.api::<Pod>().list(&parameters).await;
        let mut sources = Vec::new();
        for pod in pods
            .map_err(request(what))?
            .items
            .iter()
            .filter(|pod| begun(pod).is_some())
        {
            match open(&cluster, pod, &wanted).await {
                Ok(source) => sources.push(source),
                Err(failure) => screen.progress(&format!("error: {failure}")),
            }
        }
        if sources.is_empty() {
            screen.progress("no pod has logged anything");
        }
        merge::in_order(sources, |line| show(line, screen)).await?;
        Ok(Verdict::Fine)
    }

    fn wanted(&self) -> LogParams {
        let default = self.since.is_none().then_some(100);
        LogParams {
            timestamps: true,
            follow: self.follow,
            since_seconds: self
                .since
                .map(|since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
            tail_lines: self.tail.or(default).filter(|lines| *lines >= 0),
            ..LogParams::default()
        }
    }
}

fn show(line: &Line, screen: Screen) -> Result<(), Failure> {
    screen.row(line, merge::render)
}

fn selector(system: &str, roles: &[String]) -> String {
    let of_system = format!("{},{}={system}", labels::SELECTOR, labels::INSTANCE);
    if roles.is_empty() {
        return of_system;
    }
    format!("{of_system},{} in ({})", labels::COMPONENT, roles.join(","))
}

/// How often the pod's container has been started; `None` while it has no log.
fn begun(pod: &Pod) -> Option<i32> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let state = status.state.as_ref()?;
    (state.running.is_some() || state.terminated.is_some()).then_some(status.restart_count)
}

/// Opens the log of a pod's first container: the one that does the work.
async fn open(cluster: &Cluster, pod: &Pod, wanted: &LogParams) -> Result<Source, Failure> {
    let name = pod.name_any();
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let parameters = LogParams {
        container: container.map(|container| container.name.clone()),
        ..wanted.clone()
    };
    let role = pod.labels().get(labels::COMPONENT).cloned();
    let log = cluster.api::<Pod>().log_stream(&name, &parameters).await;
    let log = log.map_err(request(format!("cannot read the log of pod {name}")))?;
    Ok(Source::new(
        role.unwrap_or_default(),
        name,
        log.lines().boxed(),
    ))
}

/// Follows the logs of all pods of a selector, those that come later too. From when `stop` is done
/// no pod is added, and it ends when all logs have ended.
pub(crate) async fn follow(
    cluster: &Cluster,
    screen: Screen,
    (selector, wanted): (&str, &LogParams),
    stop: impl Future<Output = ()>,
    mut show: impl FnMut(&Line) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = watcher::Config::default().labels(selector);
    let mut pods = watcher(cluster.api::<Pod>(), config)
        .default_backoff()
        .applied_objects()
        .boxed();
    let mut lines: SelectAll<BoxStream<'static, Line>> = stream::select_all([]);
    let mut opened = BTreeSet::new();
    let mut stopping = false;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop, if !stopping => stopping = true,
            Some(pod) = pods.next(), if !stopping => {
                // A watch that broke is begun again by itself.
                let Ok(pod) = pod else { continue };
                let Some(times) = begun(&pod) else { continue };
                if opened.insert((pod.name_any(), times)) {
                    match open(cluster, &pod, wanted).await {
                        Ok(source) => lines.push(source.into_lines()),
                        Err(failure) => screen.progress(&format!("error: {failure}")),
                    }
                }
            }
            Some(line) = lines.next(), if !lines.is_empty() => show(&line)?,
            else => {}
        }
        if stopping && lines.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
