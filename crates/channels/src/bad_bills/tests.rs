use std::collections::HashSet;
use std::convert::Infallible;
use std::io::Write as _;

use jiff::civil::date;

use super::*;
use crate::{BillFile, BillRow, BillTotals, ReadError};

fn day() -> Date {
    date(2026, 10, 3)
}

fn open(kind: ChannelKind, bytes: &[u8], hash: Option<String>) -> BillFile {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    BillFile::open(kind, day(), file, hash).unwrap()
}

fn read(
    kind: ChannelKind,
    bytes: &[u8],
    hash: Option<String>,
) -> Result<(Vec<BillRow>, BillTotals), ReadError<Infallible>> {
    let mut rows = Vec::new();
    let totals = open(kind, bytes, hash).read(|row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, totals))
}

#[test]
fn every_bad_bill_is_refused_for_its_reason_and_says_where() {
    let all = bad_bills(day());
    let names: HashSet<&str> = all.iter().map(|bill| bill.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.len() >= 150, "{}", all.len());
    let mut failures = Vec::new();
    for bill in &all {
        let result = read(bill.kind, &bill.bytes, bill.hash.clone());
        let text = match &result {
            Ok((rows, _)) => format!("accepted with {} rows", rows.len()),
            Err(error) => error.to_string(),
        };
        let reason = match &result {
            Err(ReadError::Refused(error)) => error.reason(),
            _ => "none",
        };
        if reason != bill.reason || !text.contains(bill.place) || text.len() > 600 {
            let (expected, place) = (bill.reason, bill.place);
            failures.push(format!(
                "{}: expected {expected} at {place:?}, got {reason}: {text}",
                bill.name
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn good_bills_are_read_as_they_were_written() {
    for kind in [ChannelKind::Wechat, ChannelKind::Alipay] {
        let written = some_rows(day());
        let (bytes, hash) = good_bill(kind, day(), &written);
        let (rows, totals) = read(kind, &bytes, hash).unwrap();
        let expected = BillTotals {
            payments: 2,
            refunds: 1,
            payment_minor: 10_000,
            refund_minor: 1_000,
            fee_1e5: 54_000,
        };
        assert_eq!(totals, expected);
        for (row, written) in rows.iter().zip(&written) {
            assert_eq!(row.kind, written.kind);
            assert_eq!(row.channel_order_no, written.channel_order_no);
            assert_eq!(row.transaction_id, written.transaction_id);
            assert_eq!(row.refund_no, written.refund_no);
            assert_eq!(row.amount.minor, written.amount_minor);
            assert_eq!(row.settled.minor, written.settled_minor);
            assert_eq!(row.fee_1e5, written.fee_1e5);
            assert_eq!(row.time, written.time);
        }
        let (bytes, hash) = good_bill(kind, day(), &[]);
        let (rows, totals) = read(kind, &bytes, hash).unwrap();
        assert_eq!((rows.len(), totals), (0, BillTotals::default()));
    }
}

#[test]
fn a_reading_can_be_stopped_and_repeated() {
    for kind in [ChannelKind::Wechat, ChannelKind::Alipay] {
        let (bytes, hash) = good_bill(kind, day(), &some_rows(day()));
        let mut file = open(kind, &bytes, hash);
        let mut seen = 0;
        let stopped = file.read(|row| {
            seen += 1;
            if seen == 2 { Err(row.line) } else { Ok(()) }
        });
        let Err(ReadError::Stopped(line)) = stopped else {
            panic!("{stopped:?}");
        };
        assert_eq!(line, if kind == ChannelKind::Wechat { 3 } else { 7 });
        let again = file.read(|_| Ok::<(), Infallible>(()));
        assert_eq!(again.unwrap().payments, 2);
    }
}

#[test]
fn a_file_knows_its_size_and_its_digest() {
    let (bytes, _) = good_bill(ChannelKind::Alipay, day(), &[]);
    let file = open(ChannelKind::Alipay, &bytes, None);
    assert_eq!(file.size_bytes(), bytes.len() as u64);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    assert_eq!(file.digest(), hex::encode(digest));
    let none = tempfile::tempfile().unwrap();
    let error = BillFile::open(ChannelKind::Wechat, day(), none, None).unwrap_err();
    assert!(error.to_string().contains("hash_value"), "{error}");
}
