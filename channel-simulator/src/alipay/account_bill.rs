//! The account bill (账务, `signcustomer`): what moved on the seller's balance.
//!
//! A payment is an income of its amount and an expense of its fee, a refund the reverse. The
//! balance starts every day at a million yuan: the book knows no withdrawals.

use jiff::Timestamp;
use jiff::civil::Date;

use super::bill::{cell_text, export_time, head};
use crate::book::DayEntry;
use crate::clock::plain;
use crate::money::{alipay_fee, yuan};

const COLUMNS: &str = "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,\
支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注";
const SUMMARY_COLUMNS: &str = "业务类型,收入笔数,收入金额（+元）,支出笔数,支出金额（-元）";
const OPENING_FEN: i64 = 100_000_000;

/// One movement, in fen; never 0.
struct Movement<'a> {
    entry: &'a DayEntry,
    kind: &'static str,
    fen: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    income_count: usize,
    income: i64,
    expense_count: usize,
    expense: i64,
}

impl Totals {
    fn of<'a>(movements: impl Iterator<Item = &'a Movement<'a>>) -> Self {
        let mut totals = Self::default();
        for movement in movements {
            if movement.fen > 0 {
                totals.income_count += 1;
                totals.income += movement.fen;
            } else {
                totals.expense_count += 1;
                totals.expense += movement.fen;
            }
        }
        totals
    }
}

/// The texts of the two files: detail and summary. `wrong`: the footer's income is a fen too high.
pub(super) fn texts(
    pid: &str,
    day: Date,
    rows: &[DayEntry],
    now: Timestamp,
    wrong: bool,
) -> (String, String) {
    let movements: Vec<Movement<'_>> = rows.iter().flat_map(movements).collect();
    let mut totals = Totals::of(movements.iter());
    let summary = summary(pid, day, &movements, now);
    if wrong {
        totals.income += 1;
    }
    (detail(pid, day, &movements, &totals, now), summary)
}

fn movements(entry: &DayEntry) -> impl Iterator<Item = Movement<'_>> {
    let (kind, fen, fee_kind) = match entry {
        DayEntry::Paid(charge, _) => ("在线支付", charge.amount_minor, "收费"),
        DayEntry::Refunded(_, refund) => ("交易退款", -refund.amount_minor, "收费退还"),
    };
    let fee = -fen.signum() * alipay_fee(fen.abs());
    let both = [(kind, fen), (fee_kind, fee)].into_iter();
    both.filter(|(_, fen)| *fen != 0)
        .map(move |(kind, fen)| Movement { entry, kind, fen })
}

fn detail(
    pid: &str,
    day: Date,
    movements: &[Movement<'_>],
    totals: &Totals,
    now: Timestamp,
) -> String {
    let mut text = head("支付宝账务明细查询", pid, day);
    text.push_str("#-----------------------------------------账务明细列表----------------------------------------\r\n");
    text.push_str(COLUMNS);
    text.push_str("\r\n");
    let mut balance = OPENING_FEN;
    for (index, movement) in movements.iter().enumerate() {
        balance += movement.fen;
        text.push_str(&line(movement, index, balance).join(","));
        text.push_str("\r\n");
    }
    text.push_str("#-----------------------------------------账务明细列表结束------------------------------------\r\n");
    let footer = format!(
        "#支出合计：{}笔，共{}元\r\n#收入合计：{}笔，共{}元\r\n",
        totals.expense_count,
        yuan(totals.expense),
        totals.income_count,
        yuan(totals.income),
    );
    text.push_str(&footer);
    text.push_str(&export_time(now));
    text
}

/// The 12 cells of a row; ids end in a TAB.
fn line(movement: &Movement<'_>, index: usize, balance: i64) -> [String; 12] {
    let (charge, time) = match movement.entry {
        DayEntry::Paid(charge, payment) => (charge, payment.time),
        DayEntry::Refunded(charge, refund) => (charge, refund.accepted),
    };
    let trade_no = charge
        .payment()
        .map_or("", |payment| payment.transaction_id.as_str());
    let (income, expense) = if movement.fen > 0 {
        (yuan(movement.fen), String::new())
    } else {
        (String::new(), yuan(movement.fen))
    };
    [
        format!("{trade_no}{index:04}\t"),
        format!("{trade_no}\t"),
        format!("{}\t", charge.out_trade_no),
        cell_text(&charge.description),
        plain(time),
        "*沙箱(159****5620)".to_owned(),
        income,
        expense,
        yuan(balance),
        "支付宝".to_owned(),
        movement.kind.to_owned(),
        String::new(),
    ]
}

fn summary(pid: &str, day: Date, movements: &[Movement<'_>], now: Timestamp) -> String {
    let mut text = head("支付宝账务汇总查询", pid, day);
    text.push_str("#-----------------------------------------账务汇总列表----------------------------------------\r\n");
    text.push_str(SUMMARY_COLUMNS);
    text.push_str("\r\n");
    for kind in ["在线支付", "收费", "交易退款", "收费退还"] {
        let totals = Totals::of(movements.iter().filter(|one| one.kind == kind));
        text.push_str(&summary_line(kind, &totals));
    }
    text.push_str(&summary_line("合计", &Totals::of(movements.iter())));
    text.push_str("#-----------------------------------------账务汇总列表结束------------------------------------\r\n");
    text.push_str(&export_time(now));
    text
}

fn summary_line(kind: &str, totals: &Totals) -> String {
    format!(
        "{kind},{},{},{},{}\r\n",
        totals.income_count,
        yuan(totals.income),
        totals.expense_count,
        yuan(totals.expense),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_12_columns() {
        assert_eq!(COLUMNS.split(',').count(), 12);
        assert_eq!(SUMMARY_COLUMNS.split(',').count(), 5);
    }
}
