//! The fund flow bill's text: what moved on the basic account.
//!
//! A payment is an income of its amount and an expense of its fee; a refund is an expense of its
//! amount less the fee that comes back. Accounts hold whole fen: fees are rounded, half up. The
//! balance starts every day at a million yuan: the book knows no withdrawals.

use jiff::Timestamp;

use crate::book::DayEntry;
use crate::clock::plain;
use crate::money::{wechat_fee_fen, yuan};

const COLUMNS: &str = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),\
账户结余(元),资金变更提交申请人,备注,业务凭证号";
const SUMMARY: &str = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额";
const OPENING_FEN: i64 = 100_000_000;

/// One movement, in fen; an expense is negative, none is 0.
struct Movement {
    time: Timestamp,
    business_no: String,
    name: &'static str,
    fen: i64,
    voucher: String,
}

fn movements(entry: &DayEntry) -> Vec<Movement> {
    let all = match entry {
        DayEntry::Paid(charge, payment) => {
            let movement = |name, fen| Movement {
                time: payment.time,
                business_no: payment.transaction_id.clone(),
                name,
                fen,
                voucher: payment.transaction_id.clone(),
            };
            let fee = wechat_fee_fen(charge.amount_minor);
            vec![
                movement("交易", charge.amount_minor),
                movement("扣除交易手续费", -fee),
            ]
        }
        DayEntry::Refunded(charge, refund) => {
            let paid = charge.payment();
            let id = paid.map_or("", |payment| payment.transaction_id.as_str());
            vec![Movement {
                time: refund.accepted,
                business_no: refund.channel_no.clone(),
                name: "退款",
                fen: wechat_fee_fen(refund.amount_minor) - refund.amount_minor,
                voucher: format!("REF{id}"),
            }]
        }
    };
    all.into_iter().filter(|one| one.fen != 0).collect()
}

pub(super) fn text(rows: &[DayEntry]) -> String {
    let movements: Vec<Movement> = rows.iter().flat_map(movements).collect();
    let mut text = format!("\u{feff}{COLUMNS}\r\n");
    let mut balance = OPENING_FEN;
    for (index, movement) in movements.iter().enumerate() {
        balance += movement.fen;
        text.push_str(&line(movement, index, balance));
    }
    text.push_str(SUMMARY);
    text.push_str("\r\n");
    text.push_str(&summary(&movements));
    text
}

fn line(movement: &Movement, index: usize, balance: i64) -> String {
    let kind = if movement.fen > 0 { "收入" } else { "支出" };
    let cells = [
        plain(movement.time),
        movement.business_no.clone(),
        format!("{}{index:06}", movement.business_no),
        movement.name.to_owned(),
        movement.name.to_owned(),
        kind.to_owned(),
        yuan(movement.fen.abs()),
        yuan(balance),
        "system".to_owned(),
        String::new(),
        movement.voucher.clone(),
    ];
    format!("`{}\r\n", cells.join(",`"))
}

fn summary(movements: &[Movement]) -> String {
    let sum = |income: bool| {
        let of_kind = movements.iter().filter(|one| (one.fen > 0) == income);
        of_kind.fold((0_usize, 0), |(count, fen), one| (count + 1, fen + one.fen))
    };
    let ((income_count, income), (expense_count, expense)) = (sum(true), sum(false));
    format!(
        "`{},`{income_count},`{},`{expense_count},`{}\r\n",
        movements.len(),
        yuan(income),
        yuan(expense.abs()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_has_its_columns() {
        assert_eq!(COLUMNS.split(',').count(), 11);
        assert_eq!(SUMMARY.split(',').count(), 5);
        assert_eq!(text(&[]).lines().count(), 3);
    }
}
