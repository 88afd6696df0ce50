//! The layout that all tables of Alipay's bills share: GBK lines between comments.
//!
//! Guarantees: a table is about the day that was asked for, reaches to its footer and ends there.
//! Rows are handed out before that is known.
//!
//! Not here: the columns of each kind of bill; holding the rows against the footer.

use std::io::{Read, Seek};

use encoding_rs::{DecoderResult, GBK};
use jiff::civil::Date;
use payment_core::money::parse_scaled;

use super::archive::{self, Archive};
use crate::bill::{BillError, Columns, Halt, Line, Lines, Position, Reason, Row, count};

/// More commas than any free text has; trying out where they belong must stay cheap.
const SURPLUS_MAX: usize = 32;
/// The byte order mark of UTF-8, and words of every comment that is not GBK.
const BOM: &[u8] = b"\xef\xbb\xbf";
const WORDS: [&str; 6] = ["支付宝", "账号", "日期", "合计", "明细", "订单号"];
/// Comments that stand once.
const TITLE: &str = "#支付宝";
const ACCOUNT: &str = "#账号：[";
const DAY: &str = "起始日期：";
const ROWS_END: &str = "明细列表结束";

/// Count and sum, in fen, of one kind of row.
pub(super) type Total = (u64, i64);

/// What tells one kind of bill from another.
pub(super) struct Kind {
    /// In the names of its tables.
    pub(super) name: &'static str,
    /// Columns of which a header has at least one.
    pub(super) header: &'static [&'static str],
    /// The starts of the footer's lines, such as `#交易合计：N笔，商家实收共X元，…`.
    pub(super) totals: [&'static str; 2],
}

/// A row and how many commas there are too many in it.
pub(super) struct Cut<'a> {
    pub(super) row: Row<'a>,
    pub(super) surplus: usize,
    pub(super) account: Option<&'a str>,
}

/// What becomes of the tables of a bill.
pub(super) trait Reader {
    type Layout;
    fn layout(&self, columns: &Columns) -> Result<Self::Layout, BillError>;
    fn row(&mut self, layout: &Self::Layout, cut: &Cut<'_>) -> Result<(), Halt>;
    /// At the end of each table.
    fn totals(&mut self, totals: [Total; 2]) -> Result<(), BillError>;
}

/// Reads all tables of a kind.
pub(super) fn read(
    file: impl Read + Seek,
    kind: &Kind,
    day: Date,
    reader: &mut impl Reader,
) -> Result<(), Halt> {
    let Archive { mut zip, parts } = archive::open(file, kind.name)?;
    let mut position = Position::default();
    let mut account = None;
    for part in &parts {
        let entry = zip.by_index(part.index);
        let entry = entry.map_err(|error| archive::broken(&error))?;
        let mut lines = Lines::new(entry, position);
        let own = match table(&mut lines, kind, day, reader) {
            Err(Halt::Refused(error)) => {
                // What the packing's own checksum says explains more.
                let error = lines.drain(error).unwrap_or_else(|worse| worse);
                return Err(part.named(error, parts.len()).into());
            }
            own => own?,
        };
        if *account.get_or_insert_with(|| own.clone()) != own {
            let what = "it is of another 账号 than the part before";
            let error = BillError::file(Reason::AnotherAccount, what);
            return Err(part.named(error, parts.len()).into());
        }
        position = lines.position();
    }
    Ok(())
}

/// Reads one table; the answer is whose it is.
pub(super) fn table<R: Read, T: Reader>(
    lines: &mut Lines<R>,
    kind: &Kind,
    day: Date,
    reader: &mut T,
) -> Result<Option<String>, Halt> {
    let mut frame = Frame::new(kind, day);
    let mut text = Text::default();
    let mut header: Option<(Columns, T::Layout)> = None;
    while let Some(line) = lines.next()? {
        frame.check_start(&line)?;
        if line.bytes.starts_with(b"#") {
            frame.comment(&line, text.of(&line)?)?;
            continue;
        }
        frame.check_goes_on(&line)?;
        match &header {
            None => {
                check_is_gbk(&line)?;
                let columns = columns(&line, text.of(&line)?)?;
                columns.check_is_header(kind.header)?;
                let layout = reader.layout(&columns);
                let layout = layout.map_err(|error| error.or_cut_off(line.is_cut))?;
                header = Some((columns, layout));
            }
            Some((columns, layout)) => {
                let text = text.of(&line)?;
                let account = frame.account.as_deref();
                row(&line, text, columns, account, |cut| reader.row(layout, cut))?;
                lines.count_row()?;
            }
        }
    }
    let totals = frame.end(lines.number(), header.is_some())?;
    reader.totals(totals)?;
    Ok(frame.account)
}

/// The comments around the rows.
struct Frame<'a> {
    kind: &'a Kind,
    day: Date,
    lines: u64,
    /// The comments that were there, each of which stands once.
    seen: Vec<&'static str>,
    account: Option<String>,
    totals: [Option<Total>; 2],
}

