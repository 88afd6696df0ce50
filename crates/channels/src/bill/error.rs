//! Why a bill is refused: a code for machines, and for people what, where and what to do.
//!
//! Guarantees: a code never changes its meaning; a text quotes a short piece of a file at most.
//!
//! Not here: anything about the row that was read well before the refusal.

use std::fmt;

/// Longest piece of a file in a message, in characters.
const QUOTE_MAX: usize = 60;

/// Why a bill is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillError {
    reason: Reason,
    what: String,
}

/// Why the reading of a bill ended early.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// The bill is not accepted; whatever was handed out of it does not count.
    #[error("{0}")]
    Refused(BillError),
    /// Whom the rows were handed to wanted no more.
    #[error("{0}")]
    Stopped(E),
}

/// The same inside of this crate, where nobody knows the type of the stop.
#[derive(Debug)]
pub(crate) enum Halt {
    Refused(BillError),
    Stopped,
}

impl Halt {
    /// For readers that never stop.
    pub(crate) fn into_error(self) -> BillError {
        match self {
            Self::Refused(error) => error,
            Self::Stopped => BillError::file(Reason::Unreadable, "the reading was stopped"),
        }
    }
}

impl From<BillError> for Halt {
    fn from(error: BillError) -> Self {
        Self::Refused(error)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    EmptyFile,
    HtmlPage,
    JsonError,
    UnknownFormat,
    Damaged,
    Encrypted,
    Unreadable,
    CutOff,
    WrongHash,
    WrongEncoding,
    AnotherDay,
    AnotherAccount,
    NoDetails,
    NoHeader,
    ColumnMissing,
    RepeatedColumn,
    RowMalformed,
    SummaryMalformed,
    TotalsDiffer,
    Repeated,
    RepeatedPart,
    FileTooLarge,
    LineTooLong,
    TooManyRows,
    TooManyColumns,
    TooManyParts,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::EmptyFile => "empty-file",
            Self::HtmlPage => "html-page",
            Self::JsonError => "json-error",
            Self::UnknownFormat => "unknown-format",
            Self::Damaged => "damaged",
            Self::Encrypted => "encrypted",
            Self::Unreadable => "unreadable",
            Self::CutOff => "cut-off",
            Self::WrongHash => "wrong-hash",
            Self::WrongEncoding => "wrong-encoding",
            Self::AnotherDay => "another-day",
            Self::AnotherAccount => "another-account",
            Self::NoDetails => "no-details",
            Self::NoHeader => "no-header",
            Self::ColumnMissing => "column-missing",
            Self::RepeatedColumn => "repeated-column",
            Self::RowMalformed => "row-malformed",
            Self::SummaryMalformed => "summary-malformed",
            Self::TotalsDiffer => "totals-differ",
            Self::Repeated => "repeated",
            Self::RepeatedPart => "repeated-part",
            Self::FileTooLarge => "file-too-large",
            Self::LineTooLong => "line-too-long",
            Self::TooManyRows => "too-many-rows",
            Self::TooManyColumns => "too-many-columns",
            Self::TooManyParts => "too-many-parts",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::EmptyFile | Self::CutOff | Self::Damaged | Self::WrongHash => {
                "fetch the bill again"
            }
            Self::HtmlPage | Self::JsonError => {
                "this is no bill but an answer instead of one: fetch the bill again, and look at \
                 the channel's access rights if it stays so"
            }
            Self::Unreadable => "look at the disk of the temporary directory, then fetch it again",
            Self::UnknownFormat | Self::Encrypted | Self::WrongEncoding => {
                "take the file as the channel delivers it, not one that another program packed or \
                 saved"
            }
            Self::AnotherDay | Self::AnotherAccount => {
                "see that the file belongs to the day and the merchant it was taken for"
            }
            Self::NoDetails | Self::NoHeader => {
                "see that the file is the detailed trade bill of the channel it was taken for"
            }
            Self::TotalsDiffer => {
                "fetch the bill again, and ask the channel about it if it stays so"
            }
            Self::Repeated | Self::RepeatedPart => {
                "the file was put together twice: fetch the bill again"
            }
            Self::ColumnMissing
            | Self::RepeatedColumn
            | Self::RowMalformed
            | Self::SummaryMalformed => {
                "fetch the bill again; if it stays so, the channel has changed its format and this \
                 version cannot read it"
            }
            Self::FileTooLarge
            | Self::LineTooLong
            | Self::TooManyRows
            | Self::TooManyColumns
            | Self::TooManyParts => {
                "no bill is that large: see where the file comes from, and fetch it again"
            }
        }
    }

    /// Whether the bytes came well but say something wrong. Then the hash tells whether they are
    /// the channel's own, which is the better explanation if they are not.
    pub(crate) const fn is_about_contents(self) -> bool {
        matches!(
            self,
            Self::CutOff
                | Self::WrongEncoding
                | Self::AnotherDay
                | Self::NoHeader
                | Self::ColumnMissing
                | Self::RepeatedColumn
                | Self::RowMalformed
                | Self::SummaryMalformed
                | Self::TotalsDiffer
                | Self::Repeated
        )
    }
}

impl BillError {
    /// About the file as a whole; `what` goes on from "the file:".
    pub(crate) fn file(reason: Reason, what: impl fmt::Display) -> Self {
        let what = format!("the file: {what}");
        Self { reason, what }
    }

    pub(crate) fn line(reason: Reason, line: u64, what: impl fmt::Display) -> Self {
        let what = format!("line {line}: {what}");
        Self { reason, what }
    }

    pub(crate) fn column(reason: Reason, line: u64, column: &str, what: impl fmt::Display) -> Self {
        let what = format!("line {line}, column {column}: {what}");
        Self { reason, what }
    }

    /// The same, found in one of several parts.
    pub(crate) fn in_part(self, name: &str) -> Self {
        let what = format!("part {name}, {}", self.what);
        Self { what, ..self }
    }

    /// What is wrong in the line that the file ends in, without a line end, is most likely that
    /// the rest of it is missing.
    pub(crate) fn or_cut_off(self, is_cut: bool) -> Self {
        let by_a_cut = matches!(
            self.reason,
            Reason::ColumnMissing
                | Reason::RepeatedColumn
                | Reason::RowMalformed
                | Reason::SummaryMalformed
                | Reason::WrongEncoding
        );
        if !(is_cut && by_a_cut) {
            return self;
        }
        let what = format!("{}, and the file ends within that line", self.what);
        Self {
            reason: Reason::CutOff,
            what,
        }
    }

    /// The hash is wrong, and so is what `first` says.
    pub(crate) fn besides(self, first: &Self) -> Self {
        let what = format!("{} (and at {})", self.what, first.what);
        Self { what, ..self }
    }

    pub(crate) const fn kind(&self) -> Reason {
        self.reason
    }

    /// A stable code, such as `wrong-hash`.
    pub const fn reason(&self) -> &'static str {
        self.reason.as_str()
    }
}

impl fmt::Display for BillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.reason.advice())
    }
}

impl std::error::Error for BillError {}

/// A piece of a file, short and on one line.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTE_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
