use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::date;
use sha1::{Digest as _, Sha1};

use super::*;

/// Two payments and a refund, as WeChat Pay writes them: BOM, CRLF, backticks, a comma in a name.
pub(in crate::wechat) const BILL: &str = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r
`2026-10-03 10:34:56,`wx1,`1900000109,`0,`,`4200001,`P20261003000001,`oU,`NATIVE,`SUCCESS,`OTHERS,`CNY,`90.00,`9.99,`0,`0,`0.00,`0.00,`,`,`茶, 绿茶,`,`0.54000,`0.60%,`99.99,`0.00,`\r
`2026-10-03 11:00:00,`wx1,`1900000109,`0,`,`4200002,`P20261003000002,`oU,`NATIVE,`SUCCESS,`OTHERS,`CNY,`0.01,`0.00,`0,`0,`0.00,`0.00,`,`,`tea,`,`0.00006,`0.60%,`0.01,`0.00,`\r
`2026-10-03 12:00:00,`wx1,`1900000109,`0,`,`4200001,`P20261003000001,`oU,`NATIVE,`REFUND,`OTHERS,`CNY,`0.00,`0.00,`503,`R1,`10.00,`0.00,`ORIGINAL,`PROCESSING,`茶, 绿茶,`,`-0.06000,`0.60%,`0.00,`10.00,`\r
总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r
`3,`90.01,`10.00,`0.00,`0.48006,`100.00,`10.00\r
";

fn rows_of(file: &[u8], hash: &str) -> Result<Vec<BillRow>, BillError> {
    let mut rows = Vec::new();
    let mut each = |row| {
        rows.push(row);
        Ok(())
    };
    let read = read(Cursor::new(file), hash, date(2026, 10, 3), &mut each);
    read.map_err(Halt::into_error)?;
    Ok(rows)
}

fn read_text(text: &str) -> Result<Vec<BillRow>, BillError> {
    rows_of(text.as_bytes(), &hex::encode(Sha1::digest(text)))
}

#[test]
fn a_bill_is_read() {
    let rows = read_text(BILL).unwrap();
    let cny = |minor| Money::new(minor, Currency::CNY);
    let payment = BillRow {
        line: 2,
        kind: BillRowKind::Payment,
        channel_order_no: "P20261003000001".to_owned(),
        transaction_id: "4200001".to_owned(),
        refund_no: None,
        refund_status: None,
        amount: cny(9_999),
        settled: cny(9_000),
        fee_1e5: 54_000,
        fee_rate_ppm: Some(6_000),
        time: date(2026, 10, 3).at(10, 34, 56, 0),
        merchant_no: Some("1900000109".to_owned()),
        app_id: Some("wx1".to_owned()),
    };
    let refund = BillRow {
        line: 4,
        kind: BillRowKind::Refund,
        refund_no: Some("R1".to_owned()),
        refund_status: Some(BillRefundStatus::Processing),
        amount: cny(1_000),
        settled: cny(1_000),
        fee_1e5: -6_000,
        time: date(2026, 10, 3).at(12, 0, 0, 0),
        ..payment.clone()
    };
    assert_eq!(rows[0], payment);
    assert_eq!(rows[1].fee_1e5, 6);
    assert_eq!(rows[2], refund);
}

#[test]
fn line_ends_backticked_headers_and_a_missing_mark_do_not_matter() {
    let expected = read_text(BILL).unwrap();
    let plain = BILL.replace('\r', "");
    let plain = plain.trim_start_matches('\u{feff}');
    assert_eq!(read_text(plain).unwrap(), expected);
    assert_eq!(read_text(plain.trim_end()).unwrap(), expected);
    let ticked: Vec<String> = plain
        .lines()
        .map(|line| {
            if line.starts_with('`') {
                line.to_owned()
            } else {
                format!("`{}", line.replace(',', ",`"))
            }
        })
        .collect();
    assert_eq!(read_text(&ticked.join("\n")).unwrap(), expected);
}

#[test]
fn a_packed_bill_is_unpacked_before_it_is_hashed() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(BILL.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let hash = hex::encode_upper(Sha1::digest(BILL));
    assert_eq!(rows_of(&packed, &hash).unwrap().len(), 3);
}

