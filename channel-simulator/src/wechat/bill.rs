//! Bills: asking for their URL, fetching them, and the trade bill's text.
//!
//! Text: UTF-8 with BOM, CRLF, every value after a backtick and none quoted; detail header, rows,
//! summary header, one summary row. `hash_value` is the SHA-1 of the uncompressed file.
//!
//! Not here: the fund flow bill's text (`fund_bill`), sub-merchant bills.

use std::io::Write;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sha1::{Digest, Sha1};

use super::{Answer, ApiError, Input, fund_bill};
use crate::bills::{self, BillFaults, NoBill};
use crate::book::{Charge, DayEntry, RefundState};
use crate::clock::{parse_day, plain};
use crate::faults::{Fault, Site};
use crate::keys::WechatKeys;
use crate::money::{wechat_fee, yuan, yuan_five};

const URL_SECONDS: i64 = 300;

const ALL: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,\
交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,\
退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const SUCCESS: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,\
交易状态,付款银行,货币种类,应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注";
const REFUND: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,\
交易状态,付款银行,货币种类,应结订单金额,代金券金额,退款申请时间,退款成功时间,微信退款单号,商户退款单号,\
退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const SUMMARY: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    All,
    Success,
    Refund,
}

impl Kind {
    fn parse(text: Option<&str>) -> Option<Self> {
        Some(match text {
            None | Some("ALL") => Self::All,
            Some("SUCCESS") => Self::Success,
            Some("REFUND") => Self::Refund,
            Some(_) => return None,
        })
    }

    const fn columns(self) -> &'static str {
        match self {
            Self::All => ALL,
            Self::Success => SUCCESS,
            Self::Refund => REFUND,
        }
    }

    const fn shows(self, entry: &DayEntry) -> bool {
        match self {
            Self::All => true,
            Self::Success => matches!(entry, DayEntry::Paid(..)),
            Self::Refund => matches!(entry, DayEntry::Refunded(..)),
        }
    }
}

fn wrong(field: &str, issue: &str) -> ApiError {
    ApiError::parameter(field, issue)
}

pub(super) fn trade_bill(input: &Input<'_>, site: &Site<'_>) -> Result<Answer, ApiError> {
    let kind = Kind::parse(input.query("bill_type").as_deref());
    let kind = kind.ok_or_else(|| wrong("/query/bill_type", "须为ALL、SUCCESS或REFUND"))?;
    let asked = Asked::read(input)?;
    let (mut rows, faults) = asked.rows(input, site)?;
    rows.retain(|row| kind.shows(row));
    if rows.is_empty() {
        return Err(no_statement());
    }
    let text = text(&input.simulator.keys.wechat(), kind, &rows);
    publish(input, &text, asked.gzip, &faults)
}

/// Payments and refunds move the basic account only.
pub(super) fn fund_flow_bill(input: &Input<'_>, site: &Site<'_>) -> Result<Answer, ApiError> {
    let account = input.query("account_type");
    let basic = match account.as_deref() {
        None | Some("BASIC") => true,
        Some("OPERATION" | "FEES") => false,
        Some(_) => {
            let issue = "须为BASIC、OPERATION或FEES";
            return Err(wrong("/query/account_type", issue));
        }
    };
    let asked = Asked::read(input)?;
    let (rows, faults) = asked.rows(input, site)?;
    if !basic || rows.is_empty() {
        return Err(no_statement());
    }
    publish(input, &fund_bill::text(&rows), asked.gzip, &faults)
}

/// What both kinds of bill are asked by.
struct Asked {
    day: Date,
    gzip: bool,
}

impl Asked {
    fn read(input: &Input<'_>) -> Result<Self, ApiError> {
        let day = input.query("bill_date").as_deref().and_then(parse_day);
        let day = day.ok_or_else(|| wrong("/query/bill_date", "须为yyyy-MM-dd"))?;
        let gzip = match input.query("tar_type").as_deref() {
            None => false,
            Some("GZIP") => true,
            Some(_) => return Err(wrong("/query/tar_type", "须为GZIP")),
        };
        Ok(Self { day, gzip })
    }

    fn rows(
        &self,
        input: &Input<'_>,
        site: &Site<'_>,
    ) -> Result<(Vec<DayEntry>, BillFaults), ApiError> {
        bills::rows(input.simulator, site, self.day).map_err(|none| match none {
            NoBill::DayNotOver => wrong("/query/bill_date", "只能下载昨日及之前的账单"),
            NoBill::Creating => {
                let (code, message) = ("STATEMENT_CREATING", "账单生成中");
                ApiError::new(StatusCode::BAD_REQUEST, code, message)
            }
        })
    }
}

fn no_statement() -> ApiError {
    let (code, message) = ("NO_STATEMENT_EXIST", "账单不存在");
    ApiError::new(StatusCode::BAD_REQUEST, code, message)
}

fn publish(
    input: &Input<'_>,
    text: &str,
    gzip: bool,
    faults: &BillFaults,
) -> Result<Answer, ApiError> {
    let bytes = text.as_bytes();
    let hash = if faults.has(Fault::BillWrongHash) {
        Sha1::digest(b"another file")
    } else {
        Sha1::digest(bytes)
    };
    let whole = if faults.has(Fault::BillTruncated) {
        &bytes[..bytes.len() / 2]
    } else {
        bytes
    };
    let stored = if gzip {
        gzipped(whole)?
    } else {
        whole.to_vec()
    };
    let seconds = if faults.has(Fault::ExpiredBillUrl) {
        -1
    } else {
        URL_SECONDS
    };
    let token = bills::keep(input.simulator, stored, String::new(), gzip, seconds);
    let suffix = if gzip { "&tartype=gzip" } else { "" };
    let base = input.simulator.base_url(&input.parts.headers);
    Ok(Answer::ok(&json!({
        "download_url": format!("{base}/v3/billdownload/file?token={token}{suffix}"),
        "hash_type": "SHA1",
        "hash_value": hex::encode(hash),
    })))
}

