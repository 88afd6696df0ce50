use std::io::{Cursor, Write as _};

use encoding_rs::GBK;
use jiff::civil::date;
use payment_core::Money;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::archive::is_detail;
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
    let name = |kind: &str| format!("20880211096256330156_20261003_{kind}.csv");
    let summary = (name(&format!("{kind}(汇总)")), "#汇总查询\r\n".to_owned());
    zipped_all(&[&summary, &(name(kind), details.to_owned())])
}

fn zipped_all(entries: &[&(String, String)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in entries {
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

fn rows_of(file: &[u8]) -> Result<Vec<BillRow>, BillError> {
    let mut rows = Vec::new();
    let mut each = |row| {
        rows.push(row);
        Ok(())
    };
    read(Cursor::new(file), day(), &mut each).map_err(Halt::into_error)?;
    Ok(rows)
}

fn parse(text: &str) -> Result<Vec<BillRow>, BillError> {
    let mut rows = Vec::new();
    let mut each = |row| {
        rows.push(row);
        Ok(())
    };
    read_table(&GBK.encode(text).0, day(), &mut each).map_err(Halt::into_error)?;
    Ok(rows)
}

#[test]
fn a_bill_is_read() {
    let rows = rows_of(&zipped(BILL)).unwrap();
    let payment = BillRow {
        line: 6,
        kind: BillRowKind::Payment,
        channel_order_no: "P20261003000001".to_owned(),
        transaction_id: "2026100322001".to_owned(),
        refund_no: None,
        refund_status: None,
        amount: Money::new(9_999, Currency::CNY),
        settled: Money::new(9_000, Currency::CNY),
        fee_1e5: 54_000,
        fee_rate_ppm: None,
        time: day().at(10, 34, 56, 0),
        merchant_no: Some("20880211096256330156".to_owned()),
        app_id: None,
    };
    let refund = BillRow {
        kind: BillRowKind::Refund,
        line: 8,
        refund_no: Some("R1".to_owned()),
        refund_status: Some(BillRefundStatus::Succeeded),
        amount: Money::new(1_000, Currency::CNY),
        settled: Money::new(1_000, Currency::CNY),
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
    assert_eq!(rows_of(&file).unwrap().len(), 3);
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
    assert_eq!(parse(&text), Ok(vec![]));
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
    assert_eq!(parse(&text.join("\n")), parse(BILL));
}

#[test]
fn a_positive_refund_total_is_taken() {
    let text = BILL.replace("退款共-10.00", "退款共10.00");
    assert_eq!(parse(&text).unwrap().len(), 3);
}

#[test]
fn a_bill_in_parts_is_read_in_the_order_of_their_names() {
    let parts = [1, 2, 10].map(|n| {
        let text = BILL.replace("P2026", &format!("P{n}-2026"));
        (format!("2088_业务明细_{n}.csv"), text)
    });
    let [first, second, tenth] = &parts;
    let file = zipped_all(&[tenth, second, first]);
    let rows = rows_of(&file).unwrap();
    let expected = ["P1-", "P2-", "P10-"].map(|start| [start; 3]).concat();
    for (row, start) in rows.iter().zip(&expected) {
        assert!(row.channel_order_no.starts_with(start), "{row:?}");
    }
    let lines: Vec<u64> = rows.iter().map(|row| row.line).collect();
    assert_eq!(lines, [6, 7, 8, 18, 19, 20, 30, 31, 32]);
}

#[test]
fn a_stranger_of_the_day_beside_is_kept() {
    let text = BILL.replace("2026-10-03 12:00:00", "2026-10-04 00:00:01");
    assert_eq!(parse(&text).unwrap().len(), 3);
}

#[test]
fn a_cut_off_table_is_refused_wherever_it_is_cut() {
    let end = BILL.find("元，商家优惠退款").unwrap();
    for end in (0..end).filter(|end| BILL.is_char_boundary(*end)) {
        let error = parse(&BILL[..end]).unwrap_err();
        let reasons = ["cut-off", "empty-file", "no-header", "another-day"];
        assert!(reasons.contains(&error.reason()), "{end}: {error}");
    }
}
