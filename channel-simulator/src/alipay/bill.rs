//! Bills: their URL, valid for 30 seconds and unsigned, and the file, a ZIP with two CSVs, names
//! and contents in GBK. No hash is published: the footer's totals are the check. This is the trade
//! bill's text; `account_bill` has the other's.
//!
//! Not here: monthly bills.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CONTENT_TYPE, Failure, Input, account_bill, archive, success};
use crate::bills::{self, BillFaults, NoBill};
use crate::book::DayEntry;
use crate::clock::{parse_day, plain};
use crate::faults::Fault;
use crate::money::{alipay_fee, yuan};
use crate::{Simulator, clock};

pub(crate) const BILL_PATH: &str = "/downloadBillFile.resource";
const URL_SECONDS: i64 = 30;

const COLUMNS: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,\
终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,\
券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
const SUMMARY_COLUMNS: &str = "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,\
支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）";

#[derive(Debug, Deserialize)]
pub(crate) struct DownloadQuery {
    #[serde(default)]
    token: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Trade,
    Account,
}

impl Kind {
    fn parse(name: &str) -> Option<Self> {
        [Self::Trade, Self::Account]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Account => "signcustomer",
        }
    }

    /// What its files are called.
    const fn title(self) -> &'static str {
        match self {
            Self::Trade => "业务明细",
            Self::Account => "账务明细",
        }
    }
}

pub(super) fn url(input: &Input<'_>) -> Result<Value, Failure> {
    let simulator = input.simulator;
    let kind = input.text("bill_type").and_then(Kind::parse);
    let wrong_kind = || Failure::business("INVAILID_ARGUMENTS", "入参不合法：bill_type");
    let kind = kind.ok_or_else(wrong_kind)?;
    let day = input.text("bill_date").and_then(parse_day);
    let wrong_date = || Failure::business("INVAILID_ARGUMENTS", "入参不合法：bill_date");
    let day = day.ok_or_else(wrong_date)?;
    let (rows, faults) = bills::rows(simulator, &input.site, day).map_err(|none| match none {
        NoBill::DayNotOver => wrong_date(),
        NoBill::Creating => Failure::business("BILL_NOT_EXIST", "账单不存在"),
    })?;
    let keys = simulator.keys.alipay();
    let pid = &keys.seller_id;
    let (name, bytes) = archive(kind, pid, day, &rows, &faults)?;
    let seconds = if faults.has(Fault::ExpiredBillUrl) {
        -1
    } else {
        URL_SECONDS
    };
    let token = bills::keep(simulator, bytes, name, false, seconds);
    let base = &input.base_url;
    let kind = kind.name();
    let query = format!("bizType={kind}&userId={pid}0156&fileType=csv.zip&bizDates={day}");
    let mut node = json!({"bill_download_url": format!("{base}{BILL_PATH}?{query}&token={token}")});
    if rows.is_empty() {
        node["bill_file_code"] = "EMPTY_DATA_WITH_BILL_FILE".into();
    }
    Ok(success(node))
}

pub(super) fn download(simulator: &Simulator, query: &DownloadQuery) -> Response {
    let Some(file) = bills::fetch(simulator, &query.token) else {
        let html = "<html><body>下载链接已失效</body></html>";
        return (
            StatusCode::FORBIDDEN,
            [(header::CONTENT_TYPE, CONTENT_TYPE)],
            html,
        )
            .into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}\"", file.name),
        ),
    ];
    (headers, file.bytes).into_response()
}

fn archive(
    kind: Kind,
    pid: &str,
    day: Date,
    rows: &[DayEntry],
    faults: &BillFaults,
) -> Result<(String, Vec<u8>), Failure> {
    let stem = format!("{pid}0156_{}", day.strftime("%Y%m%d"));
    let (now, wrong) = (clock::now(), faults.has(Fault::BillWrongHash));
    let (detail, summary) = match kind {
        Kind::Trade => texts(pid, day, rows, now, wrong),
        Kind::Account => account_bill::texts(pid, day, rows, now, wrong),
    };
    let mut detail = gbk(&detail);
    if faults.has(Fault::BillTruncated) {
        detail.truncate(detail.len() / 2);
    }
    let entries = [
        archive::Entry {
            name: gbk(&format!("{stem}_{}.csv", kind.title())),
            contents: detail,
        },
        archive::Entry {
            name: gbk(&format!("{stem}_{}(汇总).csv", kind.title())),
            contents: gbk(&summary),
        },
    ];
    let bytes = archive::zip(&entries).map_err(|error| {
        tracing::error!(%error, "cannot make a bill");
        Failure::business("UNKNOWN_ERROR", "未知错误")
    })?;
    Ok((format!("{stem}.csv.zip"), bytes))
}

/// The texts of the two files. `wrong`: the footer's total is a fen too high.
fn texts(pid: &str, day: Date, rows: &[DayEntry], now: Timestamp, wrong: bool) -> (String, String) {
    let totals = Totals::of(rows);
    let shown = Totals {
        paid: totals.paid + i64::from(wrong),
        ..totals
    };
    let summary = summary(pid, day, &totals, now);
    (detail(pid, day, rows, &shown, now), summary)
}

