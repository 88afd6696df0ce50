//! Fetching Alipay's bills.
//!
//! Guarantees: a day without business is an empty bill; what is fetched is accepted whole or not
//! at all.
//!
//! Not here: what is in the files (`bill` for trades, `account` for the balance).

use std::fs::File;
use std::io::BufReader;

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use reqwest::RequestBuilder;
use serde_json::json;

use super::answer::{Bill as BillAnswer, Code, Stop};
use super::gateway::Request;
use super::{Alipay, account, bill};
use crate::bill::{Bill, BillRow, BillTotals, FundBill, Halt, parsed};
use crate::http;
use crate::limit::Operation;
use crate::outcome::Fail;

pub(super) const BILL: &str = "alipay.data.dataservice.bill.downloadurl.query";

/// What there is for a day.
enum Statement {
    NotReady,
    /// No business that day; final.
    Empty,
    At(BillAnswer),
}

/// Reads a file that was fetched.
pub(crate) fn read_bill(
    file: &File,
    day: Date,
    each: &mut dyn FnMut(BillRow) -> Result<(), Halt>,
) -> Result<BillTotals, Halt> {
    bill::read(BufReader::new(file), day, each)
}

impl Alipay {
    pub(crate) async fn bill(&self, day: Date, now: Timestamp) -> Result<Bill, Fail> {
        match self.statement("trade", day, now).await? {
            Statement::NotReady => Ok(Bill::NotReady),
            Statement::Empty => Ok(Bill::Empty),
            Statement::At(pointer) => {
                let spool = http::download(self.file(&pointer)?).await?;
                let file = spool.finish(ChannelKind::Alipay, day, String::new());
                Ok(Bill::File(file.await.map_err(http::not_kept)?))
            }
        }
    }

    pub(crate) async fn fund_bill(&self, day: Date, now: Timestamp) -> Result<FundBill, Fail> {
        match self.statement("signcustomer", day, now).await? {
            Statement::NotReady => Ok(FundBill::NotReady),
            Statement::Empty => Ok(FundBill::Rows(Vec::new())),
            Statement::At(pointer) => {
                let file = http::fetch(self.file(&pointer)?).await?;
                let rows = parsed(move || account::read(&file, day)).await?;
                Ok(FundBill::Rows(rows))
            }
        }
    }

    async fn statement(&self, kind: &str, day: Date, now: Timestamp) -> Result<Statement, Fail> {
        let content = json!({"bill_type": kind, "bill_date": day.to_string()});
        let request = Request::new(BILL, &content);
        match self.call(Operation::AlipayBill, request, now).await {
            Ok(node) => {
                let pointer: BillAnswer = node.parse()?;
                Ok(if pointer.is_empty() {
                    Statement::Empty
                } else {
                    Statement::At(pointer)
                })
            }
            Err(Stop::Refused(refused)) if refused.code == Code::BillNotReady => {
                Ok(Statement::NotReady)
            }
            Err(stop) => Err(stop.into()),
        }
    }

    /// The file is neither signed nor hashed: its own dates and totals have to do.
    fn file(&self, pointer: &BillAnswer) -> Result<RequestBuilder, Fail> {
        let url = http::download_url(pointer.url()?, &self.gateway)?;
        Ok(self.wire.client.get(url))
    }
}
