//! The report of one run: what was compared, that nothing was left out of it, and what differs.
//!
//! Guarantees: bounded, whatever the run found; amounts as decimal text beside minor units, sums
//! as text where they may be larger than a reader's integers; no cell of the CSV runs as a formula.
//!
//! Deliberately not here: HTTP (`http`), and proving a day from the books alone (`crate::prove`).

use payment_core::reconciliation::{Kind, Line, Proof};
use serde_json::{Value, json};

use super::books::{AcceptedBill, DifferenceRecord, Progress};
use crate::csv;
use crate::prove::decimal;
use crate::store::Run;

/// Differences that a report shows; the list has the rest.
pub const DIFFERENCES_MAX: u32 = 200;

/// A run in a list of runs.
pub fn summary(run: &Run) -> Value {
    let progress = run.progress.as_ref();
    let state = if run.finished_at.is_some() {
        "finished"
    } else {
        "running"
    };
    // What is not finished has no result yet.
    let hash = progress.filter(|_| run.finished_at.is_some());
    json!({
        "id": run.id, "channel": run.channel.as_str(), "day": run.day.to_string(),
        "state": state,
        "startedAt": run.started_at.to_string(),
        "finishedAt": run.finished_at.map(|at| at.to_string()),
        "billRows": run.bill_rows,
        "matched": progress.map(|p| p.totals.matched()),
        "differences": progress.map(|p| p.differences),
        "progress": run.finished_at.is_none().then(|| running(run)),
        "resultHash": hash.map(|p| p.chain.as_str()),
    })
}

/// How far a run has come.
fn running(run: &Run) -> Value {
    let start = Progress::start();
    let progress = run.progress.as_ref().unwrap_or(&start);
    let compared: u64 = progress.totals.0.values().map(|line| line.bill_rows).sum();
    json!({
        "kind": progress.kind.as_str(),
        "comparedBillRows": compared,
        "billRows": run.bill_rows,
    })
}

/// A run's report. `found` holds one difference more than are shown if there are more.
pub fn report(
    run: &Run,
    bill: Option<(&AcceptedBill, &str)>,
    mut found: Vec<DifferenceRecord>,
) -> Value {
    let more = found.len() > DIFFERENCES_MAX as usize;
    found.truncate(DIFFERENCES_MAX as usize);
    let all = format!(
        "/api/reconciliation/differences?channel={}&day={}&state=all",
        run.channel, run.day
    );
    let mut report = summary(run);
    report["bill"] = bill.map_or(Value::Null, |(bill, state)| bill_of(bill, state));
    report["totals"] = totals(run);
    report["proofs"] = proofs(run, bill.map(|(bill, _)| bill));
    report["found"] = json!({
        "data": found.iter().map(difference).collect::<Vec<_>>(),
        "more": more,
        "all": all,
    });
    report
}

fn bill_of(bill: &AcceptedBill, state: &str) -> Value {
    let sums = bill.sums.iter().map(|((kind, currency), (rows, minor))| {
        json!({
            "kind": kind.as_str(), "currency": currency, "rows": rows,
            "minor": minor.to_string(), "amount": decimal(*minor, currency),
        })
    });
    json!({
        "id": bill.id, "digest": bill.digest, "state": state,
        "fee1e5": bill.fee_1e5, "fee": fee(bill.fee_1e5),
        "sums": sums.collect::<Vec<_>>(),
    })
}

/// Hundred-thousandths of a yuan in yuan.
fn fee(fee_1e5: i64) -> String {
    let sign = if fee_1e5 < 0 { "-" } else { "" };
    let (whole, rest) = (
        fee_1e5.unsigned_abs() / 100_000,
        fee_1e5.unsigned_abs() % 100_000,
    );
    format!("{sign}{whole}.{rest:05}")
}

fn totals(run: &Run) -> Value {
    let lines = run.progress.iter().flat_map(|progress| &progress.totals.0);
    let told = lines.map(|((kind, class, currency), line)| {
        let class = class.map_or("matched", |class| class.as_str());
        let mut told = sides(line, currency);
        told["kind"] = kind.as_str().into();
        told["class"] = class.into();
        told["currency"] = currency.as_str().into();
        told
    });
    Value::from(told.collect::<Vec<_>>())
}

fn sides(line: &Line, currency: &str) -> Value {
    json!({
        "ours": side(line.our_rows, line.our_minor, currency),
        "bill": side(line.bill_rows, line.bill_minor, currency),
    })
}

fn side(rows: u64, minor: i128, currency: &str) -> Value {
    json!({ "rows": rows, "minor": minor.to_string(), "amount": decimal(minor, currency) })
}

