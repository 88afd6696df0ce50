//! What is measured, scene by scene.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    Plan,
    audit::{Log, Request},
    cluster::{Cluster, EDITOR, OPERATOR, until},
    count, figure, foreign,
    player::{Player, systems},
    subject::Subject,
    tail,
};
use crate::{
    figures::{print, print_whole, quantile},
    process::own_cpu,
};

const NAME: &str = "demo";
/// Every part managed by the operator, orders and simulator too.
const EXAMPLE: &str = include_str!("../../../examples/demo.yaml");
/// Resources submitted at a time.
const SUBMITTERS: usize = 4;
/// Nothing was asked for this long: what was going on is over.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_WITHIN: Duration = Duration::from_mins(2);
/// For one system to become ready on a busy computer.
const READY_WITHIN_EACH: Duration = Duration::from_secs(3);

pub(super) struct Bench<'a> {
    plan: &'a Plan,
    program: &'a Path,
    cluster: Cluster,
    log: Log,
    subject: Option<Subject>,
    player: Option<Player>,
    spec: Value,
}

impl<'a> Bench<'a> {
    pub(super) async fn start(plan: &'a Plan, program: &'a Path) -> anyhow::Result<Self> {
        let cluster = Cluster::start(program).await?;
        for index in 0..plan.resources.max(plan.among) {
            cluster.create_namespace(&namespace(index)).await?;
        }
        cluster.create_namespace(foreign::NAMESPACE).await?;
        let subject = Subject::start(program, &cluster).await?;
        let example = EXAMPLE.split("---\n").last().context("an empty example")?;
        let example: Value = serde_saphyr::from_str(example)?;
        Ok(Self {
            plan,
            program,
            log: cluster.audit_log(),
            cluster,
            subject: Some(subject),
            player: None,
            spec: example["spec"].clone(),
        })
    }

    pub(super) fn last_words(&self) -> String {
        tail(&self.cluster.directory().join("operator.log"), 20).unwrap_or_default()
    }

    fn subject(&self) -> anyhow::Result<&Subject> {
        self.subject.as_ref().context("the operator does not run")
    }

    /// Processor time of the operator so far.
    fn cpu(&self) -> anyhow::Result<Duration> {
        self.subject()?.cpu()
    }

    /// What the operator asked for since the last call.
    fn requests(&mut self) -> anyhow::Result<Vec<Request>> {
        let mut requests = self.log.read()?;
        requests.retain(|request| request.user == OPERATOR);
        Ok(requests)
    }

    /// The same, once the log has shown that it does not stand still.
    async fn requests_of_a_living_log(&mut self) -> anyhow::Result<Vec<Request>> {
        let client = self.cluster.client_of(EDITOR)?;
        api(&client, 0).get_opt(NAME).await?;
        let mut requests = self.log.read()?;
        ensure!(
            requests.iter().any(|request| request.user == EDITOR),
            "the audit log stands still: nothing can be said"
        );
        requests.retain(|request| request.user == OPERATOR);
        Ok(requests)
    }

