//! The layout that all bill files of WeChat Pay share.
//!
//! Guarantees: a file is accepted only when its SHA-1 is the announced one; a file that is cut off
//! anywhere, or that goes on after its end, is refused. Rows are handed out before that is known.
//!
//! Not here: the columns of each kind of bill.

use std::io::{self, BufReader, Read, Seek};

use flate2::read::MultiGzDecoder;
use sha1::{Digest as _, Sha1};

use crate::bill::{BillError, Columns, Halt, Line, Lines, Position, Reason, Row};

const BOM: &str = "\u{feff}";
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZIP: [u8; 2] = *b"PK";
/// Every data value starts with a backtick, and names may hold commas.
const SEPARATOR: &str = ",`";

/// What tells one kind of bill from another.
pub(super) struct Kind {
    /// Columns of which a header has at least one.
    pub(super) header: &'static [&'static str],
    /// The start of the summary header's first name, which tells it from a row where headers have
    /// backticks too.
    pub(super) summary: &'static str,
}

/// The last line of a file and the names above it.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) columns: Columns,
    fields: Vec<String>,
    line: u64,
    is_cut: bool,
}

impl Summary {
    /// Hands the summary's one row to `check`.
    pub(super) fn look(
        &self,
        check: impl FnOnce(&Row<'_>) -> Result<(), BillError>,
    ) -> Result<(), BillError> {
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        check(&Row::new(self.line, self.line, &fields))
            .map_err(|error| error.or_cut_off(self.is_cut))
    }
}

/// What passes through is hashed.
struct Hashed<R> {
    source: R,
    hash: Sha1,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.source.read(buffer)?;
        self.hash.update(&buffer[..size]);
        Ok(size)
    }
}

/// Reads a file, packed or not: each row with what `locate` found in the header.
pub(super) fn read<'a, R: Read + Seek + 'a, L>(
    mut file: R,
    hash: &str,
    kind: &Kind,
    locate: impl FnOnce(&Columns) -> Result<L, BillError>,
    each: impl FnMut(&L, &Row<'_>) -> Result<(), Halt>,
) -> Result<Summary, Halt> {
    let source: Box<dyn Read + 'a> = match start(&mut file).map_err(|error| unreadable(&error))? {
        GZIP => Box::new(MultiGzDecoder::new(BufReader::new(file))),
        ZIP => {
            let what = "it is a ZIP, and WeChat Pay packs with gzip";
            return Err(BillError::file(Reason::UnknownFormat, what).into());
        }
        _ => Box::new(file),
    };
    let hashed = Hashed {
        source,
        hash: Sha1::new(),
    };
    let mut lines = Lines::new(hashed, Position::default());
    let result = parts(&mut lines, kind, locate, each);
    match result {
        Err(Halt::Refused(error)) => {
            let first = lines.drain(error)?;
            let wrong = check_hash(&lines.source().hash, hash).err();
            let error = wrong.map_or_else(|| first.clone(), |wrong| wrong.besides(&first));
            Err(error.into())
        }
        Ok(_) => {
            check_hash(&lines.source().hash, hash)?;
            result
        }
        Err(Halt::Stopped) => result,
    }
}

fn start(file: &mut (impl Read + Seek)) -> io::Result<[u8; 2]> {
    file.rewind()?;
    let mut bytes = Vec::with_capacity(2);
    file.by_ref().take(2).read_to_end(&mut bytes)?;
    file.rewind()?;
    Ok(bytes.try_into().unwrap_or_default())
}

fn unreadable(error: &io::Error) -> BillError {
    BillError::file(Reason::Unreadable, error)
}

fn check_hash(ours: &Sha1, announced: &str) -> Result<(), BillError> {
    let ours = hex::encode(ours.clone().finalize());
    if ours.eq_ignore_ascii_case(announced) {
        return Ok(());
    }
    let what = format!("its SHA-1 is {ours} and not the announced {announced:.40}");
    Err(BillError::file(Reason::WrongHash, what))
}