fn gbk(text: &str) -> Vec<u8> {
    encoding_rs::GBK.encode(text).0.into_owned()
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    paid_count: usize,
    refund_count: usize,
    paid: i64,
    refunded: i64,
    fee: i64,
}

impl Totals {
    fn of(rows: &[DayEntry]) -> Self {
        let mut totals = Self::default();
        for row in rows {
            match row {
                DayEntry::Paid(charge, _) => {
                    totals.paid_count += 1;
                    totals.paid += charge.amount_minor;
                    totals.fee -= alipay_fee(charge.amount_minor);
                }
                DayEntry::Refunded(_, refund) => {
                    totals.refund_count += 1;
                    totals.refunded += refund.amount_minor;
                    totals.fee += alipay_fee(refund.amount_minor);
                }
            }
        }
        totals
    }
}

pub(super) fn head(title: &str, pid: &str, day: Date) -> String {
    let from = day.strftime("%Y年%m月%d日 00:00:00");
    let to = day
        .tomorrow()
        .unwrap_or(day)
        .strftime("%Y年%m月%d日 00:00:00");
    format!("#{title}\r\n#账号：[{pid}0156]\r\n#起始日期：[{from}]   终止日期：[{to}]\r\n")
}

pub(super) fn export_time(now: Timestamp) -> String {
    let text = plain(now);
    let (day, time) = text.split_once(' ').unwrap_or((&text, ""));
    let mut parts = day.split('-');
    let mut part = || parts.next().unwrap_or_default();
    format!(
        "#导出时间：[{}年{}月{}日 {time}]\r\n",
        part(),
        part(),
        part()
    )
}

fn detail(pid: &str, day: Date, rows: &[DayEntry], totals: &Totals, now: Timestamp) -> String {
    let mut text = head("支付宝业务明细查询", pid, day);
    text.push_str("#-----------------------------------------业务明细列表----------------------------------------\r\n");
    text.push_str(COLUMNS);
    text.push_str("\r\n");
    for row in rows {
        text.push_str(&line(row).join(","));
        text.push_str("\r\n");
    }
    text.push_str("#-----------------------------------------业务明细列表结束------------------------------------\r\n");
    let footer = format!(
        "#交易合计：{}笔，商家实收共{}元，商家优惠共0.00元\r\n#退款合计：{}笔，商家实收退款共{}元，商家优惠退款共0.00元\r\n",
        totals.paid_count,
        yuan(totals.paid),
        totals.refund_count,
        yuan(-totals.refunded),
    );
    text.push_str(&footer);
    text.push_str(&export_time(now));
    text
}

/// Without what would break a row.
pub(super) fn cell_text(text: &str) -> String {
    text.replace([',', '\r', '\n'], " ")
}

/// The 25 cells of a row; ids end in a TAB.
fn line(row: &DayEntry) -> [String; 25] {
    let (charge, kind, done, sign, fen, request_no) = match row {
        DayEntry::Paid(charge, payment) => (
            charge,
            "交易",
            payment.time,
            1,
            charge.amount_minor,
            String::new(),
        ),
        DayEntry::Refunded(charge, refund) => {
            let number = format!("{}\t", refund.out_refund_no);
            (
                charge,
                "退款",
                refund.accepted,
                -1,
                refund.amount_minor,
                number,
            )
        }
    };
    let amount = yuan(sign * fen);
    let trade_no = charge
        .payment()
        .map_or("", |payment| payment.transaction_id.as_str());
    let zero = || "0.00".to_owned();
    [
        format!("{trade_no}\t"),
        format!("{}\t", charge.out_trade_no),
        kind.to_owned(),
        cell_text(&charge.description),
        plain(charge.created),
        plain(done),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        "*沙箱(159****5620)".to_owned(),
        amount.clone(),
        amount,
        zero(),
        zero(),
        zero(),
        zero(),
        zero(),
        String::new(),
        zero(),
        zero(),
        request_no,
        yuan(-sign * alipay_fee(fen)),
        zero(),
        cell_text(&charge.attach),
    ]
}

fn summary(pid: &str, day: Date, totals: &Totals, now: Timestamp) -> String {
    let net = totals.paid - totals.refunded;
    let mut text = head("支付宝业务汇总查询", pid, day);
    text.push_str("#-----------------------------------------业务汇总列表----------------------------------------\r\n");
    text.push_str(SUMMARY_COLUMNS);
    let row = format!(
        "\r\n合计,,{},{},{},{},0.00,0.00,0.00,{},0.00,{}\r\n",
        totals.paid_count,
        totals.refund_count,
        yuan(net),
        yuan(net),
        yuan(totals.fee),
        yuan(net + totals.fee),
    );
    text.push_str(&row);
    text.push_str("#-----------------------------------------业务汇总列表结束------------------------------------\r\n");
    text.push_str(&export_time(now));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_25_columns_and_gbk_can_write_them() {
        assert_eq!(COLUMNS.split(',').count(), 25);
        assert!(!encoding_rs::GBK.encode(COLUMNS).2);
        assert_eq!(gbk("业")[..], [0xd2, 0xb5]);
    }
}
