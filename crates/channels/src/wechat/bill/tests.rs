use std::io::Write as _;

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

fn read_text(text: &str) -> Result<Vec<BillRow>, BillError> {
    read(text.as_bytes(), &hex::encode(Sha1::digest(text)))
}

#[test]
fn a_bill_is_read() {
    let rows = read_text(BILL).unwrap();
    let payment = BillRow {
        kind: BillRowKind::Payment,
        channel_order_no: "P20261003000001".to_owned(),
        transaction_id: "4200001".to_owned(),
        refund_no: None,
        amount: Money::new(9_999, Currency::CNY),
        fee_1e5: 54_000,
        time: date(2026, 10, 3).at(10, 34, 56, 0),
    };
    let refund = BillRow {
        kind: BillRowKind::Refund,
        refund_no: Some("R1".to_owned()),
        amount: Money::new(1_000, Currency::CNY),
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
    assert_eq!(read(&packed, &hash).unwrap().len(), 3);
    assert!(read(&packed[..packed.len() - 9], &hash).is_err());
}

#[test]
fn a_wrong_hash_is_refused() {
    assert!(read(BILL.as_bytes(), &hex::encode(Sha1::digest("x"))).is_err());
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
    let ends: Vec<usize> = BILL.match_indices('\n').map(|(at, _)| at).collect();
    for end in &ends[..ends.len() - 1] {
        assert!(read_text(&BILL[..*end]).is_err(), "{end}");
    }
}

#[test]
fn bills_that_contradict_themselves_are_refused() {
    let cases = [
        ("`99.99,`0.00,`\r", "`99.98,`0.00,`\r", "订单总金额"),
        ("`CNY,`90.00", "`CNY,`90.01", "应结订单总金额"),
        ("`R1,`10.00", "`R1,`10.01", "退款总金额"),
        ("`0.00,`10.00,`\r", "`0.00,`10.01,`\r", "申请退款总金额"),
        ("`0.00006", "`0.00007", "手续费总金额"),
        ("`3,`90.01", "`4,`90.01", "总交易单数"),
        ("`CNY,`0.01", "`USD,`0.01", "CNY"),
        (
            "`SUCCESS,`OTHERS,`CNY,`0.01",
            "`NEW,`OTHERS,`CNY,`0.01",
            "交易状态",
        ),
        ("`tea,`,`0.00006", "`tea,`,`1e-5", "amount"),
        ("`99.99,`0.00", "`99.999,`0.00", "amount"),
        ("`tea,", "`tea", "fields"),
        ("2026-10-03 11:00:00", "2026-10-03", "time"),
    ];
    for (from, to, expected) in cases {
        let changed = BILL.replacen(from, to, 1);
        assert_ne!(changed, BILL, "{from}");
        let error = read_text(&changed).unwrap_err();
        assert!(error.0.contains(expected), "{from} to {to}: {error}");
    }
}

#[test]
fn a_summary_with_fewer_decimals_is_rounded() {
    assert!(read_text(&BILL.replace("`0.48006", "`0.48")).is_ok());
    assert!(read_text(&BILL.replace("`0.48006", "`0.50")).is_err());
}
