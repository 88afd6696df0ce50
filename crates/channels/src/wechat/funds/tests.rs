use jiff::civil::date;
use sha1::{Digest as _, Sha1};

use super::*;

/// A payment, its fee, a refund, as WeChat Pay writes them: units in the header, backticks.
pub(in crate::wechat) const BILL: &str = "\u{feff}记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号\r
`2026-10-03 10:34:56,`4200001,`1900009231201,`交易,`交易,`收入,`99.99,`199.99,`1900000109,`结算总金额 99.99 元,含手续费 0.54 元,`4200001\r
`2026-10-03 10:34:56,`4200001,`1900009231202,`扣除交易手续费,`扣除交易手续费,`支出,`0.54,`199.45,`1900000109,`,`4200001\r
`2026-10-03 12:00:00,`503,`1900009231203,`退款,`退款,`支出,`9.94,`189.51,`system,`缺货,`\r
资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额\r
`3,`1,`99.99,`2,`10.48\r
";

fn day() -> Date {
    date(2026, 10, 3)
}

fn read_text(text: &str) -> Result<Vec<FundRow>, BillError> {
    read(text.as_bytes(), &hex::encode(Sha1::digest(text)), day())
}

#[test]
fn a_bill_is_read() {
    let rows = read_text(BILL).unwrap();
    let payment = FundRow {
        entry_no: "1900009231201".to_owned(),
        business_no: "4200001".to_owned(),
        reference: Some("4200001".to_owned()),
        business_type: "交易".to_owned(),
        direction: FundDirection::Income,
        amount: Money::new(9_999, Currency::CNY),
        balance: Money::new(19_999, Currency::CNY),
        time: day().at(10, 34, 56, 0),
    };
    assert_eq!(rows[0], payment);
    assert_eq!(rows[1].direction, FundDirection::Expense);
    assert_eq!(rows[1].amount.minor, 54);
    assert_eq!(
        (rows[2].balance.minor, rows[2].reference.as_deref()),
        (18_951, None)
    );
    assert_eq!(rows.len(), 3);
}

#[test]
fn columns_are_found_by_their_names() {
    let expected = read_text(BILL).unwrap();
    let swapped: Vec<String> = BILL
        .trim_start_matches('\u{feff}')
        .lines()
        .map(|line| {
            let separator = if line.starts_with('`') { ",`" } else { "," };
            let mut fields: Vec<&str> = line.trim_start_matches('`').split(separator).collect();
            fields.reverse();
            let tick = if line.starts_with('`') { "`" } else { "" };
            format!("{tick}{}", fields.join(separator))
        })
        .collect();
    // The summary is told from a row by its own first name, which stays first.
    let text = swapped.join("\n").replace(
        "支出金额,支出笔数,收入金额,收入笔数,资金流水总笔数",
        "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额",
    );
    let text = text.replace("`10.48,`2,`99.99,`1,`3", "`3,`1,`99.99,`2,`10.48");
    assert_eq!(read_text(&text).unwrap(), expected);
}

#[test]
fn a_wrong_hash_is_refused() {
    assert!(read(BILL.as_bytes(), &hex::encode(Sha1::digest("x")), day()).is_err());
}

#[test]
fn an_empty_bill_has_no_rows() {
    let lines: Vec<&str> = BILL.lines().collect();
    let text = [lines[0], lines[4], "`0,`0,`0.00,`0,`0.00"].join("\n");
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
        ("`收入,`99.99", "`收入,`99.98", "收入金额"),
        ("`支出,`0.54", "`支出,`0.55", "支出金额"),
        ("`支出,`0.54", "`收入,`0.54", "收入金额"),
        ("`3,`1,`99.99", "`4,`1,`99.99", "资金流水总笔数"),
        ("`3,`1,`99.99", "`3,`2,`99.99", "收入金额"),
        ("`2,`10.48", "`1,`10.48", "支出金额"),
        ("`2,`10.48", "`x,`10.48", "支出笔数"),
        ("`支出,`9.94", "`支出,`-9.94", "sign"),
        ("`支出,`9.94", "`退回,`9.94", "收支类型"),
        ("`支出,`9.94", "`支出,`9.941", "amount"),
        ("`189.51", "`1.8e2", "amount"),
        ("2026-10-03 12:00:00", "2026-10-03", "time"),
        (
            "2026-10-03 12:00:00",
            "2026-10-04 12:00:00",
            "a row is not of",
        ),
        ("`system,`缺货", "`system", "fields"),
        ("账户结余(元)", "结余(元)", "账户结余"),
        ("支出金额\r", "支出总额\r", "支出金额"),
        ("`10.48\r\n", "`10.48\r\n`1\r\n", "goes on after"),
    ];
    for (from, to, expected) in cases {
        let changed = BILL.replacen(from, to, 1);
        assert_ne!(changed, BILL, "{from}");
        let error = read_text(&changed).unwrap_err();
        assert!(
            error.to_string().contains(expected),
            "{from} to {to}: {error}"
        );
    }
}
