//! Puts a day's stories where a comparison finds them: records and ledger into the database, the
//! bills into files in the channels' own formats.
//!
//! Not here: the bills' rows in the database; those are imported from the files, and measured.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use channels::bad_bills::write_bill;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payment_core::{ChannelKind, PayMethod};
use payment_runtime::clock;
use payment_runtime::ledger::shard_of;
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection};

use super::story::{Payment, Refund, Stories, Story};

/// A bill in a file, and WeChat Pay's hash of it.
pub(crate) struct BillOnDisk {
    pub(crate) path: PathBuf,
    pub(crate) hash: Option<String>,
}

const PAYMENTS: &str = "payment_records (payment_no, business_no, attempt, user_id, \
     payment_channel, method, channel_order_no, amount, currency, subject, action, request_hash, \
     status, transaction_id, paid_at, paid_day, reserved_minor, refunded_minor, refund_count, \
     expires_at, created_at, updated_at)";
const REFUNDS: &str = "payment_refunds (refund_no, payment_no, payment_channel, channel_order_no, \
     channel_refund_no, amount, payment_amount, currency, request_hash, origin, status, \
     channel_refund_id, refunded_at, created_at, updated_at)";
const ENTRIES: &str = "ledger_entries (entry_key, shard, payment_no, refund_no, payment_channel, \
     debit_account, credit_account, amount, currency, day, cause, source, actor, reference, \
     recorded_at)";

/// Fills the tables that are compared with the bill. The entries of the ledger wait for their
/// seals: no comparison reads those.
pub(crate) async fn tables(
    stories: &Stories,
    directory: &Path,
    connection: &mut MySqlConnection,
) -> anyhow::Result<()> {
    let names = ["payments", "refunds", "entries"];
    let paths = names.map(|name| directory.join(name));
    write_tables(stories, &paths)?;
    // What is only prepared needs no second copy.
    connection
        .execute("SET SESSION sql_log_bin = 0, unique_checks = 0")
        .await?;
    for (path, table) in paths.iter().zip([PAYMENTS, REFUNDS, ENTRIES]) {
        let (name, columns) = table.split_once(' ').context("no columns")?;
        let sql = format!(
            "LOAD DATA INFILE '{}' INTO TABLE {name} CHARACTER SET utf8mb4 {columns}",
            path.display()
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *connection)
            .await
            .with_context(|| format!("{name} cannot be filled"))?;
        std::fs::remove_file(path)?;
        // The optimizer learns of new rows by itself, some seconds later.
        sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE TABLE {name}")))
            .execute(&mut *connection)
            .await?;
    }
    connection
        .execute(
            "INSERT INTO ledger_unsealed (shard, entry_id) SELECT shard, id FROM ledger_entries",
        )
        .await?;
    Ok(())
}

fn write_tables(stories: &Stories, paths: &[PathBuf; 3]) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for path in paths {
        files.push(BufWriter::new(File::create(path)?));
    }
    let channel = stories.channel;
    for order in 0..stories.orders {
        for payment in stories.story(order).payments {
            write_line(&mut files[0], &payment_line(channel, &payment))?;
            if let Some(refund) = &payment.refund {
                write_line(&mut files[1], &refund_line(channel, &payment, refund))?;
            }
            for line in entry_lines(channel, stories.day, &payment) {
                write_line(&mut files[2], &line)?;
            }
        }
    }
    for mut file in files {
        file.flush()?;
    }
    Ok(())
}

fn write_line(file: &mut BufWriter<File>, fields: &[String]) -> std::io::Result<()> {
    for (at, field) in fields.iter().enumerate() {
        let separator: &[u8] = if at == 0 { b"" } else { b"\t" };
        file.write_all(separator)?;
        file.write_all(field.as_bytes())?;
    }
    file.write_all(b"\n")
}

