//! `payment-runtime differences …`: what people do about differences, on the command line.
//!
//! Guarantees: the same filters, names and rules as over HTTP. Who acts is taken at their word:
//! whoever has a shell beside the configuration has the database as well.
//!
//! Part of the program, not of the library.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use payment_runtime::reconcile::Reconciler;
use payment_runtime::reconcile::books::Filter;
use payment_runtime::reconcile::resolve::{Proposal, Resolution};
use payment_runtime::reconcile::shown::{self, DifferenceDetail, DifferenceLine, Side};
use payment_runtime::roles::{self, Parts};

const NAME_MAX: usize = 64;

#[derive(Subcommand)]
pub(crate) enum Differences {
    /// List differences, those that are not resolved unless --state says otherwise
    List(List),
    /// Show one difference with its trail, the payment's history and its ledger entries
    Show(One),
    /// Say who looks after a difference
    Assign {
        #[command(flatten)]
        by: By,
        /// The person; empty gives it back
        #[arg(long, value_name = "NAME")]
        assignee: String,
    },
    /// Add a note to the trail
    Comment {
        #[command(flatten)]
        by: By,
        #[arg(long)]
        note: String,
    },
    /// Resolve a difference, or propose to where the amount takes two people
    Resolve {
        #[command(flatten)]
        by: By,
        /// explained, released or written-off
        #[arg(long, value_parser = parse_resolution)]
        resolution: Resolution,
        #[arg(long)]
        reason: String,
        #[arg(long)]
        note: String,
    },
    /// Agree to what another person proposed
    Approve {
        #[command(flatten)]
        by: By,
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Turn a proposal down
    Reject {
        #[command(flatten)]
        by: By,
        #[arg(long)]
        note: String,
    },
}

#[derive(Args)]
pub(crate) struct Shown {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON, as the API answers
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    shown: Shown,
    /// open, waiting, proposed, resolved or all
    #[arg(long)]
    state: Option<String>,
    #[arg(long)]
    class: Option<String>,
    /// wechat or alipay
    #[arg(long)]
    channel: Option<String>,
    /// The bill's Beijing day
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<String>,
    /// Of the order, payment, refund or transaction
    #[arg(long)]
    number: Option<String>,
    #[arg(long, value_name = "NAME")]
    assignee: Option<String>,
    /// The `nextCursor` of the page before
    #[arg(long, default_value_t = 0)]
    cursor: u64,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

#[derive(Args)]
pub(crate) struct One {
    #[command(flatten)]
    shown: Shown,
    /// The difference
    id: u64,
}

#[derive(Args)]
pub(crate) struct By {
    #[command(flatten)]
    one: One,
    /// Who does it; stands in the trail and in the ledger
    #[arg(long, value_name = "NAME", value_parser = parse_actor)]
    actor: String,
}

fn parse_actor(name: &str) -> Result<String, String> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("system") {
        return Err("system is what nobody decided by hand; give your own name".to_owned());
    }
    let printable = !name.chars().any(char::is_control);
    if name.is_empty() || name.chars().count() > NAME_MAX || !printable {
        return Err(format!("must have 1 to {NAME_MAX} printable characters"));
    }
    Ok(name.to_owned())
}

fn parse_resolution(name: &str) -> Result<Resolution, String> {
    let known = Resolution::ALL.map(Resolution::as_str).join(", ");
    Resolution::parse(name).ok_or_else(|| format!("must be one of {known}"))
}

pub(crate) async fn run(command: Differences) -> anyhow::Result<()> {
    match command {
        Differences::List(list) => show_list(list).await,
        Differences::Show(one) => show_one(&*open(&one.shown.config)?, &one).await,
        Differences::Assign { by, assignee } => {
            let parts = open(&by.one.shown.config)?;
            let at = Reconciler::new(&parts);
            at.assign(by.one.id, &assignee, &by.actor).await?;
            show_one(&parts, &by.one).await
        }
        Differences::Comment { by, note } => {
            let parts = open(&by.one.shown.config)?;
            let at = Reconciler::new(&parts);
            at.comment(by.one.id, &note, &by.actor).await?;
            show_one(&parts, &by.one).await
        }
        Differences::Resolve {
            by,
            resolution,
            reason,
            note,
        } => {
            let parts = open(&by.one.shown.config)?;
            let proposal = Proposal {
                resolution,
                reason,
                note,
            };
            let at = Reconciler::new(&parts);
            at.resolve(by.one.id, &proposal, &by.actor).await?;
            show_one(&parts, &by.one).await
        }
        Differences::Approve { by, note } => {
            let parts = open(&by.one.shown.config)?;
            let at = Reconciler::new(&parts);
            at.approve(by.one.id, &note, &by.actor).await?;
            show_one(&parts, &by.one).await
        }
        Differences::Reject { by, note } => {
            let parts = open(&by.one.shown.config)?;
            let at = Reconciler::new(&parts);
            at.reject(by.one.id, &note, &by.actor).await?;
            show_one(&parts, &by.one).await
        }
    }
}

/// Without a word about the configuration: what is printed is read by programs, too.
fn open(config: &Path) -> anyhow::Result<Arc<Parts>> {
    roles::prepare(crate::read(config)?)
}

async fn show_list(list: List) -> anyhow::Result<()> {
    let filter = Filter {
        state: list.state,
        class: list.class,
        channel: list.channel,
        day: list.day,
        number: list.number,
        assignee: list.assignee,
    };
    let filter = filter.checked()?;
    let parts = open(&list.shown.config)?;
    let limit = list.limit;
    let mut found = parts
        .store
        .differences(&filter, list.cursor, limit + 1)
        .await
        .context("the differences cannot be read")?;
    parts.store.close().await;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|last| last.id);
    let lines: Vec<DifferenceLine> = found.iter().map(shown::line).collect();
    if list.shown.json {
        let page = serde_json::json!({"data": lines, "hasMore": more, "nextCursor": next});
        println!("{page}");
        return Ok(());
    }
    print_table(&lines);
    if let Some(next) = next {
        println!("there are more: --cursor {next}");
    }
    Ok(())
}