fn gzipped(bytes: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|_| super::system_error())
}

/// Authenticated like any request, answered without a signature.
pub(super) fn download(input: &Input<'_>) -> Result<Response, ApiError> {
    let token = input.query("token").unwrap_or_default();
    let file = bills::fetch(input.simulator, &token).ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            "下载地址已失效，请重新申请账单",
        )
    })?;
    let kind = if file.gzip {
        "application/x-gzip"
    } else {
        "text/plain"
    };
    Ok(([(header::CONTENT_TYPE, kind)], file.bytes).into_response())
}

#[derive(Debug, Default)]
struct Totals {
    count: usize,
    paid: i64,
    refunded: i64,
    fee: i64,
}

fn text(keys: &WechatKeys, kind: Kind, rows: &[DayEntry]) -> String {
    let columns: Vec<&str> = kind.columns().split(',').collect();
    let mut text = format!("\u{feff}{}\r\n", kind.columns());
    let mut totals = Totals::default();
    for row in rows {
        totals.count += 1;
        match row {
            DayEntry::Paid(charge, _) => {
                totals.paid += charge.amount_minor;
                totals.fee += wechat_fee(charge.amount_minor);
            }
            DayEntry::Refunded(_, refund) => {
                totals.refunded += refund.amount_minor;
                totals.fee -= wechat_fee(refund.amount_minor);
            }
        }
        let cells: Vec<String> = columns
            .iter()
            .map(|column| format!("`{}", cell(keys, column, row)))
            .collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text.push_str(SUMMARY);
    text.push_str("\r\n");
    text.push_str(&summary(&totals));
    text.push_str("\r\n");
    text
}

fn summary(totals: &Totals) -> String {
    let (paid, refunded) = (yuan(totals.paid), yuan(totals.refunded));
    let fee = yuan_five(totals.fee);
    format!(
        "`{},`{paid},`{refunded},`0.00,`{fee},`{paid},`{refunded}",
        totals.count
    )
}

fn cell(keys: &WechatKeys, column: &str, row: &DayEntry) -> String {
    let (charge, own) = match row {
        DayEntry::Paid(charge, payment) => (charge, paid_cell(column, charge, payment.time)),
        DayEntry::Refunded(charge, refund) => (charge, refund_cell(column, refund)),
    };
    let payment = charge.payment();
    own.unwrap_or_else(|| match column {
        "公众账号ID" => keys.app_id.clone(),
        "商户号" => keys.mch_id.clone(),
        "特约商户号" => "0".to_owned(),
        "微信订单号" => payment
            .map(|p| p.transaction_id.clone())
            .unwrap_or_default(),
        "商户订单号" => charge.out_trade_no.clone(),
        "用户标识" => payment.map(|p| p.payer.clone()).unwrap_or_default(),
        "交易类型" => charge.trade_type.to_owned(),
        "付款银行" => "OTHERS".to_owned(),
        "货币种类" => "CNY".to_owned(),
        "代金券金额" | "充值券退款金额" => "0.00".to_owned(),
        "商品名称" => plain_text(&charge.description),
        "商户数据包" => plain_text(&charge.attach),
        "费率" => "0.60%".to_owned(),
        _ => String::new(),
    })
}

fn paid_cell(column: &str, charge: &Charge, time: Timestamp) -> Option<String> {
    Some(match column {
        "交易时间" => plain(time),
        "交易状态" => "SUCCESS".to_owned(),
        "应结订单金额" | "订单金额" => yuan(charge.amount_minor),
        "微信退款单号" | "商户退款单号" => "0".to_owned(),
        "退款金额" | "申请退款金额" => "0.00".to_owned(),
        "手续费" => yuan_five(wechat_fee(charge.amount_minor)),
        _ => return None,
    })
}

fn refund_cell(column: &str, refund: &crate::book::Refund) -> Option<String> {
    Some(match column {
        "交易时间" | "退款申请时间" => plain(refund.accepted),
        "退款成功时间" => refund.settled.map(plain).unwrap_or_default(),
        "交易状态" => "REFUND".to_owned(),
        "应结订单金额" | "订单金额" => "0.00".to_owned(),
        "微信退款单号" => refund.channel_no.clone(),
        "商户退款单号" => refund.out_refund_no.clone(),
        "退款金额" | "申请退款金额" => yuan(refund.amount_minor),
        "退款类型" => "ORIGINAL".to_owned(),
        "退款状态" => refund_state(refund.state).to_owned(),
        "手续费" => yuan_five(-wechat_fee(refund.amount_minor)),
        _ => return None,
    })
}

const fn refund_state(state: RefundState) -> &'static str {
    match state {
        RefundState::Processing => "PROCESSING",
        RefundState::Success => "SUCCESS",
        RefundState::Abnormal => "CHANGE",
        RefundState::Closed => "FAIL",
    }
}

/// Commas stay (the format does not quote), line ends and backticks would break the row.
fn plain_text(text: &str) -> String {
    text.replace(['\r', '\n', '`'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_have_their_columns() {
        assert_eq!(ALL.split(',').count(), 27);
        assert_eq!(SUCCESS.split(',').count(), 20);
        assert_eq!(REFUND.split(',').count(), 29);
        assert!(!SUCCESS.contains("退款"));
        assert_eq!(Kind::parse(Some("NONE")), None);
    }
}
