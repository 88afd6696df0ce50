//! `payment-runtime prove`: one day's proof on the command line.
//!
//! Part of the program, not of the library: what it prints comes from [`payment_runtime::prove`].

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use contract::RuntimeConfig;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_runtime::prove::{self, Wanted, export};
use payment_runtime::store::Store;

#[derive(clap::Args)]
pub(crate) struct Prove {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The day (Beijing calendar)
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Date,
    /// Only this channel (wechat or alipay)
    #[arg(long, value_parser = crate::parse_channel)]
    channel: Option<ChannelKind>,
    /// Also write the evidence and a script that checks it into this directory, which must be
    /// empty or not there
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Exits with 0 if the day is proven, 1 if something does not hold, 2 if a bill is missing.
pub(crate) async fn run(asked: Prove) -> anyhow::Result<ExitCode> {
    let config = crate::read(&asked.config)?;
    let wanted = Wanted {
        day: asked.date,
        channels: channels(&config, asked.channel)?,
    };
    let store = Store::new(&config.mysql)?;
    let proof = match &asked.export {
        Some(directory) => export::prove_and_export(&store, &wanted, directory)
            .await
            .context("nothing was exported")?,
        None => prove::prove(&store, &wanted)
            .await
            .context("the books cannot be read")?,
    };
    store.close().await;
    if asked.json {
        println!("{}", serde_json::to_string(&proof)?);
    } else {
        println!("{proof}");
    }
    Ok(ExitCode::from(proof.exit_code()))
}

fn channels(config: &RuntimeConfig, only: Option<ChannelKind>) -> anyhow::Result<Vec<ChannelKind>> {
    let configured = [
        (ChannelKind::Wechat, config.channels.wechat.is_some()),
        (ChannelKind::Alipay, config.channels.alipay.is_some()),
    ];
    let channels: Vec<ChannelKind> = configured
        .into_iter()
        .filter(|(kind, is_there)| *is_there && only.is_none_or(|only| only == *kind))
        .map(|(kind, _)| kind)
        .collect();
    match (channels.is_empty(), only) {
        (true, Some(kind)) => bail!("channel {kind} is not configured"),
        (true, None) => bail!("no channel is configured"),
        (false, _) => Ok(channels),
    }
}
