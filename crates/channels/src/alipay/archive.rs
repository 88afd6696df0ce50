//! The ZIP that every bill file of Alipay comes in, and the tables in it.
//!
//! Guarantees: a bill that is split into several tables is read whole, in the order of their
//! names; no table is taken twice. Entry names are compared, never used as paths.
//!
//! Not here: what is in a table.

use std::io::{self, Read, Seek, SeekFrom};

use encoding_rs::GBK;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::bill::{BillError, Line, Reason};

/// A bill has two tables; split ones have some more.
const ENTRIES_MAX: usize = 64;
const ENTRY_START: &[u8] = b"PK";
/// The record at the end of a ZIP: its mark, its length without a comment, the places of the number
/// of entries, of the directory's size and place, and of the comment's length.
const END_MARK: &[u8] = b"PK\x05\x06";
const END_SIZE: u16 = 22;
const END_COUNT: usize = 10;
const END_DIRECTORY: usize = 12;
const END_COMMENT: usize = 20;
/// What a ZIP made for large files may have before that record.
const ZIP64_SIZE: u64 = 76;
const COMMENT_MAX: u64 = 0xffff;
/// Enough to tell what a file is instead of a ZIP.
const START_SIZE: u64 = 512;

/// An open file and the tables that make up the bill.
pub(super) struct Archive<R> {
    pub(super) zip: ZipArchive<R>,
    pub(super) parts: Vec<Part>,
}

/// One table.
pub(super) struct Part {
    pub(super) index: usize,
    raw_name: Vec<u8>,
    /// For people.
    pub(super) name: String,
    size: u64,
    crc: u32,
}

impl Part {
    /// An error in this part, which needs a name only where there are several.
    pub(super) fn named(&self, error: BillError, parts: usize) -> BillError {
        if parts > 1 {
            error.in_part(&self.name)
        } else {
            error
        }
    }
}

/// Opens a file and finds the tables whose names hold `kind`.
pub(super) fn open<R: Read + Seek>(mut file: R, kind: &str) -> Result<Archive<R>, BillError> {
    let entries = look(&mut file)?;
    let mut zip = ZipArchive::new(file).map_err(|error| broken(&error))?;
    if zip.offset() != 0 {
        let what = "something stands before the ZIP in it";
        return Err(BillError::file(Reason::Repeated, what));
    }
    if zip.len() != entries {
        let what = "two entries of the ZIP have one name";
        return Err(BillError::file(Reason::RepeatedPart, what));
    }
    let mut parts = Vec::new();
    for index in 0..zip.len() {
        parts.extend(part(&mut zip, index, kind)?);
    }
    if parts.is_empty() {
        let what = format!("the ZIP has no table {kind}");
        return Err(BillError::file(Reason::NoDetails, what));
    }
    // By length first: part 10 comes after part 2.
    parts.sort_by(|a, b| (a.raw_name.len(), &a.raw_name).cmp(&(b.raw_name.len(), &b.raw_name)));
    check_no_part_twice(&parts)?;
    Ok(Archive { zip, parts })
}

fn part<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    index: usize,
    kind: &str,
) -> Result<Option<Part>, BillError> {
    let entry = zip.by_index_raw(index).map_err(|error| broken(&error))?;
    if !is_detail(entry.name_raw(), kind) {
        return Ok(None);
    }
    let name = names(entry.name_raw())
        .into_iter()
        .find(|name| name.contains(kind))
        .unwrap_or_default();
    if entry.encrypted() {
        let what = format!("its entry {name:?} is encrypted");
        return Err(BillError::file(Reason::Encrypted, what));
    }
    Ok(Some(Part {
        index,
        raw_name: entry.name_raw().to_vec(),
        name,
        size: entry.size(),
        crc: entry.crc32(),
    }))
}

/// By length and checksum, which reading the parts proves.
fn check_no_part_twice(parts: &[Part]) -> Result<(), BillError> {
    for (at, part) in parts.iter().enumerate() {
        let same = |other: &&Part| (other.size, other.crc) == (part.size, part.crc);
        if let Some(other) = parts.iter().skip(at + 1).find(same) {
            let what = format!("its parts {:?} and {:?} are equal", part.name, other.name);
            return Err(BillError::file(Reason::RepeatedPart, what));
        }
    }
    Ok(())
}