#[test]
fn an_empty_bill_has_no_rows() {
    let lines: Vec<&str> = BILL.lines().collect();
    let zero = "`0,`0.00,`0.00,`0.00,`0.00000,`0.00,`0.00";
    let text = [lines[0], lines[4], zero].join("\n");
    assert_eq!(read_text(&text), Ok(vec![]));
}

#[test]
fn a_cut_off_bill_is_refused_wherever_it_is_cut() {
    // The last amount is the same without its decimals.
    let end = BILL.rfind("10.00").unwrap();
    for end in (0..end).filter(|end| BILL.is_char_boundary(*end)) {
        let error = read_text(&BILL[..end]).unwrap_err();
        let reasons = ["cut-off", "empty-file", "no-header", "totals-differ"];
        assert!(reasons.contains(&error.reason()), "{end}: {error}");
    }
}

/// The text without some columns of its header and rows.
fn without(text: &str, columns: &[&str]) -> String {
    let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let kept = |line: &str, separator: &str| {
        let fields = line.split(separator).zip(&names);
        let fields = fields.filter(|(_, name)| !columns.contains(name));
        fields
            .map(|(field, _)| field)
            .collect::<Vec<_>>()
            .join(separator)
    };
    let lines = text.lines().map(|line| match line.strip_prefix('`') {
        Some(row) if row.starts_with("2026") => format!("`{}", kept(row, ",`")),
        None if !line.starts_with('总') => kept(line, ","),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn older_files_lack_late_columns() {
    let text = without(BILL, &["费率备注", "费率", "公众账号ID", "商户号"]);
    let rows = read_text(&text).unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!((rows[0].fee_rate_ppm, &rows[0].app_id), (None, &None));
    let one_amount = without(BILL, &["应结订单金额", "退款金额"]);
    let one_amount = one_amount
        .replace("应结订单总金额,退款总金额,", "")
        .replace("`90.01,`10.00,`0.00", "`0.00");
    let rows = read_text(&one_amount).unwrap();
    assert_eq!(rows[0].settled, rows[0].amount);
}

#[test]
fn a_bill_of_payments_alone_lacks_the_columns_of_refunds() {
    let lines: Vec<&str> = BILL.lines().collect();
    let summary = "`2,`90.01,`0.00,`0.00,`0.54006,`100.00,`0.00";
    let text = [lines[0], lines[1], lines[2], lines[4], summary].join("\r\n");
    let text = without(
        &text,
        &[
            "微信退款单号",
            "商户退款单号",
            "退款金额",
            "充值券退款金额",
            "退款类型",
            "退款状态",
            "申请退款金额",
        ],
    );
    assert_eq!(read_text(&text).unwrap(), read_text(BILL).unwrap()[..2]);
}

#[test]
fn a_row_in_another_currency_is_read_in_that_currency() {
    let text = BILL
        .replacen("`CNY,`0.01", "`JPY,`5.00", 1)
        .replacen("`0.01,`0.00,`\r", "`5.00,`0.00,`\r", 1)
        .replacen("`3,`90.01", "`3,`95.00", 1)
        .replacen("`100.00,`10.00", "`104.99,`10.00", 1);
    let rows = read_text(&text).unwrap();
    assert_eq!(
        rows[1].amount,
        Money::new(5, Currency::parse("JPY").unwrap())
    );
}

#[test]
fn refunds_stand_as_they_did_when_the_bill_was_made() {
    for (word, expected) in [
        ("SUCCESS", BillRefundStatus::Succeeded),
        ("PROCESSING", BillRefundStatus::Processing),
        ("FAIL", BillRefundStatus::Failed),
        ("CHANGE", BillRefundStatus::Abnormal),
        ("", BillRefundStatus::Unknown),
    ] {
        let text = BILL.replace("PROCESSING", word);
        assert_eq!(read_text(&text).unwrap()[2].refund_status, Some(expected));
    }
}

#[test]
fn a_stranger_of_the_day_beside_is_kept() {
    let text = BILL.replace("2026-10-03 12:00:00", "2026-10-04 00:00:01");
    assert_eq!(read_text(&text).unwrap().len(), 3);
}

#[test]
fn a_summary_with_fewer_decimals_is_rounded() {
    assert!(read_text(&BILL.replace("`0.48006", "`0.48")).is_ok());
    assert!(read_text(&BILL.replace("`0.48006", "`0.50")).is_err());
}