fn print_table(lines: &[DifferenceLine]) {
    println!(
        "{:>8}  {:<10}  {:<7}  {:<26}{:<34}{:>14}{:>14}  {:<9} {:<12} why",
        "id", "day", "channel", "class", "number", "ours", "channel's", "state", "assignee"
    );
    for line in lines {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        println!(
            "{:>8}  {:<10}  {:<7}  {:<26}{:<34}{:>14}{:>14}  {:<9} {:<12} {}",
            line.id,
            line.day,
            line.channel,
            line.class,
            line.number,
            text(&line.our_amount),
            text(&line.channel_amount),
            line.state.as_str(),
            text(&line.assignee),
            line.why,
        );
    }
}

async fn show_one(parts: &Parts, one: &One) -> anyhow::Result<()> {
    let detail = shown::detail(parts, one.id)
        .await
        .context("the difference cannot be read")?;
    parts.store.close().await;
    let Some(detail) = detail else {
        bail!("there is no difference {}", one.id);
    };
    if one.shown.json {
        println!("{}", serde_json::to_string(&detail)?);
    } else {
        print_detail(&detail);
    }
    Ok(())
}

fn print_detail(detail: &DifferenceDetail) {
    let line = &detail.line;
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let side = |side: &Option<Side>| {
        side.as_ref().map_or_else(
            || "-".to_owned(),
            |side| format!("{} {}", side.amount, side.currency),
        )
    };
    println!("difference {}: {}, {}", line.id, line.class, detail.meaning);
    println!("  {} {} of {}", line.kind, line.number, line.day);
    println!("  channel      {}", line.channel);
    println!("  order        {}", line.channel_order_no);
    println!("  payment      {}", text(&line.payment_id));
    println!("  transaction  {}", text(&line.transaction_id));
    let columns = &detail.columns;
    println!(
        "  ours         {} ({})",
        side(&columns.ours),
        text(&line.our_status)
    );
    println!("  channel's    {}", side(&columns.channel));
    println!("  difference   {}", side(&columns.difference));
    println!("  state        {}: {}", line.state.as_str(), line.why);
    println!("  resolution   {}", text(&line.resolution));
    println!("  assignee     {}", text(&line.assignee));
    println!("trail");
    for step in &detail.trail {
        let (actor, action) = (&step.actor, &step.action);
        println!("  {}  {actor}: {action} {}", step.at, step.reason);
        if !step.note.is_empty() {
            println!("    {}", step.note.replace('\n', "\n    "));
        }
    }
    println!("the payment");
    for event in &detail.timeline {
        let from = event.from.as_deref().unwrap_or("-");
        let (source, seen) = (&event.source, &event.observation);
        println!(
            "  {}  {source}: {seen}, {from} to {} ({})",
            event.at, event.to, event.decision
        );
    }
    println!("the ledger");
    for entry in detail.entries.iter().chain(&detail.booked) {
        let (debit, credit, cause) = (&entry.debit, &entry.credit, &entry.cause);
        let (minor, currency) = (entry.amount_minor, &entry.currency);
        println!(
            "  {}  {cause}: {debit} from {credit}, {minor} {currency} (minor units)",
            entry.recorded_at
        );
    }
    if detail.shortened {
        println!("there are more lines than are shown");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_acts_has_a_name_of_their_own() {
        assert_eq!(parse_actor(" li.na ").unwrap(), "li.na");
        for name in ["system", "System ", "", "  ", "a\nb"] {
            assert!(parse_actor(name).is_err(), "{name:?}");
        }
        assert!(parse_actor(&"n".repeat(65)).is_err());
    }
}