/// Entry names are GBK without saying so, or UTF-8.
fn names(raw: &[u8]) -> [String; 2] {
    let gbk = GBK.decode_without_bom_handling(raw).0.into_owned();
    [gbk, String::from_utf8_lossy(raw).into_owned()]
}

#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the names are Alipay's"
)]
pub(super) fn is_detail(name: &[u8], kind: &str) -> bool {
    names(name)
        .iter()
        .any(|name| name.contains(kind) && !name.contains("汇总") && name.ends_with(".csv"))
}

/// Sees that the file is a ZIP to its end, and how many entries it says it has.
fn look(file: &mut (impl Read + Seek)) -> Result<usize, BillError> {
    let read = ends(file).map_err(|error| BillError::file(Reason::Unreadable, error));
    let (start, end, tail) = read?;
    if start.is_empty() {
        return Err(BillError::file(Reason::EmptyFile, "nothing is in it"));
    }
    Line {
        number: 1,
        in_bill: 1,
        bytes: &start,
        is_cut: false,
    }
    .check_is_no_answer()?;
    if !start.starts_with(ENTRY_START) {
        let what = "it is not a ZIP";
        return Err(BillError::file(Reason::UnknownFormat, what));
    }
    let mut whole = end.windows(usize::from(END_SIZE));
    let Some(at) = whole.rposition(|bytes| bytes.starts_with(END_MARK)) else {
        let what = "the end of the ZIP is missing";
        return Err(BillError::file(Reason::CutOff, what));
    };
    let end = &end[at..];
    check_is_one_zip(end, tail + at as u64)?;
    let entries = usize::try_from(number(end, END_COUNT, 2)).unwrap_or(usize::MAX);
    if entries > ENTRIES_MAX {
        let what = format!("the ZIP has more than {ENTRIES_MAX} entries");
        return Err(BillError::file(Reason::TooManyParts, what));
    }
    Ok(entries)
}

/// The directory stands right before the record of the end, which nothing follows: otherwise the
/// file was put together from several. `end` starts at the record, which stands at `place`.
fn check_is_one_zip(end: &[u8], place: u64) -> Result<(), BillError> {
    let directory = number(end, END_DIRECTORY, 4) + number(end, END_DIRECTORY + 4, 4);
    let comment = number(end, END_COMMENT, 2);
    let what = if place != directory && place != directory + ZIP64_SIZE {
        "something stands in the ZIP that does not belong to it"
    } else if end.len() as u64 > u64::from(END_SIZE) + comment {
        "something follows the ZIP"
    } else {
        return Ok(());
    };
    Err(BillError::file(Reason::Repeated, what))
}

/// Little endian; the record is known to be that long.
fn number(record: &[u8], at: usize, size: usize) -> u64 {
    let bytes = record.iter().skip(at).take(size).rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The first and the last bytes, and where the last ones start.
fn ends(file: &mut (impl Read + Seek)) -> io::Result<(Vec<u8>, Vec<u8>, u64)> {
    let (mut start, mut end) = (Vec::new(), Vec::new());
    file.rewind()?;
    file.by_ref().take(START_SIZE).read_to_end(&mut start)?;
    let size = file.seek(SeekFrom::End(0))?;
    let tail = size.min(u64::from(END_SIZE) + COMMENT_MAX);
    file.seek(SeekFrom::Start(size - tail))?;
    file.by_ref().take(tail).read_to_end(&mut end)?;
    file.rewind()?;
    Ok((start, end, size - tail))
}

pub(super) fn broken(error: &ZipError) -> BillError {
    let is_disk = matches!(error, ZipError::Io(error) if error.raw_os_error().is_some());
    let reason = if is_disk {
        Reason::Unreadable
    } else {
        Reason::Damaged
    };
    BillError::file(reason, format!("the ZIP cannot be read: {error}"))
}
