//! The lines of an unpacked bill, one at a time.
//!
//! Guarantees: never more than one line is in memory; a file that is larger, longer or wider than a
//! bill can be ends in an error, whatever it was packed into.
//!
//! Not here: what is in a line. Cutting at 0x0A is right in UTF-8 and in GBK, whose second bytes
//! start at 0x30.

use std::io::{self, BufRead, BufReader, Read};

use super::error::quoted;
use super::{BillError, Reason};

/// Ten times the largest bill there should be; what unpacks to more is not one.
const UNPACKED_MAX: u64 = 4 << 30;
/// A row has a few hundred bytes; product names and remarks are bounded by the channels.
const LINE_MAX: usize = 64 << 10;
/// Far above the business of one merchant on one day.
const ROWS_MAX: u64 = 20_000_000;
const BUFFER: usize = 128 << 10;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How far a bill has been read, over all of its parts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    lines: u64,
    bytes: u64,
    rows: u64,
}

/// A line without its end.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// In its part, from 1.
    pub(crate) number: u64,
    /// The same over all parts.
    pub(crate) in_bill: u64,
    pub(crate) bytes: &'a [u8],
    /// The file ends here, without a line end.
    pub(crate) is_cut: bool,
}

impl Line<'_> {
    /// Refuses what is no bill at all but an answer of a server.
    pub(crate) fn check_is_no_answer(&self) -> Result<(), BillError> {
        let start = self.bytes.strip_prefix(BOM).unwrap_or(self.bytes);
        let start = start.trim_ascii_start();
        let (reason, what) = match start.first() {
            Some(b'<') => (Reason::HtmlPage, "an HTML page"),
            Some(b'{') => (Reason::JsonError, "a JSON answer"),
            _ => return Ok(()),
        };
        let start = String::from_utf8_lossy(start);
        let what = format!("{what} begins here: {}", quoted(&start));
        Err(BillError::line(reason, self.number, what))
    }

    pub(crate) fn error(&self, reason: Reason, what: &str) -> BillError {
        BillError::line(reason, self.number, what).or_cut_off(self.is_cut)
    }
}

pub(crate) struct Lines<R> {
    source: BufReader<R>,
    buffer: Vec<u8>,
    position: Position,
    /// Lines of the parts before.
    before: u64,
    /// The packing gave out, so that the rest cannot be had.
    is_broken: bool,
}

impl<R: Read> Lines<R> {
    /// `position`: where the part before ended.
    pub(crate) fn new(source: R, position: Position) -> Self {
        Self {
            source: BufReader::with_capacity(BUFFER, source),
            buffer: Vec::new(),
            position,
            before: position.lines,
            is_broken: false,
        }
    }

    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn source(&self) -> &R {
        self.source.get_ref()
    }

    /// The number of the last line.
    pub(crate) const fn number(&self) -> u64 {
        self.position.lines - self.before
    }

    /// The next line that is not blank.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, BillError> {
        loop {
            self.buffer.clear();
            let limit = LINE_MAX as u64 + 1;
            let read = (&mut self.source)
                .take(limit)
                .read_until(b'\n', &mut self.buffer);
            let size = read.map_err(|error| self.broken(&error))?;
            if size == 0 {
                return Ok(None);
            }
            self.position.lines += 1;
            self.advance(size)?;
            if size > LINE_MAX {
                let what = format!("it is longer than {LINE_MAX} bytes");
                return Err(BillError::line(Reason::LineTooLong, self.number(), what));
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let ended = self.buffer.strip_suffix(b"\n");
        let bytes = ended.unwrap_or(&self.buffer);
        Ok(Some(Line {
            number: self.position.lines - self.before,
            in_bill: self.position.lines,
            bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes),
            is_cut: ended.is_none(),
        }))
    }

    /// After `error` about the contents: reads the rest, for the sake of what the packing's own
    /// checksum or the hash says. Whether there is a hash to look at; otherwise why not.
    pub(crate) fn drain(&mut self, error: BillError) -> Result<BillError, BillError> {
        if self.is_broken || !error.kind().is_about_contents() {
            return Err(error);
        }
        self.read_rest().map(|()| error)
    }

    fn read_rest(&mut self) -> Result<(), BillError> {
        loop {
            let read = self.source.fill_buf().map(<[u8]>::len);
            let size = read.map_err(|error| self.broken(&error))?;
            if size == 0 {
                return Ok(());
            }
            self.source.consume(size);
            self.advance(size)?;
        }
    }

    /// To be called for each row.
    pub(crate) fn count_row(&mut self) -> Result<(), BillError> {
        self.position.rows += 1;
        if self.position.rows > ROWS_MAX {
            let what = format!("it has more than {ROWS_MAX} rows");
            return Err(BillError::file(Reason::TooManyRows, what));
        }
        Ok(())
    }

    fn advance(&mut self, size: usize) -> Result<(), BillError> {
        self.position.bytes += size as u64;
        if self.position.bytes > UNPACKED_MAX {
            let what = format!("it unpacks to more than {UNPACKED_MAX} bytes");
            return Err(BillError::file(Reason::FileTooLarge, what));
        }
        Ok(())
    }

    /// What a failure to unpack says. Failures of the disk have the system's number.
    fn broken(&mut self, error: &io::Error) -> BillError {
        self.is_broken = true;
        let (reason, what) = if error.raw_os_error().is_some() {
            (Reason::Unreadable, "it cannot be read")
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            (Reason::CutOff, "its packing ends too early")
        } else {
            (Reason::Damaged, "it cannot be unpacked")
        };
        let what = format!("{what} after line {}: {error}", self.number());
        BillError::file(reason, what)
    }
}
