use std::io::{Cursor, Write as _};

use encoding_rs::GBK;
use jiff::civil::date;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::table::is_detail;
use super::*;

/// Two payments and a refund, as Alipay writes them: tabs after ids, a comma in a name.
pub(in crate::alipay) const BILL: &str = "#支付宝业务明细查询\r
#账号：[20880211096256330156]\r
#起始日期：[2026年10月03日 00:00:00]   终止日期：[2026年10月04日 00:00:00]\r
#-----------------------------------------业务明细列表----------------------------------------\r
支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注\r
2026100322001\t,P20261003000001\t,交易\t,茶, 绿茶,2026-10-03 10:34:00,2026-10-03 10:34:56,\t,\t,\t,\t,*水(602***@qq.com)\t,99.99,90.00,0.00,0.00,0.00,9.99,0.00,,0.00\t,0.00,\t,-0.54,0.00,\r
2026100322002\t,P20261003000002\t,交易\t,tea,2026-10-03 10:59:00,2026-10-03 11:00:00,\t,\t,\t,\t,*水(602***@qq.com)\t,0.01,0.01,0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,\t,0.00,0.00,\r
2026100322001\t,P20261003000001\t,退款\t,茶, 绿茶,2026-10-03 10:34:00,2026-10-03 12:00:00,\t,\t,\t,\t,*水(602***@qq.com)\t,-10.00,-10.00,0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,R1\t,0.06,0.00,\r
#-----------------------------------------业务明细列表结束------------------------------------\r
#交易合计：2笔，商家实收共90.01元，商家优惠共9.99元\r
#退款合计：1笔，商家实收退款共-10.00元，商家优惠退款共0.00元\r
#导出时间：[2026年10月04日 07:27:37]\r
";

/// A ZIP as Alipay makes it, the summary first. (The writer at hand can only name entries in UTF-8;
/// GBK names have a test of their own.)
pub(in crate::alipay) fn zipped(details: &str) -> Vec<u8> {
    zipped_as("业务明细", details)
}

