//! The layout that all bill files of WeChat Pay share.
//!
//! Guarantees: nothing is read of a file whose SHA-1 is not the announced one; a file that is cut
//! off anywhere is refused.
//!
//! Not here: the columns of each kind of bill.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::GzDecoder;
use sha1::{Digest as _, Sha1};

use crate::bill::{BillError, Columns};
use crate::http::UNPACKED_BILL_LIMIT;

const BOM: &str = "\u{feff}";
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Every data value starts with a backtick, and names may hold commas.
const SEPARATOR: &str = ",`";

/// The last line of a file and the names above it.
pub(super) struct Summary {
    columns: Columns,
    fields: Vec<String>,
}

impl Summary {
    pub(super) fn field(&self, name: &str) -> Result<&str, BillError> {
        self.columns.field(&self.fields, name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.position(name).is_some()
    }
}

/// The text of a file, packed or not, once its hash was checked.
pub(super) fn text<'a>(file: &'a [u8], hash: &str) -> Result<Cow<'a, str>, BillError> {
    let text = if file.starts_with(&GZIP) {
        Cow::Owned(unpack(file)?)
    } else {
        Cow::Borrowed(file)
    };
    if !hex::encode(Sha1::digest(&text)).eq_ignore_ascii_case(hash) {
        return Err(BillError::new("its SHA-1 is not the announced one"));
    }
    let not_utf8 = || BillError::new("it is not UTF-8");
    match text {
        Cow::Borrowed(text) => std::str::from_utf8(text)
            .map(Cow::Borrowed)
            .map_err(|_| not_utf8()),
        Cow::Owned(text) => String::from_utf8(text)
            .map(Cow::Owned)
            .map_err(|_| not_utf8()),
    }
}

fn unpack(file: &[u8]) -> Result<Vec<u8>, BillError> {
    let mut text = Vec::new();
    let limit = u64::try_from(UNPACKED_BILL_LIMIT).unwrap_or(u64::MAX);
    GzDecoder::new(file)
        .take(limit + 1)
        .read_to_end(&mut text)
        .map_err(|error| BillError(format!("it cannot be unpacked: {error}")))?;
    if text.len() > UNPACKED_BILL_LIMIT {
        return Err(BillError::new("it unpacks to more than a bill may have"));
    }
    Ok(text)
}

/// Four parts: header, rows, summary header, one summary row. `summary` is the start of the summary
/// header's first name, which tells it from a row where headers have backticks too.
pub(super) fn read<T>(
    text: &str,
    summary: &str,
    row: impl Fn(&Columns, &[&str]) -> Result<T, BillError>,
) -> Result<(Vec<T>, Summary), BillError> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let columns = header(lines.next())?;
    let mut rows = Vec::new();
    let summary_columns = loop {
        match lines.next().map(|line| (line, line.strip_prefix('`'))) {
            Some((line, Some(start))) if !start.starts_with(summary) => {
                let fields = fields(line);
                if fields.len() != columns.len() {
                    return Err(BillError::new(
                        "a row has another number of fields than the header",
                    ));
                }
                rows.push(row(&columns, &fields)?);
            }
            other => break header(other.map(|(line, _)| line))?,
        }
    };
    let summary = fields(lines.next().ok_or_else(cut_off)?);
    if lines.next().is_some() {
        return Err(BillError::new("something follows its summary"));
    }
    let summary = Summary {
        columns: summary_columns,
        fields: summary.into_iter().map(str::to_owned).collect(),
    };
    Ok((rows, summary))
}

fn header(line: Option<&str>) -> Result<Columns, BillError> {
    let line = line.ok_or_else(cut_off)?;
    let names = line.split(',').map(|name| {
        let name = name.trim().trim_start_matches('`');
        let bare = name.strip_suffix("(元)").or(name.strip_suffix("（元）"));
        bare.unwrap_or(name).to_owned()
    });
    Ok(Columns::new(names.collect()))
}

fn cut_off() -> BillError {
    BillError::new("it is cut off")
}

fn fields(line: &str) -> Vec<&str> {
    let line = line.trim_end_matches(['\r', '\n']);
    line.strip_prefix('`')
        .unwrap_or(line)
        .split(SEPARATOR)
        .map(str::trim)
        .collect()
}
