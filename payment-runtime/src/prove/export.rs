//! Writes what a proof rests on into files, so that others can check it without us.
//!
//! Guarantees: one snapshot for all files and for the proof beside them; pages, so that memory
//! does not grow with the day; a directory appears whole or not at all, and none that holds
//! something is touched; the same day in the same books gives the same bytes, but for the moment
//! in the manifest. Who paid and what was bought is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use payment_core::reconciliation::Kind;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::model::{ITEMS_MAX, decimal};
use super::{Proof, Wanted, prove_in};
use crate::csv;
use crate::ports::StoreError;
use crate::store::{Line, Named, Pass, ProofView, Scope, Store, Table};

/// Lines read at once.
const PAGE: u32 = 1_000;
const README: &str = include_str!("export/README.txt");
const VERIFY: &str = include_str!("export/verify.py");

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} is not empty: name a directory that is empty, or not there", .0.display())]
    NotEmpty(PathBuf),
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

/// Proves a day and writes its evidence into `directory`.
pub async fn prove_and_export(
    store: &Store,
    wanted: &Wanted,
    directory: &Path,
) -> Result<Proof, ExportError> {
    let failed = |error| ExportError::Io(directory.to_owned(), error);
    if holds_something(directory).map_err(failed)? {
        return Err(ExportError::NotEmpty(directory.to_owned()));
    }
    let mut view = store.proof_view().await?;
    let proof = prove_in(store, &mut view, wanted).await?;
    let partial = Partial::create(directory).map_err(failed)?;
    let mut files = Files::new(&partial.path);
    for table in Table::ALL {
        one_file(&mut view, wanted, table, &mut files).await?;
    }
    heads(&mut view, &mut files).await?;
    view.close().await?;
    let now = crate::clock::now().to_string();
    let texts = || {
        files.text("README.txt", README)?;
        files.text("verify.py", VERIFY)?;
        let manifest = manifest(&proof, &files, &now);
        let text = serde_json::to_string_pretty(&manifest)? + "\n";
        fs::write(partial.path.join("manifest.json"), text)?;
        partial.finish(directory)
    };
    texts().map_err(failed)?;
    Ok(proof)
}

fn holds_something(directory: &Path) -> io::Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The directory under a name of its own until it is whole; gone if it does not become so.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn create(directory: &Path) -> io::Result<Self> {
        let name = directory
            .file_name()
            .ok_or_else(|| io::Error::other("name a directory to be made"))?;
        let name = format!("{}.partial-{}", name.to_string_lossy(), std::process::id());
        let path = directory.with_file_name(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// Replaces `directory`, which is empty or not there.
    fn finish(&self, directory: &Path) -> io::Result<()> {
        fs::rename(&self.path, directory)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What the manifest says of a file.
struct Written {
    rows: u64,
    sha256: String,
    /// Minor units by channel and currency, where the file has amounts.
    sums: BTreeMap<String, i128>,
}

struct Files {
    directory: PathBuf,
    written: BTreeMap<&'static str, Written>,
}

impl Files {
    fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            written: BTreeMap::new(),
        }
    }

    /// Files whose text is known beforehand; they are not part of what is hashed.
    fn text(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.directory.join(name), text)
    }
}

/// A CSV file on its way.
struct Csv {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    written: Written,
    /// Where amount and currency stand, if there are any.
    money: Option<(usize, usize)>,
}

impl Csv {
    fn begin(directory: &Path, name: &str, columns: &[&str]) -> Result<Self, ExportError> {
        let path = directory.join(name);
        let file = File::create(&path).map_err(|error| ExportError::Io(path.clone(), error))?;
        let place = |wanted: &str| columns.iter().position(|name| *name == wanted);
        let money = place("amount_minor").zip(place("currency"));
        let mut csv = Self {
            path,
            file: BufWriter::new(file),
            hash: Sha256::new(),
            written: Written {
                rows: 0,
                sha256: String::new(),
                sums: BTreeMap::new(),
            },
            money,
        };
        let amount = money.map(|_| "amount");
        let head = columns.iter().copied().chain(amount).map(Some);
        csv.put(&csv::line(head))?;
        Ok(csv)
    }

    fn put(&mut self, text: &str) -> Result<(), ExportError> {
        self.hash.update(text.as_bytes());
        let done = self.file.write_all(text.as_bytes());
        done.map_err(|error| ExportError::Io(self.path.clone(), error))
    }

    /// Adds a line; amounts in minor units get one in major units at the end.
    fn add(&mut self, proof: &str, line: &Line) -> Result<(), ExportError> {
        let mut cells = vec![Some(proof)];
        cells.extend(line.iter().map(Option::as_deref));
        let mut amount = None;
        if let Some((minor, currency)) = self.money {
            let (minor, currency) = (cells[minor].unwrap_or_default(), cells[currency]);
            let (minor, currency) = (minor.parse().unwrap_or(0), currency.unwrap_or_default());
            let sum = self.written.sums.entry(format!("{proof} {currency}"));
            *sum.or_default() += minor;
            amount = Some(decimal(minor, currency));
        }
        if self.money.is_some() {
            cells.push(amount.as_deref());
        }
        self.written.rows += 1;
        self.put(&csv::line(cells))
    }

    fn end(mut self) -> Result<Written, ExportError> {
        let failed = |error| ExportError::Io(self.path.clone(), error);
        self.file.flush().map_err(failed)?;
        self.written.sha256 = format!("{:x}", self.hash.finalize());
        Ok(self.written)
    }
}