    /// Waits until nothing is asked for but the lease, and returns what was until then.
    async fn settled(&mut self) -> anyhow::Result<Vec<Request>> {
        let mut all = Vec::new();
        let begun = Instant::now();
        let mut last = begun;
        while last.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let new = self.requests()?;
            if new.iter().any(|request| !request.is_lease()) {
                last = Instant::now();
            }
            all.extend(new);
            if begun.elapsed() > QUIET_WITHIN {
                let asked: Vec<_> = all.iter().rev().take(5).collect();
                bail!("the operator does not come to rest; last it asked for {asked:#?}");
            }
        }
        Ok(all)
    }

    /// Counts what is asked for while nothing changes.
    async fn rest(&mut self, name: &str, of: u16) -> anyhow::Result<()> {
        self.settled().await?;
        let seconds = u64::from(self.plan.rest_seconds);
        // The wait for a time: that nothing happens during it is the claim.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let requests = self.requests_of_a_living_log().await?;
        let (leases, others): (Vec<_>, Vec<_>) = requests.into_iter().partition(Request::is_lease);
        let (watches, others): (Vec<_>, Vec<_>) = others.into_iter().partition(Request::is_watch);
        for request in &others {
            println!("#   {request:?}");
        }
        count(
            &format!("{name}_requests_{of}"),
            others.len(),
            "requests",
            0,
        )?;
        print_whole(
            &format!("{name}_watches_{of}"),
            u64::try_from(watches.len())?,
            "watches",
        );
        let per_minute = leases.len() * 60 / usize::from(self.plan.rest_seconds);
        if name == "rest" && of == 0 {
            count("lease_requests_per_minute", per_minute, "requests", 12)?;
        }
        Ok(())
    }

    /// No resource at all; then large objects of others.
    pub(super) async fn empty(&mut self) -> anyhow::Result<()> {
        self.rest("rest", 0).await?;
        let before = self.subject()?.rss_mb()?;
        figure("operator_rss_mb_0", before, "MB", 20.0)?;
        foreign::create(&self.cluster.client, self.plan.foreign).await?;
        self.settled().await?;
        let after = self.subject()?.rss_mb()?;
        figure("foreign_rss_mb", after - before, "MB", 1.0)?;
        self.restarted().await?;
        self.settled().await?;
        let restarted = self.subject()?.rss_mb()?;
        figure("foreign_rss_mb_restarted", restarted - before, "MB", 1.0)?;
        foreign::delete(&self.cluster.client).await
    }

    /// Kills the operator and starts another.
    async fn restarted(&mut self) -> anyhow::Result<Duration> {
        let old = self.subject.take().context("the operator does not run")?;
        old.kill()?;
        let begun = Instant::now();
        self.subject = Some(Subject::start(self.program, &self.cluster).await?);
        Ok(begun.elapsed())
    }

    /// One resource, first without and then with workloads that become ready. Returns how many
    /// children it has.
    pub(super) async fn one(&mut self) -> anyhow::Result<usize> {
        self.settled().await?;
        self.submit(0..1).await?;
        let mut requests = self.settled().await?;
        ensure!(
            requests.iter().any(Request::is_new_child),
            "the operator made nothing"
        );
        self.rest("waiting", 1).await?;
        let player = Player::start(&self.cluster.client);
        player.until_ready(1, Duration::from_mins(1)).await?;
        self.player = Some(player);
        requests.extend(self.settled().await?);
        let children = requests.iter().filter(|r| r.is_new_child()).count();
        print_whole("children_per_system", u64::try_from(children)?, "objects");
        self.rest("rest", 1).await?;
        Ok(children)
    }

    /// Many resources at once.
    pub(super) async fn many(&mut self, children: usize) -> anyhow::Result<()> {
        let resources = self.plan.resources;
        let new = usize::from(resources) - 1;
        let (begun, cpu, own) = (Timestamp::now(), self.cpu()?, own_cpu()?);
        self.submit(1..resources).await?;
        self.until_ready(resources).await?;
        let requests = self.settled().await?;
        let cpu = self.cpu()?.saturating_sub(cpu).as_secs_f64();
        println!(
            "# this program's own processor time meanwhile: {:.1} s",
            own_cpu()?.saturating_sub(own).as_secs_f64()
        );
        let made: Vec<_> = requests.iter().filter(|r| r.is_new_child()).collect();
        ensure!(
            made.len() == new * children,
            "{} children were made, not {new} times {children}",
            made.len()
        );
        let last = made.iter().map(|r| r.received).max().context("no child")?;
        let seconds = last.duration_since(begun).as_secs_f64();
        // A peer makes ten children of each of 100 resources in 16 s.
        let bar = 16.0 * whole(made.len()) / 1000.0;
        figure(&format!("create_{resources}_seconds"), seconds, "s", bar)?;
        print(
            "create_ms_per_child",
            seconds * 1000.0 / whole(made.len()),
            "ms",
        )?;
        print(
            "create_cpu_ms_per_child",
            cpu * 1000.0 / whole(made.len()),
            "ms",
        )?;
        created(&requests, new, children)?;
        self.rest("rest", resources).await?;
        let rss = self.subject()?.rss_mb()?;
        figure(&format!("operator_rss_mb_{resources}"), rss, "MB", 45.0)
    }

    /// An operator that starts over converged systems.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        let resources = self.plan.resources;
        self.settled().await?;
        let until_leads = self.restarted().await?;
        let subject = self.subject()?;
        let wanted = f64::from(resources);
        until("a pass over each system", QUIET_WITHIN, async || {
            subject.passes().await.is_ok_and(|passes| passes >= wanted)
        })
        .await?;
        let requests = self.settled().await?;
        for write in requests
            .iter()
            .filter(|r| r.is_write() && !r.is_lease())
            .take(5)
        {
            println!("#   {write:?}");
        }
        let writes = requests.iter().filter(|r| r.is_write() && !r.is_lease());
        count(
            &format!("restart_writes_{resources}"),
            writes.count(),
            "requests",
            0,
        )?;
        let reads = requests.iter().filter(|r| r.is_read() && !r.is_lease());
        print_whole(
            &format!("restart_reads_{resources}"),
            u64::try_from(reads.count())?,
            "requests",
        );
        print("restart_leads_seconds", until_leads.as_secs_f64(), "s")?;
        let rss = self.subject()?.rss_mb()?;
        figure(
            &format!("operator_rss_mb_{resources}_restarted"),
            rss,
            "MB",
            45.0,
        )
    }

    /// How soon an edit of one among very many is acted upon.
    pub(super) async fn edits(&mut self) -> anyhow::Result<()> {
        let (among, edits) = (self.plan.among, self.plan.edits.min(self.plan.among));
        self.submit(self.plan.resources..among).await?;
        self.until_ready(among).await?;
        self.settled().await?;
        self.log.read()?;
        let client = self.cluster.client_of(EDITOR)?;
        let pause = Duration::from_secs(1) / u32::from(self.plan.edits_per_second);
        let mut clock = tokio::time::interval(pause);
        for edit in 0..edits {
            clock.tick().await;
            // Spread over all, so that no two neighbours are edited together.
            let index = u32::from(edit) * u32::from(among) / u32::from(edits);
            change(&client, u16::try_from(index)?).await?;
        }
        let mut requests = Vec::new();
        until_quiet(&mut self.log, &mut requests).await?;
        let latencies = latencies(&requests, usize::from(edits))?;
        print(
            &format!("edit_p50_ms_{among}"),
            quantile(&latencies, 0.5),
            "ms",
        )?;
        let p99 = quantile(&latencies, 0.99);
        figure(&format!("edit_p99_ms_{among}"), p99, "ms", 1000.0)?;
        print(
            &format!("operator_rss_mb_{among}"),
            self.subject()?.rss_mb()?,
            "MB",
        )
    }

    async fn submit(&self, indices: std::ops::Range<u16>) -> anyhow::Result<()> {
        stream::iter(indices)
            .map(Ok)
            .try_for_each_concurrent(SUBMITTERS, async |index| {
                let object: DynamicObject = serde_json::from_value(json!({
                    "apiVersion": "paymentsystem.dev/v1alpha1",
                    "kind": "PaymentSystem",
                    "metadata": {"name": NAME},
                    "spec": self.spec,
                }))?;
                api(&self.cluster.client, index)
                    .create(&PostParams::default(), &object)
                    .await
                    .with_context(|| format!("cannot submit system {index}"))?;
                anyhow::Ok(())
            })
            .await
    }

    async fn until_ready(&self, resources: u16) -> anyhow::Result<()> {
        let player = self.player.as_ref().context("nobody plays")?;
        let within = READY_WITHIN_EACH * u32::from(resources);
        player.until_ready(usize::from(resources), within).await
    }
}

