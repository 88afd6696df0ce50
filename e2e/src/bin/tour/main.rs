//! The end of `make up`: waits for the demo system, writes `.local/env`, and shows with one order
//! per channel and one reconciliation run that the whole of it works.
//!
//! Fails, naming the object that blocks and its last events, when anything is not as it should be.

mod bills;
mod orders;
mod paint;
mod start_times;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::environment::{self, Environment};
use e2e::scene::{NAME, NAMESPACE};
use e2e::{Cluster, PaymentApi, Simulator, System, access};

use crate::paint::Paint;

/// An order to begin with.
const FIRST_ORDER: &str =
    r#"{"orderId":"ORDER-12345","amount":99.99,"currency":"CNY","userId":"USER-001"}"#;

/// Waits for the demo system and shows that it works.
#[derive(Parser)]
struct Arguments {
    /// Seconds the system gets to become ready
    #[arg(long, env = "TOUR_TIMEOUT_SECONDS", default_value_t = 600)]
    timeout_seconds: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let paint = Paint::for_stdout();
    match tour(&Arguments::parse(), paint).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{} {error:#}", Paint::for_stderr().bad("error:"));
            ExitCode::FAILURE
        }
    }
}

async fn tour(arguments: &Arguments, paint: Paint) -> Result<()> {
    let kubeconfig = environment::kubeconfig()?;
    let cluster = Cluster::connect(&kubeconfig).await?;
    let demo = System::new(&cluster, NAMESPACE, NAME);
    cluster.apply_yaml(&manifest()?).await?;
    access::admit(&demo).await?;
    wait(&demo, Duration::from_secs(arguments.timeout_seconds), paint).await?;
    let urls = access::urls(&demo).await?;
    let environment = Environment { kubeconfig, urls };
    environment.save()?;
    show_cluster(&demo, paint).await?;
    let api = PaymentApi::new(&environment.urls.api)?;
    let simulator = Simulator::new(&environment.urls.simulator_admin)?;
    let mut days = Vec::new();
    for (channel, title) in [("wechat", "WeChat Pay"), ("alipay", "Alipay")] {
        days.push(orders::pay_one(&api, &simulator, channel, title, paint).await?);
    }
    bills::reconcile(&demo, &simulator, &days, paint).await?;
    start_times::show(&demo, paint).await?;
    show_next(&environment, paint);
    Ok(())
}

fn manifest() -> Result<String> {
    let file = environment::root().join("e2e/manifests/access.yaml");
    std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

async fn wait(demo: &System, limit: Duration, paint: Paint) -> Result<()> {
    let title = format!(
        "PaymentSystem {} in namespace {}",
        demo.name, demo.namespace
    );
    println!("{}", paint.title(&title));
    let began = std::time::Instant::now();
    demo.wait_ready_telling(limit, |why| {
        println!("  {:>4} s  {}", began.elapsed().as_secs(), paint.dim(why));
    })
    .await?;
    println!(
        "  {:>4} s  {}",
        began.elapsed().as_secs(),
        paint.good("Ready")
    );
    Ok(())
}

/// The same rows that kubectl prints.
async fn show_cluster(demo: &System, paint: Paint) -> Result<()> {
    let namespace = &demo.namespace;
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let systems = format!("/apis/paymentsystem.dev/v1alpha1/namespaces/{namespace}/paymentsystems");
    for (command, path) in [("get pods", pods), ("get paysys", systems)] {
        println!(
            "\n{}",
            paint.title(&format!("kubectl {command} -n {namespace}"))
        );
        for line in demo.cluster.table(&path).await?.lines() {
            println!("  {line}");
        }
    }
    Ok(())
}

fn show_next(environment: &Environment, paint: Paint) {
    let kubectl = environment::cluster_setting("KUBE_BIN")
        .map_or("kubectl".to_owned(), |folder| format!("{folder}/kubectl"));
    let kubeconfig = environment.kubeconfig.display();
    let api = &environment.urls.api;
    println!("\n{}", paint.title("Try next"));
    println!("  KUBECONFIG={kubeconfig} {kubectl} get paysys -n {NAMESPACE}");
    println!("  curl -sS {api}/api/payments -H 'content-type: application/json' \\");
    println!("    -d '{FIRST_ORDER}'");
    println!("  make e2e");
    println!("\n  All addresses are in {}", Environment::file().display());
}
