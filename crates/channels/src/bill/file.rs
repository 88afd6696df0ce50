//! A bill as it was fetched: whole, on disk, and not yet believed.
//!
//! Guarantees: the file has no name, so nothing is left of it when its holder ends, however that
//! happens; its size is bounded; a row that was handed out counts only when the reading of the
//! whole file succeeded.
//!
//! Not here: fetching, and the files' layouts.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::civil::Date;
use payment_core::ChannelKind;
use tokio::io::AsyncWriteExt as _;

use super::{BillRow, BillTotals, Halt, ReadError};
use crate::{alipay, wechat};

/// Packed; a million rows take some 50 MiB.
const PACKED_MAX: u64 = 512 << 20;
const BUFFER: usize = 64 << 10;

/// A bill as it was fetched: whole, on disk (an unnamed temporary file), bounded, not yet believed.
#[derive(Debug)]
pub struct BillFile {
    kind: ChannelKind,
    day: Date,
    file: File,
    size: u64,
    digest: String,
    /// WeChat Pay's SHA-1 of the unpacked file; empty at Alipay, which publishes none.
    hash: String,
}

impl BillFile {
    /// A bill from elsewhere: a test, a benchmark, a file that was handed in by hand. `file` is
    /// read from its start; `hash` is WeChat Pay's SHA-1 (hex) of the unpacked file.
    ///
    /// # Errors
    /// Besides those of the disk: `InvalidInput` for a file above 512 MiB and for a bill of WeChat
    /// Pay without its hash, which nothing else takes the place of.
    pub fn open(
        kind: ChannelKind,
        day: Date,
        mut file: File,
        hash: Option<String>,
    ) -> io::Result<Self> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        if kind == ChannelKind::Wechat && hash.is_none() {
            return Err(invalid(
                "a bill of WeChat Pay needs its SHA-1: hash_value of the answer with its URL"
                    .to_owned(),
            ));
        }
        let size = file.metadata()?.len();
        if size > PACKED_MAX {
            return Err(invalid(format!("the bill has {size} bytes: {TOO_LARGE}")));
        }
        file.rewind()?;
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                size => context.update(&buffer[..size]),
            }
        }
        Ok(Self {
            kind,
            day,
            file,
            size,
            digest: hex::encode(context.finish()),
            hash: hash.unwrap_or_default(),
        })
    }

    /// SHA-256 (hex) of the bytes as they came: equal files are the same bill.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub const fn size_bytes(&self) -> u64 {
        self.size
    }

    /// Reads every row in the file's order, and hands each out as soon as it is read. Blocks; needs
    /// little memory whatever the size of the bill. May be repeated.
    ///
    /// # Errors
    /// [`ReadError::Refused`] for a bill that is not accepted, [`ReadError::Stopped`] with whatever
    /// `each` stopped the reading with. Either way the rows that were handed out do not count, and
    /// have to be thrown away: only `Ok` says that the hash, the number of rows and all totals are
    /// right.
    pub fn read<E>(
        &mut self,
        mut each: impl FnMut(BillRow) -> Result<(), E>,
    ) -> Result<BillTotals, ReadError<E>> {
        let mut stop = None;
        let result = self.read_rows(&mut |row| {
            each(row).map_err(|error| {
                stop = Some(error);
                Halt::Stopped
            })
        });
        match (result, stop) {
            (_, Some(stop)) => Err(ReadError::Stopped(stop)),
            (Ok(totals), None) => Ok(totals),
            (Err(halt), None) => Err(ReadError::Refused(halt.into_error())),
        }
    }

    fn read_rows(
        &mut self,
        each: &mut dyn FnMut(BillRow) -> Result<(), Halt>,
    ) -> Result<BillTotals, Halt> {
        match self.kind {
            ChannelKind::Wechat => wechat::read_bill(&self.file, &self.hash, self.day, each),
            ChannelKind::Alipay => alipay::read_bill(&self.file, self.day, each),
        }
    }
}

const TOO_LARGE: &str = "no bill is larger than 512 MiB";

/// A bill on its way to the disk.
pub(crate) struct Spool {
    file: tokio::fs::File,
    context: Context,
    size: u64,
}

impl Spool {
    /// In the directory for temporary files; the file is gone with its last handle.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            file: tokio::fs::File::from_std(tempfile::tempfile()?),
            context: Context::new(&SHA256),
            size: 0,
        })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len() as u64;
        if self.size > PACKED_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_LARGE));
        }
        self.context.update(bytes);
        self.file.write_all(bytes).await
    }

    pub(crate) async fn finish(
        mut self,
        kind: ChannelKind,
        day: Date,
        hash: String,
    ) -> io::Result<BillFile> {
        self.file.flush().await?;
        Ok(BillFile {
            kind,
            day,
            file: self.file.into_std().await,
            size: self.size,
            digest: hex::encode(self.context.finish()),
            hash,
        })
    }
}
