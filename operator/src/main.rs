//! `payment-operator`: runs the operator, or prints what installs it.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use kube::{Client, Config};
use payment_operator::{
    controller::{self, Process},
    health::Health,
    install, keys,
    leader::{Candidate, Elector, Leadership},
    metrics::Metrics,
    requests, server,
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
            } = options;
            let alerts = monitoring.then(|| install::monitoring::yaml(&namespace));
            let installation = install::Installation {
                namespace,
                image,
                runtime_image,
                simulator_image,
            };
            print(&install::yaml(&installation)?)?;
            alerts.transpose()?.map_or(Ok(()), |alerts| print(&alerts))
        }
        Command::Crds => print(&crds::crd_yaml()?),
    }
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
    } = options;
    let process = Process {
        metrics: Arc::new(Metrics::default()),
        health: Arc::new(Health::default()),
        leadership: Leadership::standby(),
    };
    let config = Config::infer()
        .await
        .context("cannot find the API server")?;
    let client = requests::client(config.clone(), &process.leadership, &process.metrics)
        .context("cannot reach the API server")?;
    let candidate = Candidate {
        namespace,
        identity: identity.map_or_else(one_of_a_kind, Ok)?,
        lease: Duration::from_secs(lease_seconds),
    };
    let mut elector = Elector::new(Client::try_from(config)?, candidate, &process);
    let settings = Settings {
        runtime_image,
        simulator_image,
        ..Settings::default()
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
    tokio::select! {
        result = served => result.context("cannot serve")?,
        lost = elector.run() => return Err(lost).context("lost the lease"),
        () = controller::run_as(process, client, settings, stop) => {}
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