/// Σ matched + Σ differences = Σ bill; nothing while the bill is not kept any more.
fn proofs(run: &Run, bill: Option<&AcceptedBill>) -> Value {
    let (Some(progress), Some(bill)) = (&run.progress, bill) else {
        return Value::from(Vec::<Value>::new());
    };
    let proofs = progress.totals.proofs(&bill.sums);
    let told = proofs.iter().map(|proof| {
        let Proof {
            kind,
            currency,
            matched,
            differences,
            bill_rows,
            bill_minor,
        } = proof;
        json!({
            "kind": kind.as_str(), "currency": currency,
            "matched": side(matched.bill_rows, matched.bill_minor, currency),
            "differences": side(differences.bill_rows, differences.bill_minor, currency),
            "bill": side(*bill_rows, *bill_minor, currency),
            "holds": proof.holds(),
        })
    });
    Value::from(told.collect::<Vec<_>>())
}

fn difference(difference: &DifferenceRecord) -> Value {
    let money = |money: Option<payment_core::Money>| {
        money.map(|money| {
            json!({
                "minor": money.minor, "amount": money.to_decimal(),
                "currency": money.currency.code(),
            })
        })
    };
    json!({
        "id": difference.id,
        "kind": difference.kind.as_str(),
        "class": difference.class.as_str(),
        "number": difference.number,
        "paymentId": difference.payment_no,
        "refundNo": difference.refund_no,
        "ours": money(difference.ours),
        "ourStatus": difference.our_state,
        "bill": money(difference.bill),
        "state": difference.state.as_str(),
        "why": difference.why,
        "resolution": difference.resolution,
    })
}

/// The columns of a report as CSV. A line is a total of a class (`total`), a proof (`proof`) or a
/// difference (`difference`).
const COLUMNS: [&str; 18] = [
    "record",
    "kind",
    "class",
    "currency",
    "ourRows",
    "ourMinor",
    "ourAmount",
    "billRows",
    "billMinor",
    "billAmount",
    "holds",
    "id",
    "number",
    "paymentId",
    "ourStatus",
    "state",
    "why",
    "resolution",
];

type Cells = [Option<String>; COLUMNS.len()];

fn csv_line(cells: &Cells) -> String {
    csv::line(cells.iter().map(Option::as_deref))
}

fn begin(record: &str, kind: Kind, class: Option<&str>, currency: &str) -> Cells {
    let mut cells = Cells::default();
    cells[0] = Some(record.to_owned());
    cells[1] = Some(kind.as_str().to_owned());
    cells[2] = class.map(str::to_owned);
    cells[3] = Some(currency.to_owned());
    cells
}

fn put(cells: &mut Cells, first: usize, rows: u64, minor: i128, currency: &str) {
    cells[first] = Some(rows.to_string());
    cells[first + 1] = Some(minor.to_string());
    cells[first + 2] = Some(decimal(minor, currency));
}

/// Everything of a report's CSV that comes before its differences.
pub fn csv_begin(run: &Run, bill: Option<&AcceptedBill>) -> String {
    let mut text = csv::line(COLUMNS.map(Some));
    let Some(progress) = &run.progress else {
        return text;
    };
    for ((kind, class, currency), line) in &progress.totals.0 {
        let class = class.map_or("matched", |class| class.as_str());
        let mut cells = begin("total", *kind, Some(class), currency);
        put(&mut cells, 4, line.our_rows, line.our_minor, currency);
        put(&mut cells, 7, line.bill_rows, line.bill_minor, currency);
        text += &csv_line(&cells);
    }
    let proofs = bill.map(|bill| progress.totals.proofs(&bill.sums));
    for proof in proofs.into_iter().flatten() {
        let mut cells = begin("proof", proof.kind, None, &proof.currency);
        put(
            &mut cells,
            7,
            proof.bill_rows,
            proof.bill_minor,
            &proof.currency,
        );
        cells[10] = Some(proof.holds().to_string());
        text += &csv_line(&cells);
    }
    text
}

/// A difference as a line of a report's CSV.
pub fn csv_difference(difference: &DifferenceRecord) -> String {
    let currency = difference
        .amount()
        .map_or("", |money| money.currency.code());
    let class = Some(difference.class.as_str());
    let mut cells = begin("difference", difference.kind, class, currency);
    for (first, side) in [(4, difference.ours), (7, difference.bill)] {
        if let Some(money) = side {
            let code = money.currency.code();
            put(&mut cells, first, 1, i128::from(money.minor), code);
        }
    }
    cells[11] = Some(difference.id.to_string());
    cells[12] = Some(difference.number.clone());
    cells[13].clone_from(&difference.payment_no);
    cells[14].clone_from(&difference.our_state);
    cells[15] = Some(difference.state.as_str().to_owned());
    cells[16] = Some(difference.why.clone());
    cells[17].clone_from(&difference.resolution);
    csv_line(&cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_told_to_the_hundred_thousandth() {
        assert_eq!(fee(600), "0.00600");
        assert_eq!(fee(-123_456), "-1.23456");
    }
}
