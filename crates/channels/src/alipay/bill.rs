//! The trade bill of Alipay: a ZIP of GBK tables.
//!
//! Guarantees: the file is about the day that was asked for, it reaches to its end, and its
//! numbers and sums of payments and refunds are those of its footer, or no row comes out.
//!
//! Not here: the per-store summary beside it; account statements (`signcustomer`).

use std::io::{Cursor, Read as _};

use encoding_rs::GBK;
use jiff::civil::Date;
use payment_core::{Currency, Money};
use zip::ZipArchive;

use crate::bill::{BillError, BillRow, BillRowKind, Columns, beijing_time, fen, sum, yuan_1e5};
use crate::http::UNPACKED_BILL_LIMIT;

/// The one column of free text before the amounts: a comma in it splits its row.
const FREE_TEXT: &str = "商品名称";

pub(super) fn read(file: &[u8], day: Date) -> Result<Vec<BillRow>, BillError> {
    parse(&details(file)?, day)
}

/// The text of the detail table. Entry names are GBK without saying so, so they are decoded here;
/// they are compared, never used as paths.
fn details(file: &[u8]) -> Result<String, BillError> {
    let broken =
        |error: &dyn std::fmt::Display| BillError(format!("it cannot be unpacked: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(|error| broken(&error))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| broken(&error))?;
        if !is_detail(entry.name_raw()) {
            continue;
        }
        let limit = u64::try_from(UNPACKED_BILL_LIMIT).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        let size = entry
            .by_ref()
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| broken(&error))?;
        if size > UNPACKED_BILL_LIMIT {
            return Err(BillError::new("it unpacks to more than a bill may have"));
        }
        return text(&bytes);
    }
    Err(BillError::new("it has no 业务明细 table"))
}

fn is_detail(name: &[u8]) -> bool {
    let gbk = GBK.decode_without_bom_handling(name).0;
    let names = [gbk, String::from_utf8_lossy(name)];
    names
        .iter()
        .any(|name| name.contains("业务明细") && !name.contains("汇总") && name.ends_with(".csv"))
}

fn text(bytes: &[u8]) -> Result<String, BillError> {
    match GBK.decode_without_bom_handling(bytes) {
        (text, false) => Ok(text.into_owned()),
        (_, true) => Err(BillError::new("it is not GBK")),
    }
}

fn parse(text: &str, day: Date) -> Result<Vec<BillRow>, BillError> {
    let mut comments = Vec::new();
    let mut table = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with('#') {
            comments.push(line);
        } else {
            table.push(line);
        }
    }
    check_day(&comments, day)?;
    let footer = Footer::read(&comments)?;
    let mut table = table.into_iter();
    let columns = header(
        table
            .next()
            .ok_or_else(|| BillError::new("it has no header"))?,
    );
    let entries: Vec<Entry> = table
        .map(|line| Entry::read(&columns, line))
        .collect::<Result<_, _>>()?;
    footer.check(&entries)?;
    Ok(entries.into_iter().map(|entry| entry.row).collect())
}

fn header(line: &str) -> Columns {
    let names = line
        .split(',')
        .map(|name| cell(name).trim_end_matches("（元）").to_owned());
    Columns::new(names.collect())
}

fn cell(text: &str) -> &str {
    text.trim().trim_matches('"').trim()
}

/// The bill carries no hash; at least it must be of the right day.
fn check_day(comments: &[&str], day: Date) -> Result<(), BillError> {
    let start = format!(
        "起始日期：[{:04}年{:02}月{:02}日",
        day.year(),
        day.month(),
        day.day()
    );
    if comments.iter().any(|comment| comment.contains(&start)) {
        Ok(())
    } else {
        Err(BillError::new("it is about another day"))
    }
}

/// A row with the amount that the footer adds up.
struct Entry {
    row: BillRow,
    received: i64,
}