fn namespace(index: u16) -> String {
    format!("tenant-{index:04}")
}

fn api(client: &Client, index: u16) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &namespace(index), &systems())
}

/// An edit that changes the services' configuration.
async fn change(client: &Client, index: u16) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": {"payment": {"expiresInSeconds": 3599}}}));
    api(client, index)
        .patch(NAME, &PatchParams::default(), &patch)
        .await
        .with_context(|| format!("cannot edit system {index}"))?;
    Ok(())
}

/// Prints what it cost to make all children of `systems` systems.
fn created(requests: &[Request], systems: usize, children: usize) -> anyhow::Result<()> {
    let asked: Vec<_> = requests
        .iter()
        .filter(|r| !r.is_lease() && !r.is_watch())
        .collect();
    let per_system = |count: usize| whole(count) / whole(systems);
    let extra: Vec<_> = asked
        .iter()
        .filter(|r| r.is_write() && !r.is_new_child())
        .collect();
    let mut kinds = BTreeMap::<String, usize>::new();
    for request in &extra {
        let kind = format!("{} {} {}", request.verb, request.resource, request.code);
        *kinds.entry(kind).or_default() += 1;
    }
    for (kind, count) in kinds {
        println!(
            "#   beside children, for each system: {:.2} {kind}",
            per_system(count)
        );
    }
    let most = (whole(children) + 4.0) / whole(children);
    let per_child = whole(asked.len()) / whole(systems * children);
    figure("create_requests_per_child", per_child, "requests", most)?;
    figure(
        "create_extra_writes_per_system",
        per_system(extra.len()),
        "requests",
        4.0,
    )?;
    let reads = asked.iter().filter(|r| r.is_read()).count();
    figure(
        "create_reads_per_system",
        per_system(reads),
        "requests",
        0.0,
    )
}

/// Reads the log of both users until the operator has come to rest.
async fn until_quiet(log: &mut Log, requests: &mut Vec<Request>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut last = begun;
    while last.elapsed() < QUIET {
        ensure!(begun.elapsed() < QUIET_WITHIN, "edits never come to an end");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let new = log.read()?;
        if new.iter().any(|r| r.user == OPERATOR && !r.is_lease()) {
            last = Instant::now();
        }
        requests.extend(new);
    }
    Ok(())
}

/// Milliseconds from each edit to the first write that follows it in its namespace, sorted.
fn latencies(requests: &[Request], edits: usize) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(edits);
    for edit in requests.iter().filter(|r| r.user == EDITOR) {
        let first = requests
            .iter()
            .filter(|r| r.user == OPERATOR && r.is_write() && r.namespace == edit.namespace)
            .map(|r| r.received)
            .filter(|received| *received >= edit.received)
            .min();
        let first =
            first.with_context(|| format!("no write follows the edit in {}", edit.namespace))?;
        latencies.push(first.duration_since(edit.received).as_secs_f64() * 1000.0);
    }
    ensure!(
        latencies.len() == edits,
        "{} edits, not {edits}",
        latencies.len()
    );
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn whole(count: usize) -> f64 {
    count as f64
}