/// Four parts: header, rows, summary header, one summary row.
fn parts<R: Read, L>(
    lines: &mut Lines<R>,
    kind: &Kind,
    locate: impl FnOnce(&Columns) -> Result<L, BillError>,
    mut each: impl FnMut(&L, &Row<'_>) -> Result<(), Halt>,
) -> Result<Summary, Halt> {
    let Some(line) = lines.next()? else {
        return Err(BillError::file(Reason::EmptyFile, "nothing is in it").into());
    };
    let columns = head(&line, kind)?;
    let layout = locate(&columns).map_err(|error| error.or_cut_off(line.is_cut))?;
    let names = loop {
        let Some(line) = lines.next()? else {
            return Err(cut_off(lines.number(), "the summary is missing after this line").into());
        };
        let text = utf8(&line)?;
        match part_of(text, &columns, kind) {
            Part::Row => row(&line, text, &columns, |row| each(&layout, row))?,
            Part::Summary => break header(&line, text)?,
            Part::Header => {
                let what = "the header stands here again";
                return Err(line.error(Reason::Repeated, what).into());
            }
            Part::Neither => {
                let what = "this is neither a row, whose values begin with a backtick, nor the \
                            summary";
                return Err(line.error(Reason::RowMalformed, what).into());
            }
        }
        lines.count_row()?;
    };
    Ok(summary(lines, names)?)
}

fn summary<R: Read>(lines: &mut Lines<R>, columns: Columns) -> Result<Summary, BillError> {
    let Some(line) = lines.next()? else {
        return Err(cut_off(
            lines.number(),
            "the row of the summary is missing after this line",
        ));
    };
    let fields: Vec<String> = fields(utf8(&line)?).map(str::to_owned).collect();
    if fields.len() != columns.len() {
        let what = "the summary has another number of fields than its header";
        return Err(line.error(Reason::SummaryMalformed, what));
    }
    let (line, is_cut) = (line.number, line.is_cut);
    if let Some(line) = lines.next()? {
        let what = "the file goes on after its summary";
        return Err(line.error(Reason::Repeated, what));
    }
    Ok(Summary {
        columns,
        fields,
        line,
        is_cut,
    })
}

fn cut_off(line: u64, what: &str) -> BillError {
    BillError::line(Reason::CutOff, line, what)
}

enum Part {
    Row,
    Summary,
    Header,
    Neither,
}

fn part_of(text: &str, columns: &Columns, kind: &Kind) -> Part {
    let ticked = text.strip_prefix('`');
    let start = ticked.unwrap_or(text).trim_start_matches(BOM);
    if start.starts_with(kind.summary) {
        Part::Summary
    } else if start.split(',').next() == Some(columns.first()) {
        Part::Header
    } else if ticked.is_some() {
        Part::Row
    } else {
        Part::Neither
    }
}

fn head(line: &Line<'_>, kind: &Kind) -> Result<Columns, BillError> {
    line.check_is_no_answer()?;
    let text = utf8(line)?;
    let columns = header(line, text.strip_prefix(BOM).unwrap_or(text))?;
    columns.check_is_header(kind.header)?;
    Ok(columns)
}

fn header(line: &Line<'_>, text: &str) -> Result<Columns, BillError> {
    let names = text.split(',').map(|name| {
        let name = name.trim().trim_start_matches('`');
        let bare = name.strip_suffix("(元)").or(name.strip_suffix("（元）"));
        bare.unwrap_or(name).to_owned()
    });
    Columns::new(names, line.number)
}

fn row(
    line: &Line<'_>,
    text: &str,
    columns: &Columns,
    each: impl FnOnce(&Row<'_>) -> Result<(), Halt>,
) -> Result<(), Halt> {
    let mut cut = Vec::with_capacity(columns.len() + 1);
    cut.extend(fields(text).take(columns.len() + 1));
    if cut.len() != columns.len() {
        let what = format!(
            "the row has {} fields than the header, which has {}",
            if cut.len() < columns.len() {
                "fewer"
            } else {
                "more"
            },
            columns.len()
        );
        return Err(line.error(Reason::RowMalformed, &what).into());
    }
    each(&Row::new(line.number, line.in_bill, &cut)).map_err(|halt| match halt {
        Halt::Refused(error) => Halt::Refused(error.or_cut_off(line.is_cut)),
        Halt::Stopped => Halt::Stopped,
    })
}

fn fields(text: &str) -> impl Iterator<Item = &str> {
    text.strip_prefix('`')
        .unwrap_or(text)
        .split(SEPARATOR)
        .map(str::trim)
}

fn utf8<'a>(line: &Line<'a>) -> Result<&'a str, BillError> {
    std::str::from_utf8(line.bytes).map_err(|error| {
        let what = format!("byte {} is not UTF-8", error.valid_up_to() + 1);
        line.error(Reason::WrongEncoding, &what)
    })
}
