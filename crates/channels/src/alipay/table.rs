//! The layout that all bill files of Alipay share: a ZIP of GBK tables between comment lines.
//!
//! Guarantees: the file is about the day that was asked for.
//!
//! Not here: the columns and footers of each kind of bill.

use std::fmt::Display;
use std::io::{Cursor, Read as _};

use encoding_rs::GBK;
use jiff::civil::Date;
use zip::ZipArchive;

use crate::bill::{BillError, Columns, fen};
use crate::http::UNPACKED_BILL_LIMIT;

/// More commas than any free text has; trying out where they belong must stay cheap.
const SURPLUS_MAX: usize = 32;

/// Count and sum of one kind of row.
pub(super) type Total = (usize, i64);

/// The text of the table whose name holds `kind`. Entry names are GBK without saying so, so they
/// are decoded here; they are compared, never used as paths.
pub(super) fn unpacked(file: &[u8], kind: &str) -> Result<String, BillError> {
    let broken = |error: &dyn Display| BillError(format!("it cannot be unpacked: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(|error| broken(&error))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| broken(&error))?;
        if !is_detail(entry.name_raw(), kind) {
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
    Err(BillError(format!("it has no {kind} table")))
}

pub(super) fn is_detail(name: &[u8], kind: &str) -> bool {
    let gbk = GBK.decode_without_bom_handling(name).0;
    let names = [gbk, String::from_utf8_lossy(name)];
    names
        .iter()
        .any(|name| name.contains(kind) && !name.contains("汇总") && name.ends_with(".csv"))
}

fn text(bytes: &[u8]) -> Result<String, BillError> {
    match GBK.decode_without_bom_handling(bytes) {
        (text, false) => Ok(text.into_owned()),
        (_, true) => Err(BillError::new("it is not GBK")),
    }
}

/// A file's lines by their kind.
pub(super) struct Table<'a> {
    comments: Vec<&'a str>,
    pub(super) columns: Columns,
    pub(super) rows: Vec<&'a str>,
}

impl<'a> Table<'a> {
    pub(super) fn read(text: &'a str, day: Date) -> Result<Self, BillError> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let (comments, table): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with('#'));
        check_day(&comments, day)?;
        let mut table = table.into_iter();
        let columns = header(
            table
                .next()
                .ok_or_else(|| BillError::new("it has no header"))?,
        );
        Ok(Self {
            comments,
            columns,
            rows: table.collect(),
        })
    }

    /// A line of the footer, such as `#交易合计：N笔，商家实收共X元，…`; they come last, so a file
    /// that has them all is complete.
    pub(super) fn total(&self, start: &str) -> Result<Total, BillError> {
        let rest = self
            .comments
            .iter()
            .find_map(|comment| comment.trim().strip_prefix(start))
            .ok_or_else(|| BillError(format!("it is cut off before {start}")))?;
        read_total(rest).ok_or_else(|| BillError(format!("{start} cannot be read")))
    }
}

fn read_total(text: &str) -> Option<Total> {
    let (count, rest) = text.split_once("笔，")?;
    let (_, amount) = rest.split('，').next()?.split_once('共')?;
    let amount = amount.trim().strip_suffix('元')?;
    Some((count.trim().parse().ok()?, fen(amount).ok()?))
}

fn header(line: &str) -> Columns {
    let names = line.split(',').map(|name| {
        let name = cell(name);
        let units = ["（元）", "（+元）", "（-元）"];
        let bare = units.iter().find_map(|unit| name.strip_suffix(unit));
        bare.unwrap_or(name).to_owned()
    });
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

/// A row cut at its commas, and how many there are too many of.
pub(super) struct Cut {
    parts: Vec<String>,
    pub(super) surplus: usize,
}

impl Cut {
    pub(super) fn new(columns: &Columns, line: &str) -> Result<Self, BillError> {
        let parts: Vec<String> = line.split(',').map(|part| cell(part).to_owned()).collect();
        match parts.len().checked_sub(columns.len()) {
            None => Err(BillError::new("a row has fewer fields than the header")),
            Some(surplus) if surplus > SURPLUS_MAX => {
                Err(BillError::new("a row has more fields than the header"))
            }
            Some(surplus) => Ok(Self { parts, surplus }),
        }
    }

    /// The row's fields. Alipay does not quote: a surplus comma belongs to a field of free text.
    /// `texts` names those fields in the order of the columns, each with its number of commas.
    pub(super) fn fields(
        &self,
        columns: &Columns,
        texts: &[(&str, usize)],
    ) -> Result<Vec<String>, BillError> {
        let mut parts = self.parts.clone();
        for (name, commas) in texts.iter().filter(|(_, commas)| *commas > 0) {
            let at = columns.position(name);
            let range = at
                .map(|at| at..=at + commas)
                .filter(|range| *range.end() < parts.len());
            let range =
                range.ok_or_else(|| BillError::new("a row has more fields than the header"))?;
            let at = *range.start();
            let text = parts.drain(range).collect::<Vec<_>>().join(",");
            parts.insert(at, text);
        }
        Ok(parts)
    }
}