impl<'a> Frame<'a> {
    const fn new(kind: &'a Kind, day: Date) -> Self {
        Self {
            kind,
            day,
            lines: 0,
            seen: Vec::new(),
            account: None,
            totals: [None; 2],
        }
    }

    /// Looks at the first line of a table.
    fn check_start(&mut self, line: &Line<'_>) -> Result<(), BillError> {
        count(&mut self.lines);
        if self.lines > 1 {
            return Ok(());
        }
        if line.bytes.starts_with(BOM) {
            return Err(is_utf8(line));
        }
        line.check_is_no_answer()
    }

    fn comment(&mut self, line: &Line<'_>, text: &str) -> Result<(), BillError> {
        check_is_gbk(line)?;
        let text = text.trim();
        if text.starts_with(TITLE) {
            return self.once(TITLE, line);
        }
        if text.contains(DAY) {
            self.once(DAY, line)?;
            return check_day(line, text, self.day);
        }
        if text.contains(ROWS_END) {
            return self.once(ROWS_END, line);
        }
        if let Some(account) = text.strip_prefix(ACCOUNT) {
            self.once(ACCOUNT, line)?;
            self.account = Some(account.trim_end_matches(']').chars().take(64).collect());
            return Ok(());
        }
        for (at, start) in self.kind.totals.into_iter().enumerate() {
            if let Some(rest) = text.strip_prefix(start) {
                self.once(start, line)?;
                self.totals[at] = Some(read_total(rest).ok_or_else(|| {
                    let what = format!("{start} is not followed by a number and a sum");
                    line.error(Reason::SummaryMalformed, &what)
                })?);
            }
        }
        Ok(())
    }

    fn once(&mut self, what: &'static str, line: &Line<'_>) -> Result<(), BillError> {
        if self.has(what) {
            let what = format!("{what} stands here a second time");
            return Err(line.error(Reason::Repeated, &what));
        }
        self.seen.push(what);
        Ok(())
    }

    fn has(&self, what: &str) -> bool {
        self.seen.contains(&what)
    }

    /// No row may follow the end of the rows.
    fn check_goes_on(&self, line: &Line<'_>) -> Result<(), BillError> {
        if self.has(ROWS_END) || self.totals.iter().any(Option::is_some) {
            let what = "rows follow the end of the rows";
            return Err(line.error(Reason::Repeated, what));
        }
        Ok(())
    }

    fn end(&self, last: u64, has_header: bool) -> Result<[Total; 2], BillError> {
        if self.lines == 0 {
            return Err(BillError::file(Reason::EmptyFile, "the table has no line"));
        }
        let cut = |what: &str| {
            let what = format!("{what} is missing after this line");
            BillError::line(Reason::CutOff, last, what)
        };
        if !self.has(DAY) {
            return Err(if has_header {
                let what = "the line 起始日期, which tells the day, is missing";
                BillError::file(Reason::AnotherDay, what)
            } else {
                cut("the line 起始日期")
            });
        }
        if !has_header {
            return Err(cut("the header"));
        }
        match self.totals {
            [Some(first), Some(second)] => Ok([first, second]),
            [None, _] => Err(cut(self.kind.totals[0])),
            [_, None] => Err(cut(self.kind.totals[1])),
        }
    }
}

