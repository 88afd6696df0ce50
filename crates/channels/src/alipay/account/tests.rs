use encoding_rs::GBK;
use jiff::civil::date;

use super::*;
use crate::alipay::bill::tests::zipped_as;

/// A payment, its fee, a refund, as Alipay writes them: tabs after ids, commas in both texts.
pub(in crate::alipay) const STATEMENT: &str = "#支付宝账务明细查询\r
#账号：[20880211096256330156]\r
#起始日期：[2026年10月03日 00:00:00]   终止日期：[2026年10月04日 00:00:00]\r
#-----------------------------------------账务明细列表----------------------------------------\r
账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注\r
54632446537371\t,2026100322001\t,P20261003000001\t,茶, 绿茶\t,2026-10-03 10:34:56,*水 (602***@qq.com)\t,99.99,0.00,199.99,支付宝,在线支付,\r
54632446537372\t,2026100322001\t,P20261003000001\t,\t,2026-10-03 10:34:56,\t,,-0.54,199.45,支付宝,收费,服务费, 费率0.6%, [2026100322001]\r
54632446537373\t,2026100322001\t,\t,茶\t,2026-10-03 12:00:00,*水 (602***@qq.com)\t,0.00,-10.00,189.45,支付宝,退款（交易退款）,缺货\r
#-----------------------------------------账务明细列表结束------------------------------------\r
#支出合计：2笔，共-10.54元\r
#收入合计：1笔，共99.99元\r
#导出时间：[2026年10月04日 07:27:37]\r
";

fn day() -> Date {
    date(2026, 10, 3)
}

fn parse(text: &str) -> Result<Vec<FundRow>, BillError> {
    read_table(&GBK.encode(text).0, day())
}

#[test]
fn a_statement_is_read() {
    let rows = read(&zipped_as("账务明细", STATEMENT), day()).unwrap();
    let payment = FundRow {
        entry_no: "54632446537371".to_owned(),
        business_no: "2026100322001".to_owned(),
        reference: Some("P20261003000001".to_owned()),
        business_type: "在线支付".to_owned(),
        direction: FundDirection::Income,
        amount: Money::new(9_999, Currency::CNY),
        balance: Money::new(19_999, Currency::CNY),
        time: day().at(10, 34, 56, 0),
    };
    assert_eq!(rows[0], payment);
    assert_eq!(rows[1].direction, FundDirection::Expense);
    assert_eq!((rows[1].amount.minor, rows[1].balance.minor), (54, 19_945));
    assert_eq!(rows[1].business_type, "收费");
    assert_eq!(
        (rows[2].amount.minor, rows[2].reference.as_deref()),
        (1_000, None)
    );
    assert_eq!(rows.len(), 3);
}

#[test]
fn a_trade_bill_is_no_statement() {
    assert!(read(&zipped_as("业务明细", STATEMENT), day()).is_err());
    assert!(read(b"<html>expired</html>", day()).is_err());
}

#[test]
fn an_empty_statement_has_no_rows() {
    let lines: Vec<&str> = STATEMENT
        .lines()
        .filter(|line| !line.starts_with("5463"))
        .collect();
    let text = lines
        .join("\n")
        .replace("2笔，共-10.54元", "0笔，共0.00元")
        .replace("1笔，共99.99元", "0笔，共0.00元");
    assert_eq!(parse(&text), Ok(vec![]));
}

#[test]
fn signs_that_have_varied_are_taken() {
    for (from, to) in [
        ("共-10.54元", "共10.54元"),
        (",,-0.54", ",0.00,0.54"),
        (",99.99,0.00", ",+99.99,"),
    ] {
        let changed = STATEMENT.replacen(from, to, 1);
        assert_ne!(changed, STATEMENT, "{from}");
        assert_eq!(parse(&changed), parse(STATEMENT), "{to}");
    }
}

#[test]
fn a_cut_off_statement_is_refused() {
    for end in ["54632446537373", "#支出合计", "#收入合计"] {
        let (text, _) = STATEMENT.split_once(end).unwrap();
        assert!(parse(text).is_err(), "{end}");
    }
    assert!(parse("").is_err());
}

#[test]
fn statements_that_contradict_themselves_are_refused() {
    let commas = format!("茶{}", ",".repeat(40));
    let cases = [
        ("99.99,0.00,", "99.98,0.00,", "收入合计"),
        ("-0.54,", "-0.55,", "支出合计"),
        ("#支出合计：2笔", "#支出合计：3笔", "支出合计"),
        ("#收入合计：1笔", "#收入合计：0笔", "收入合计"),
        ("99.99,0.00,", "99.99,-0.01,", "either"),
        ("99.99,0.00,", "0.00,0.00,", "either"),
        ("99.99,0.00,", "-99.99,0.00,", "either"),
        ("189.45", "189.4.5", "amount"),
        ("-10.00", "-10.001", "amount"),
        ("2026-10-03 12:00:00", "yesterday", "time"),
        ("发生时间", "时间", "发生时间"),
        (
            "起始日期：[2026年10月03日",
            "起始日期：[2026年10月02日",
            "day",
        ),
        ("#支出合计：2笔，共", "#支出合计：2笔，", "read"),
        (",缺货", "", "fields"),
        ("茶, 绿茶", commas.as_str(), "fields"),
    ];
    for (from, to, expected) in cases {
        let changed = STATEMENT.replacen(from, to, 1);
        assert_ne!(changed, STATEMENT, "{from}");
        let error = parse(&changed).unwrap_err();
        assert!(
            error.to_string().contains(expected),
            "{from} to {to}: {error}"
        );
    }
}
