//! `payment-operator`: runs the operator, or prints what installs it.

use std::{collections::BTreeSet, io::Write, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use futures::FutureExt;
use kube::{Client, Config};
use payment_operator::{
    controller::{self, Process},
    discovery::Discovery,
    health::Health,
    install, keys,
    leader::{Candidate, Elector, Leadership},
    metrics::Metrics,
    requests,
    scope::{self, Scope},
    server,
    validate::Settings,
};
use tokio::signal::unix::{SignalKind, signal};

/// glibc keeps the memory of the first lists; this allocator gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns PaymentSystem resources into running payment systems.
#[derive(Parser)]
#[command(name = "payment-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// `run` may be left out; its options then come from the environment.
    fn command(self) -> Command {
        self.command
            .unwrap_or_else(|| Command::Run(Run::parse_from(["payment-operator"])))
    }
}

#[derive(Subcommand)]
enum Command {
    /// Runs the operator (the default).
    Run(Run),
    /// Prints the objects that install the operator.
    Manifests(Manifests),
    /// Prints the admission policy that refuses late writes, for an operator that was installed
    /// with --watch-namespaces. Who applies it needs rights in the cluster.
    Fence(Fence),
    /// Prints the definition of the PaymentSystem resource.
    Crds,
}

#[derive(Parser)]
struct Run {
    /// Image of the payment runtime where a PaymentSystem names none.
    #[arg(long, env = "RUNTIME_IMAGE")]
    runtime_image: Option<String>,
    /// Image of the channel simulator.
    #[arg(long, env = "SIMULATOR_IMAGE")]
    simulator_image: Option<String>,
    /// Where liveness, readiness and metrics are served.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Namespace of the lease that the operator that writes holds.
    #[arg(long, env = "POD_NAMESPACE", default_value = "payment-system")]
    namespace: String,
    /// Name of this operator in the lease: that of its pod. Of two at a time, never the same.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Seconds after which the lease of an operator that is silent is another's.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(4..=600))]
    lease_seconds: u64,
    /// Version under which this operator renders: what another version made is kept until the
    /// specification is edited. For builds between two releases, which would else pass for one.
    #[arg(long, env = "OPERATOR_VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    rendering_version: String,
    /// The only namespaces in which systems are looked for. Left out: the whole cluster.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', value_parser = scope::namespace)]
    watch_namespaces: Vec<String>,
    /// With --watch-namespaces: seconds after which a kind that other projects bring is noticed.
    #[arg(long, env = "DISCOVERY_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..=3600))]
    discovery_seconds: u64,
}

#[derive(Args)]
struct Manifests {
    /// Image of the operator.
    #[arg(long)]
    image: String,
    /// Image of the payment runtime.
    #[arg(long)]
    runtime_image: String,
    /// Image of the channel simulator.
    #[arg(long)]
    simulator_image: Option<String>,
    /// Namespace of the operator.
    #[arg(long, default_value = "payment-system")]
    namespace: String,
    /// Also what the Prometheus Operator needs to scrape the operator, and its alerts.
    #[arg(long)]
    monitoring: bool,
    /// Also permits what the API server asks of who sets owner references, where it does (the
    /// admission plugin OwnerReferencesPermissionEnforcement, as on OpenShift).
    #[arg(long)]
    owner_references_enforced: bool,
    /// The only namespaces with systems: prints Roles there and nothing that belongs to the
    /// cluster. They must exist.
    #[arg(long, value_delimiter = ',', value_parser = scope::namespace)]
    watch_namespaces: Vec<String>,
}

#[derive(Args)]
struct Fence {
    /// Namespace of the operator.
    #[arg(long, default_value = "payment-system")]
    namespace: String,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command() {
        Command::Run(options) => run(options),
        Command::Manifests(options) => {
            let Manifests {
                image,
                runtime_image,
                simulator_image,
                namespace,
                monitoring,
                owner_references_enforced,
                watch_namespaces,
            } = options;
            let alerts = monitoring.then(|| install::monitoring::yaml(&namespace));
            let installation = install::Installation {
                namespace,
                image,
                runtime_image,
                simulator_image,
                owner_references_enforced,
                watch_namespaces: few(watch_namespaces)?,
            };
            print(&install::yaml(&installation)?)?;
            alerts.transpose()?.map_or(Ok(()), |alerts| print(&alerts))
        }
        Command::Fence(Fence { namespace }) => print(&install::fence_yaml(&namespace)?),
        Command::Crds => print(&crds::crd_yaml()?),
    }
}

/// The namespaces, each once.
fn few(namespaces: Vec<String>) -> anyhow::Result<Vec<String>> {
    let each: BTreeSet<String> = namespaces.into_iter().collect();
    anyhow::ensure!(
        each.len() <= scope::NAMESPACES_MAX,
        "{} namespaces are named: with more than {}, leave --watch-namespaces out and watch the whole cluster",
        each.len(),
        scope::NAMESPACES_MAX
    );
    Ok(each.into_iter().collect())
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
}

/// One thread does all the work: passes are pure and short, everything else waits for the network.
#[tokio::main(flavor = "current_thread")]
async fn run(options: Run) -> anyhow::Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .init();
    let Run {
        runtime_image,
        simulator_image,
        listen,
        namespace,
        identity,
        lease_seconds,
        rendering_version,
        watch_namespaces,
        discovery_seconds,
    } = options;
    let namespaces = few(watch_namespaces)?;
    let process = Process {
        metrics: Arc::new(Metrics::default()),
        health: Arc::new(Health::default()),
        leadership: Leadership::standby(),
        scope: Scope::Cluster,
    };
    let config = Config::infer()
        .await
        .context("cannot find the API server")?;
    let client = requests::client(config.clone(), &process.leadership, &process.metrics)
        .context("cannot reach the API server")?;
    let candidate = Candidate {
        namespace: namespace.clone(),
        identity: identity.map_or_else(one_of_a_kind, Ok)?,
        lease: Duration::from_secs(lease_seconds),
    };
    let mut elector = Elector::new(Client::try_from(config)?, candidate, &process);
    let settings = Settings {
        runtime_image,
        simulator_image,
        namespace,
        version: rendering_version,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let (stopped, stopping) = tokio::sync::oneshot::channel();
    let stop = async move {
        terminate.recv().await;
        let _ = stopped.send(());
    };
    let served = server::serve(
        listen,
        Arc::clone(&process.metrics),
        Arc::clone(&process.health),
    );
    let work = if namespaces.is_empty() {
        controller::run_as(process, client, settings, stop).boxed()
    } else {
        let discovery = Discovery::new(Duration::from_secs(discovery_seconds));
        let work = async move {
            scope::run(&namespaces, discovery, &process, client, settings, stop).await;
        };
        work.boxed()
    };
    tokio::select! {
        result = served => result.context("cannot serve")?,
        lost = elector.run() => return Err(lost).context("lost the lease"),
        () = work => {}
    }
    anyhow::ensure!(stopping.await.is_ok(), "the operator ended by itself");
    elector.release().await;
    Ok(())
}

/// A name for an operator outside of a cluster.
fn one_of_a_kind() -> anyhow::Result<String> {
    let suffix = keys::upper_hex(8).context("cannot make a name")?;
    Ok(format!("payment-operator-{}", suffix.to_lowercase()))
}
