//! `payment-runtime ledger …`: the check and the statements on the command line.
//!
//! Part of the program, not of the library: what it prints comes from [`payment_runtime::ledger`].

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use jiff::civil::Date;
use payment_core::{Account, Currency, Money};
use payment_runtime::ledger::{self, Statement, Wanted};
use payment_runtime::store::Store;

/// Entries read at once.
const PAGE: u32 = 500;

#[derive(Subcommand)]
pub(crate) enum Ledger {
    /// Recompute every seal, balance and payment; exit with 1 if anything is wrong
    Check {
        /// The configuration file (YAML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print one account's day: opening balance, entries, closing balance
    Statement(Asked),
}

#[derive(clap::Args)]
pub(crate) struct Asked {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The account, such as merchant or clearing:wechat
    #[arg(long, value_parser = parse_account)]
    account: Account,
    /// The Beijing value day
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Date,
    #[arg(long, default_value = "CNY", value_parser = parse_currency)]
    currency: Currency,
    /// Print only the entries, as CSV
    #[arg(long)]
    csv: bool,
}

fn parse_account(name: &str) -> Result<Account, String> {
    let names = Account::ALL.map(Account::as_str).join(", ");
    Account::parse(name).ok_or_else(|| format!("must be one of {names}"))
}

fn parse_currency(code: &str) -> Result<Currency, String> {
    Currency::parse(code).map_err(|error| error.to_string())
}

pub(crate) async fn run(command: Ledger) -> anyhow::Result<()> {
    match command {
        Ledger::Check { config, json } => check(&open(&config)?, json).await,
        Ledger::Statement(asked) => statement(&open(&asked.config)?, &asked).await,
    }
}

fn open(config: &std::path::Path) -> anyhow::Result<Store> {
    Store::new(&crate::read(config)?.mysql)
}

async fn check(store: &Store, json: bool) -> anyhow::Result<()> {
    let report = ledger::check(store)
        .await
        .context("the ledger cannot be read")?;
    store.close().await;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    if !report.is_clean() {
        bail!("the ledger is not sound");
    }
    Ok(())
}

async fn statement(store: &Store, asked: &Asked) -> anyhow::Result<()> {
    let wanted = Wanted {
        account: asked.account,
        currency: asked.currency,
        day: asked.day,
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut after, mut minor) = (0, None);
    loop {
        let page = ledger::statement(store, &wanted, after, PAGE)
            .await
            .context("the statement cannot be read")?;
        let money = |minor| Money::new(minor, asked.currency).to_decimal();
        if minor.is_none() {
            begin(&mut out, &page, asked, &money(page.opening_minor))?;
        }
        let balance = minor.get_or_insert(page.opening_minor);
        for entry in &page.entries {
            *balance += page.minor(entry);
            if asked.csv {
                writeln!(out, "{}", ledger::csv_line(&page, asked.currency, entry))?;
            } else {
                let (amount, now) = (money(page.minor(entry)), money(*balance));
                let about = entry.payment_no.as_deref().unwrap_or(&entry.entry_key);
                let cause = &entry.cause;
                writeln!(
                    out,
                    "{:>10}  {cause:<16} {about:<36} {amount:>16} {now:>16}",
                    entry.id
                )?;
            }
        }
        if let Some(next) = page.next {
            after = next;
            continue;
        }
        if !asked.csv {
            writeln!(out, "closing balance {}", money(page.closing_minor))?;
        }
        out.flush()?;
        store.close().await;
        if *balance != page.closing_minor {
            bail!("entries were added while the statement was read: read it again");
        }
        return Ok(());
    }
}

fn begin(
    out: &mut impl std::io::Write,
    page: &Statement,
    asked: &Asked,
    opening: &str,
) -> std::io::Result<()> {
    if asked.csv {
        return writeln!(out, "{}", ledger::csv_header());
    }
    let Statement {
        account,
        currency,
        day,
        ..
    } = page;
    writeln!(out, "{account}, {day}, {currency}; debits are positive")?;
    writeln!(out, "opening balance {opening}")
}