impl Entry {
    fn read(columns: &Columns, line: &str) -> Result<Self, BillError> {
        let fields = fields(columns, line)?;
        let field = |name: &str| columns.field(&fields, name);
        let kind = match field("业务类型")? {
            "交易" => BillRowKind::Payment,
            "退款" => BillRowKind::Refund,
            other => return Err(BillError(format!("unknown 业务类型 {other:?}"))),
        };
        let refund_no = match kind {
            BillRowKind::Payment => None,
            BillRowKind::Refund => Some(field("退款批次号/请求号")?.to_owned()),
        };
        let (face, received) = (fen(field("订单金额")?)?, fen(field("商家实收")?)?);
        let wrong_sign = match kind {
            BillRowKind::Payment => face < 0,
            BillRowKind::Refund => face > 0,
        };
        if wrong_sign {
            return Err(BillError::new("a row's amount has the wrong sign"));
        }
        Ok(Self {
            row: BillRow {
                kind,
                channel_order_no: field("商户订单号")?.to_owned(),
                transaction_id: field("支付宝交易号")?.to_owned(),
                refund_no,
                amount: Money::new(face.abs(), Currency::CNY),
                // Alipay writes what it takes as negative.
                fee_1e5: -yuan_1e5(field("服务费")?)?,
                time: beijing_time(field("完成时间")?)?,
            },
            received,
        })
    }
}

/// The row's fields. Alipay does not quote: surplus commas belong to the product's name. Should
/// that guess be wrong, amounts land in the wrong columns and the footer disagrees.
fn fields(columns: &Columns, line: &str) -> Result<Vec<String>, BillError> {
    let mut parts: Vec<String> = line.split(',').map(|part| cell(part).to_owned()).collect();
    let surplus = parts
        .len()
        .checked_sub(columns.len())
        .ok_or_else(|| BillError::new("a row has fewer fields than the header"))?;
    if surplus > 0 {
        let at = columns
            .position(FREE_TEXT)
            .ok_or_else(|| BillError::new("a row has more fields than the header"))?;
        let name = parts.drain(at..=at + surplus).collect::<Vec<_>>().join(",");
        parts.insert(at, name);
    }
    Ok(parts)
}

/// Count and sum of one kind of row.
type Total = (usize, i64);

/// `#交易合计：N笔，商家实收共X元，…` and `#退款合计：N笔，商家实收退款共-X元，…`.
struct Footer {
    payments: Total,
    refunds: Total,
}

impl Footer {
    fn read(comments: &[&str]) -> Result<Self, BillError> {
        let total = |start: &str| {
            comments
                .iter()
                .find_map(|comment| comment.trim().strip_prefix(start))
                .ok_or_else(|| BillError(format!("it is cut off before {start}")))
                .and_then(|rest| {
                    read_total(rest).ok_or_else(|| BillError(format!("{start} cannot be read")))
                })
        };
        Ok(Self {
            payments: total("#交易合计：")?,
            refunds: total("#退款合计：")?,
        })
    }

    fn check(&self, entries: &[Entry]) -> Result<(), BillError> {
        let total = |kind| -> Result<Total, BillError> {
            let of = || entries.iter().filter(move |entry| entry.row.kind == kind);
            Ok((of().count(), sum(of().map(|entry| entry.received))?))
        };
        if total(BillRowKind::Payment)? != self.payments {
            return Err(BillError::new("its payments do not add up to 交易合计"));
        }
        let (count, received) = total(BillRowKind::Refund)?;
        // The footer's sign has varied.
        if count != self.refunds.0 || received.abs() != self.refunds.1.abs() {
            return Err(BillError::new("its refunds do not add up to 退款合计"));
        }
        Ok(())
    }
}

fn read_total(text: &str) -> Option<Total> {
    let (count, rest) = text.split_once("笔，")?;
    let (_, amount) = rest.split('，').next()?.split_once('共')?;
    let amount = amount.trim().strip_suffix('元')?;
    Some((count.trim().parse().ok()?, fen(amount).ok()?))
}

#[cfg(test)]
pub(super) mod tests;