pub(in crate::alipay) fn zipped_as(kind: &str, details: &str) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [
        (
            format!("20880211096256330156_20261003_{kind}(汇总).csv"),
            "#汇总查询\r\n",
        ),
        (format!("20880211096256330156_20261003_{kind}.csv"), details),
    ] {
        writer
            .start_file(name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(&GBK.encode(text).0).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn day() -> Date {
    date(2026, 10, 3)
}

#[test]
fn a_bill_is_read() {
    let rows = read(&zipped(BILL), day()).unwrap();
    let payment = BillRow {
        kind: BillRowKind::Payment,
        channel_order_no: "P20261003000001".to_owned(),
        transaction_id: "2026100322001".to_owned(),
        refund_no: None,
        amount: Money::new(9_999, Currency::CNY),
        fee_1e5: 54_000,
        time: day().at(10, 34, 56, 0),
    };
    let refund = BillRow {
        kind: BillRowKind::Refund,
        refund_no: Some("R1".to_owned()),
        amount: Money::new(1_000, Currency::CNY),
        fee_1e5: -6_000,
        time: day().at(12, 0, 0, 0),
        ..payment.clone()
    };
    assert_eq!(rows[0], payment);
    assert_eq!(rows[1].amount.minor, 1);
    assert_eq!(rows[2], refund);
}

#[test]
fn the_detail_table_is_found_by_its_name_in_either_encoding() {
    for (name, expected) in [
        ("2088_20261003_业务明细.csv", true),
        ("2088_20261003_业务明细(汇总).csv", false),
        ("2088_20261003_账务明细.csv", false),
        ("业务明细.txt", false),
    ] {
        assert_eq!(is_detail(name.as_bytes(), "业务明细"), expected, "{name}");
        assert_eq!(
            is_detail(&GBK.encode(name).0, "业务明细"),
            expected,
            "{name} in GBK"
        );
    }
}

#[test]
fn a_zip_with_gbk_names_is_read() {
    // Same length in bytes, so the names can be exchanged inside the finished file.
    let gbk = GBK.encode("2088_业务明细.csv").0.into_owned();
    let stand_in = "x".repeat(gbk.len());
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file(&stand_in, SimpleFileOptions::default())
        .unwrap();
    writer.write_all(&GBK.encode(BILL).0).unwrap();
    let mut file = writer.finish().unwrap().into_inner();
    let places: Vec<usize> = (0..file.len() - gbk.len())
        .filter(|at| file[*at..].starts_with(stand_in.as_bytes()))
        .collect();
    assert_eq!(places.len(), 2);
    for at in places {
        file[at..at + gbk.len()].copy_from_slice(&gbk);
    }
    assert_eq!(read(&file, day()).unwrap().len(), 3);
}

#[test]
fn a_broken_or_foreign_file_is_refused() {
    let file = zipped(BILL);
    for end in [0, 10, file.len() / 2, file.len() - 1] {
        assert!(read(&file[..end], day()).is_err(), "{end}");
    }
    let mut flipped = file.clone();
    let middle = file.len() / 2;
    flipped[middle] ^= 1;
    assert!(read(&flipped, day()).is_err());
    assert!(read(b"<html>expired</html>", day()).is_err());
    assert!(read(&file, date(2026, 10, 4)).is_err());
    assert!(read(&zipped(BILL), day()).is_ok());
}

#[test]
fn an_empty_bill_has_no_rows() {
    let text: Vec<&str> = BILL
        .lines()
        .filter(|line| !line.starts_with("2026"))
        .collect();
    let text = text
        .join("\n")
        .replace("2笔，商家实收共90.01", "0笔，商家实收共0.00")
        .replace("1笔，商家实收退款共-10.00", "0笔，商家实收退款共0.00");
    assert_eq!(parse(&text, day()), Ok(vec![]));
}

#[test]
fn older_files_lack_late_columns_and_units() {
    let lines = BILL.lines().map(|line| {
        if line.starts_with('#') {
            line.to_owned()
        } else {
            line.replace("（元）", "")
                .rsplitn(2, ',')
                .last()
                .unwrap()
                .to_owned()
        }
    });
    let text: Vec<String> = lines.collect();
    assert_eq!(parse(&text.join("\n"), day()), parse(BILL, day()));
}

#[test]
fn a_positive_refund_total_is_taken() {
    let text = BILL.replace("退款共-10.00", "退款共10.00");
    assert_eq!(parse(&text, day()).unwrap().len(), 3);
}

#[test]
fn a_cut_off_bill_is_refused() {
    for end in [
        "#退款合计",
        "#交易合计",
        "#-----------------------------------------业务明细列表结束",
    ] {
        let (text, _) = BILL.split_once(end).unwrap();
        assert!(parse(text, day()).is_err(), "{end}");
    }
}

#[test]
fn bills_that_contradict_themselves_are_refused() {
    let cases = [
        ("99.99,90.00", "99.99,90.01", "交易合计"),
        ("#交易合计：2笔", "#交易合计：3笔", "交易合计"),
        ("-10.00,-10.00", "-10.00,-10.01", "退款合计"),
        ("#退款合计：1笔", "#退款合计：0笔", "退款合计"),
        ("退款\t", "转账\t", "业务类型"),
        ("-10.00,-10.00", "10.00,10.00", "sign"),
        ("0.01,0.01", "0.01,0.0.1", "amount"),
        ("2026-10-03 11:00:00", "yesterday", "time"),
        ("完成时间", "结束时间", "完成时间"),
        ("商家实收共", "商家实收", "#交易合计："),
    ];
    for (from, to, expected) in cases {
        let changed = BILL.replacen(from, to, 1);
        assert_ne!(changed, BILL, "{from}");
        let error = parse(&changed, day()).unwrap_err();
        assert!(error.0.contains(expected), "{from} to {to}: {error}");
    }
    let dropped: Vec<&str> = BILL
        .lines()
        .filter(|line| !line.starts_with("2026100322002"))
        .collect();
    assert!(parse(&dropped.join("\n"), day()).is_err());
}
