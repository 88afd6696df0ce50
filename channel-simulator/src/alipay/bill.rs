//! The trade bill: its URL, valid for 30 seconds and unsigned, and the file, a ZIP with two CSVs,
//! names and contents in GBK. No hash is published: the footer's totals are the check.
//!
//! Not here: signcustomer bills, monthly bills.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CONTENT_TYPE, Failure, Input, SELLER_ID, archive, success};
use crate::bills::{self, BillFaults};
use crate::book::DayEntry;
use crate::clock::{BillReadiness, bill_readiness, parse_day, parse_plain, plain};
use crate::faults::Fault;
use crate::money::{alipay_fee, yuan};
use crate::{Channel, Simulator, clock};

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

pub(super) fn url(input: &Input<'_>) -> Result<Value, Failure> {
    let simulator = input.simulator;
    match input.text("bill_type") {
        Some("trade") => {}
        Some("signcustomer") => {
            return Err(Failure::business("TYPE_NOT_SUPPORTED", "账单类型不支持"));
        }
        _ => {
            return Err(Failure::business(
                "INVAILID_ARGUMENTS",
                "入参不合法：bill_type",
            ));
        }
    }
    let day = input.text("bill_date").and_then(parse_day);
    let wrong_date = || Failure::business("INVAILID_ARGUMENTS", "入参不合法：bill_date");
    let day = day.ok_or_else(wrong_date)?;
    let readiness = bill_readiness(day, simulator.clock.calendar());
    if readiness == BillReadiness::DayNotOver {
        return Err(wrong_date());
    }
    if input.strikes(Fault::BillNotReady) || readiness == BillReadiness::Creating {
        return Err(Failure::business("BILL_NOT_EXIST", "账单不存在"));
    }
    let faults = BillFaults::draw(simulator, &input.site);
    let mut rows = simulator.book(Channel::Alipay).day(day);
    let noon = parse_plain(&format!("{day} 12:00:00")).unwrap_or(Timestamp::MIN);
    faults.apply_to_rows(&mut rows, Channel::Alipay, noon);
    let (name, bytes) = archive(day, &rows, clock::now(), &faults)?;
    let seconds = if faults.has(Fault::ExpiredBillUrl) {
        -1
    } else {
        URL_SECONDS
    };
    let token = bills::keep(simulator, bytes, name, false, seconds);
    let base = &input.base_url;
    let query = format!("bizType=trade&userId={SELLER_ID}0156&fileType=csv.zip&bizDates={day}");
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
    day: Date,
    rows: &[DayEntry],
    now: Timestamp,
    faults: &BillFaults,
) -> Result<(String, Vec<u8>), Failure> {
    let stem = format!("{SELLER_ID}0156_{}", day.strftime("%Y%m%d"));
    let totals = Totals::of(rows);
    let shown = if faults.has(Fault::BillWrongHash) {
        Totals {
            paid: totals.paid + 1,
            ..totals
        }
    } else {
        totals
    };
    let mut detail = gbk(&detail(day, rows, &shown, now));
    if faults.has(Fault::BillTruncated) {
        detail.truncate(detail.len() / 2);
    }
    let summary = gbk(&summary(day, &totals, now));
    let entries = [
        archive::Entry {
            name: gbk(&format!("{stem}_业务明细.csv")),
            contents: detail,
        },
        archive::Entry {
            name: gbk(&format!("{stem}_业务明细(汇总).csv")),
            contents: summary,
        },
    ];
    let bytes = archive::zip(&entries).map_err(|error| {
        tracing::error!(%error, "cannot make a bill");
        Failure::business("UNKNOWN_ERROR", "未知错误")
    })?;
    Ok((format!("{stem}.csv.zip"), bytes))
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

fn head(title: &str, day: Date) -> String {
    let from = day.strftime("%Y年%m月%d日 00:00:00");
    let to = day
        .tomorrow()
        .unwrap_or(day)
        .strftime("%Y年%m月%d日 00:00:00");
    format!("#{title}\r\n#账号：[{SELLER_ID}0156]\r\n#起始日期：[{from}]   终止日期：[{to}]\r\n")
}

fn export_time(now: Timestamp) -> String {
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

fn detail(day: Date, rows: &[DayEntry], totals: &Totals, now: Timestamp) -> String {
    let mut text = head("支付宝业务明细查询", day);
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
        charge.description.replace([',', '\r', '\n'], " "),
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
        charge.attach.replace([',', '\r', '\n'], " "),
    ]
}

fn summary(day: Date, totals: &Totals, now: Timestamp) -> String {
    let net = totals.paid - totals.refunded;
    let mut text = head("支付宝业务汇总查询", day);
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
