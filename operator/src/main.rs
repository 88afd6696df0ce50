//! `payment-operator`: runs the operator, or prints what installs it.

use std::{io::Write, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use payment_operator::{controller, install, metrics::Metrics, server, validate::Settings};
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
            } = options;
            let installation = install::Installation {
                namespace,
                image,
                runtime_image,
                simulator_image,
            };
            print(&install::yaml(&installation)?)
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
    } = options;
    let client = kube::Client::try_default()
        .await
        .context("cannot reach the API server")?;
    let metrics = Arc::new(Metrics::default());
    let settings = Settings {
        runtime_image,
        simulator_image,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    };
    tokio::select! {
        result = server::serve(listen, Arc::clone(&metrics)) => result.context("cannot serve")?,
        () = controller::run(client, settings, metrics, stop) => {}
    }
    Ok(())
}