/// The bill carries no hash; at least it must be of the right day, and of no other.
fn check_day(line: &Line<'_>, text: &str, day: Date) -> Result<(), BillError> {
    let is = |start: &str, day: Date| {
        let (year, month, day) = (day.year(), day.month(), day.day());
        text.contains(&format!("{start}[{year:04}年{month:02}月{day:02}日"))
    };
    let end = "终止日期：";
    let ends = !text.contains(end)
        || is(end, day)
        || day.tomorrow().is_ok_and(|tomorrow| is(end, tomorrow));
    if is(DAY, day) && ends {
        return Ok(());
    }
    let what = format!("{text:.60} is not the day {day}");
    Err(line.error(Reason::AnotherDay, &what))
}

fn read_total(text: &str) -> Option<Total> {
    let (count, rest) = text.split_once("笔，")?;
    let (_, amount) = rest.split('，').next()?.split_once('共')?;
    let amount = amount.trim().strip_suffix('元')?;
    Some((count.trim().parse().ok()?, parse_scaled(amount, 2).ok()?))
}

fn columns(line: &Line<'_>, text: &str) -> Result<Columns, BillError> {
    let names = text.split(',').map(|name| {
        let name = cell(name);
        let units = ["（元）", "（+元）", "（-元）"];
        let bare = units.iter().find_map(|unit| name.strip_suffix(unit));
        bare.unwrap_or(name).to_owned()
    });
    Columns::new(names, line.number)
}

fn cell(text: &str) -> &str {
    text.trim().trim_matches('"').trim()
}

/// Alipay does not quote: a surplus comma belongs to a field of free text.
fn row(
    line: &Line<'_>,
    text: &str,
    columns: &Columns,
    account: Option<&str>,
    each: impl FnOnce(&Cut<'_>) -> Result<(), Halt>,
) -> Result<(), Halt> {
    let most = columns.len() + SURPLUS_MAX;
    let mut fields = Vec::with_capacity(columns.len() + 1);
    fields.extend(text.split(',').map(cell).take(most + 1));
    if fields.len() < columns.len() || fields.len() > most {
        let what = format!(
            "the row has {} fields than the header, which has {}",
            if fields.len() > most { "more" } else { "fewer" },
            columns.len()
        );
        return Err(line.error(Reason::RowMalformed, &what).into());
    }
    if fields.first() == Some(&columns.first()) {
        let what = "the header stands here again";
        return Err(line.error(Reason::Repeated, what).into());
    }
    let cut = Cut {
        row: Row::new(line.number, line.in_bill, &fields),
        surplus: fields.len() - columns.len(),
        account,
    };
    each(&cut).map_err(|halt| match halt {
        Halt::Refused(error) => Halt::Refused(error.or_cut_off(line.is_cut)),
        Halt::Stopped => Halt::Stopped,
    })
}

/// Lines out of GBK, one at a time.
#[derive(Default)]
struct Text {
    buffer: String,
}

impl Text {
    fn of<'a>(&'a mut self, line: &Line<'a>) -> Result<&'a str, BillError> {
        if let Some(text) = line.bytes.is_ascii().then_some(line.bytes)
            && let Ok(text) = std::str::from_utf8(text)
        {
            return Ok(text);
        }
        let mut decoder = GBK.new_decoder_without_bom_handling();
        let length = decoder.max_utf8_buffer_length_without_replacement(line.bytes.len());
        self.buffer.clear();
        self.buffer.reserve(length.unwrap_or_default());
        let (result, read) =
            decoder.decode_to_string_without_replacement(line.bytes, &mut self.buffer, true);
        let DecoderResult::Malformed(wrong, after) = result else {
            return Ok(&self.buffer);
        };
        if std::str::from_utf8(line.bytes).is_ok() {
            return Err(is_utf8(line));
        }
        let byte = (read + 1).saturating_sub(usize::from(wrong) + usize::from(after));
        let what = format!("byte {byte} is not GBK");
        Err(line.error(Reason::WrongEncoding, &what))
    }
}

/// Much of UTF-8 can be read as GBK and gives nonsense; the comments' own words tell.
fn check_is_gbk(line: &Line<'_>) -> Result<(), BillError> {
    let text = std::str::from_utf8(line.bytes).unwrap_or_default();
    if WORDS.iter().any(|word| text.contains(word)) {
        return Err(is_utf8(line));
    }
    Ok(())
}

fn is_utf8(line: &Line<'_>) -> BillError {
    let what = "this is UTF-8, and Alipay writes GBK";
    BillError::line(Reason::WrongEncoding, line.number, what)
}