fn payment_line(channel: ChannelKind, payment: &Payment) -> [String; 22] {
    let refund = payment.refund.as_ref();
    let paid = payment.paid_at;
    let expires_at = later(payment.created_at, 900);
    [
        payment.number(),
        payment.order_id.clone(),
        payment.attempt.to_string(),
        format!("user-{}", &payment.order_id[6..12]),
        channel.as_str().to_owned(),
        match channel {
            ChannelKind::Wechat => PayMethod::WechatNative,
            ChannelKind::Alipay => PayMethod::AlipayPrecreate,
        }
        .as_str()
        .to_owned(),
        payment.id.clone(),
        payment.amount.minor.to_string(),
        payment.amount.currency.code().to_owned(),
        "a subject of some words".to_owned(),
        format!(
            r#"{{"type": "QR_CODE", "url": "weixin://wxpay/bizpayurl?pr={}"}}"#,
            payment.id
        ),
        payment.id.repeat(2),
        payment.status.as_str().to_owned(),
        or_null(paid.map(|_| format!("42{}", payment.id))),
        or_null(paid.map(moment)),
        or_null(paid.map(|at| clock::bill_day(at).to_string())),
        refund.map_or(0, |refund| refund.minor).to_string(),
        payment.refunded_minor().to_string(),
        u8::from(refund.is_some()).to_string(),
        moment(expires_at),
        moment(payment.created_at),
        moment(paid.unwrap_or(expires_at)),
    ]
}

fn refund_line(channel: ChannelKind, payment: &Payment, refund: &Refund) -> [String; 15] {
    let asked_at = refund.refunded_at.unwrap_or(payment.created_at);
    [
        "1".to_owned(),
        payment.number(),
        channel.as_str().to_owned(),
        payment.id.clone(),
        refund.number.clone(),
        refund.minor.to_string(),
        payment.amount.minor.to_string(),
        payment.amount.currency.code().to_owned(),
        refund.number.repeat(2),
        "api".to_owned(),
        refund.status.as_str().to_owned(),
        format!("50{}", refund.number),
        or_null(refund.refunded_at.map(moment)),
        moment(asked_at),
        moment(asked_at),
    ]
}

fn entry_lines(channel: ChannelKind, day: Date, payment: &Payment) -> Vec<[String; 15]> {
    let number = payment.number();
    let lines = payment.ledger.iter().enumerate().map(|(n, transfer)| {
        let (cause, at) = match (n, &payment.refund) {
            (1, Some(refund)) => ("refunded", refund.refunded_at),
            _ => ("charged", payment.paid_at),
        };
        let at = at.unwrap_or(payment.created_at);
        let entry_key = format!("{number}:{cause}:{n}");
        [
            entry_key.clone(),
            shard_of(Some(&number), &entry_key).to_string(),
            number.clone(),
            or_null((cause == "refunded").then(|| "1".to_owned())),
            channel.as_str().to_owned(),
            transfer.debit.as_str().to_owned(),
            transfer.credit.as_str().to_owned(),
            transfer.amount.minor.to_string(),
            transfer.amount.currency.code().to_owned(),
            day.to_string(),
            cause.to_owned(),
            "callback".to_owned(),
            "system".to_owned(),
            format!("42{}", payment.id),
            moment(at),
        ]
    });
    lines.collect()
}

fn or_null(text: Option<String>) -> String {
    text.unwrap_or_else(|| "\\N".to_owned())
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    let after = SignedDuration::from_secs(seconds);
    at.checked_add(after).unwrap_or(at)
}

/// Writes the day's bill, its orders by the time they were paid, and the next day's.
pub(crate) fn bills(stories: &Stories, directory: &Path) -> anyhow::Result<[BillOnDisk; 2]> {
    let mut by_time: Vec<(u64, u64)> = (0..stories.orders)
        .map(|order| (stories.paid_after(order), order))
        .collect();
    by_time.sort_unstable();
    let next_day = stories.day.tomorrow()?;
    let told = |rows: fn(Story) -> Vec<channels::bad_bills::GoodRow>| {
        let orders = by_time.iter();
        orders.flat_map(move |(_, order)| rows(stories.story(*order)))
    };
    let write = |day: Date, rows: &mut dyn Iterator<Item = _>| {
        let path = directory.join(format!("{}-{day}", stories.channel));
        let hash = write_bill(
            stories.channel,
            day,
            rows,
            BufWriter::new(File::create(&path)?),
        )
        .with_context(|| format!("{} cannot be written", path.display()))?;
        anyhow::Ok(BillOnDisk { path, hash })
    };
    Ok([
        write(stories.day, &mut told(|story| story.rows))?,
        write(next_day, &mut told(|story| story.next_rows))?,
    ])
}