async fn one_file(
    view: &mut ProofView,
    wanted: &Wanted,
    table: Table,
    files: &mut Files,
) -> Result<(), ExportError> {
    let columns: Vec<&str> = std::iter::once("proof").chain(table.names()).collect();
    let mut csv = Csv::begin(&files.directory, table.file(), &columns)?;
    for channel in &wanted.channels {
        let bill = view.bill(*channel, wanted.day).await?;
        let bill_id = bill.map_or(0, |bill| bill.id);
        let currencies = view.currencies(*channel, wanted.day, bill_id).await?;
        let mut at = Scope {
            channel: *channel,
            day: wanted.day,
            bill_id,
            currency: String::new(),
        };
        let mut known = BTreeSet::new();
        for pass in at.passes(table, &currencies) {
            write_pass(view, &pass, &mut csv, channel.as_str(), None).await?;
        }
        for currency in currencies {
            at.currency = currency;
            for pass in further(view, &at, table).await? {
                write_pass(view, &pass, &mut csv, channel.as_str(), Some(&mut known)).await?;
            }
        }
    }
    files.written.insert(table.file(), csv.end()?);
    Ok(())
}

/// Lines that the day's items need to be explained.
async fn further(view: &mut ProofView, at: &Scope, table: Table) -> Result<Vec<Pass>, StoreError> {
    let mut passes = Vec::new();
    match table {
        Table::Payments => {
            for charge in view.repeated_charges(at, ITEMS_MAX).await? {
                passes.push(at.more_records(Kind::Payment, Named::Order, &charge.order_id));
            }
            for number in shifted(view, at).await? {
                passes.push(at.more_records(Kind::Payment, Named::Payment, &number));
            }
        }
        Table::Refunds => {
            for number in shifted(view, at).await? {
                passes.push(at.more_records(Kind::Refund, Named::Payment, &number));
            }
        }
        Table::Entries => {
            let shifted = shifted(view, at).await?;
            passes.extend(shifted.iter().map(|number| at.more_entries(number)));
        }
        Table::BillRows => {
            for kind in Kind::ALL {
                for record in view.absent_records(at, kind, ITEMS_MAX).await? {
                    passes.push(at.more_rows(kind, &record.number));
                }
            }
        }
        Table::Differences | Table::Actions => {}
    }
    Ok(passes)
}

/// Payments that ledger and records have on different days.
async fn shifted(view: &mut ProofView, at: &Scope) -> Result<BTreeSet<String>, StoreError> {
    let mut numbers = BTreeSet::new();
    for kind in Kind::ALL {
        let shifts = view.shifts(at, kind, ITEMS_MAX).await?;
        numbers.extend(shifts.into_iter().filter_map(|shift| shift.payment_no));
    }
    Ok(numbers)
}

async fn write_pass(
    view: &mut ProofView,
    pass: &Pass,
    csv: &mut Csv,
    proof: &str,
    mut known: Option<&mut BTreeSet<Line>>,
) -> Result<(), ExportError> {
    let mut place = None;
    loop {
        let page = view.lines(pass, place.as_ref(), PAGE).await?;
        let full = page.len() == PAGE as usize;
        for (line, behind) in page {
            place = Some(behind);
            // Several items may need the same line.
            if known
                .as_mut()
                .is_some_and(|known| !known.insert(line.clone()))
            {
                continue;
            }
            csv.add(proof, &line)?;
        }
        if !full {
            return Ok(());
        }
    }
}

async fn heads(view: &mut ProofView, files: &mut Files) -> Result<(), ExportError> {
    let mut csv = Csv::begin(
        &files.directory,
        "heads.csv",
        &["proof", "shard", "sequence", "seal"],
    )?;
    for head in view.heads().await? {
        let line = vec![
            Some(head.shard.to_string()),
            Some(head.sequence.to_string()),
            Some(head.hash),
        ];
        csv.add("ledger", &line)?;
    }
    files.written.insert("heads.csv", csv.end()?);
    Ok(())
}

fn manifest(proof: &Proof, files: &Files, now: &str) -> Value {
    let written = files.written.iter().map(|(name, file)| {
        let sums: BTreeMap<&String, String> = file
            .sums
            .iter()
            .map(|(key, minor)| (key, minor.to_string()))
            .collect();
        let told = json!({ "rows": file.rows, "sha256": file.sha256, "sumsMinor": sums });
        ((*name).to_owned(), told)
    });
    let channels = proof.channels.iter().map(|day| {
        let equations = day.equations.iter().map(|equation| {
            json!({
                "name": equation.name, "currency": equation.currency,
                "left": equation.left, "right": equation.right,
                "items": equation.item_count, "itemsMinor": equation.items_minor.to_string(),
                "holds": equation.holds,
            })
        });
        json!({
            "channel": day.channel, "bill": day.bill, "holds": day.holds(),
            "differences": day.differences,
            "equations": equations.collect::<Vec<_>>(),
        })
    });
    json!({
        "format": 1,
        "day": proof.day,
        "exportedAt": now,
        "proven": proof.proven,
        "channels": channels.collect::<Vec<_>>(),
        "ledger": {
            "heads": proof.ledger.heads,
            "violations": proof.ledger.violation_count,
        },
        "files": written.collect::<serde_json::Map<_, _>>(),
    })
}
