//! Fetching Alipay's bills.
//!
//! Guarantees: a day without business is an empty bill; what is fetched is accepted whole or not
//! at all.
//!
//! Not here: what is in the files (`bill` for trades, `account` for the balance).

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;

use super::answer::{Bill as BillAnswer, Code, Stop};
use super::gateway::Request;
use super::{Alipay, account, bill};
use crate::bill::{Bill, FundBill, parsed};
use crate::http;
use crate::limit::Operation;
use crate::outcome::Fail;

pub(super) const BILL: &str = "alipay.data.dataservice.bill.downloadurl.query";

/// What there is for a day.
enum Statement {
    NotReady,
    /// No business that day; final.
    Empty,
    File(Bytes),
}

impl Alipay {
    pub(crate) async fn bill(&self, day: Date, now: Timestamp) -> Result<Bill, Fail> {
        match self.statement("trade", day, now).await? {
            Statement::NotReady => Ok(Bill::NotReady),
            Statement::Empty => Ok(Bill::Rows(Vec::new())),
            Statement::File(file) => Ok(Bill::Rows(parsed(move || bill::read(&file, day)).await?)),
        }
    }

    pub(crate) async fn fund_bill(&self, day: Date, now: Timestamp) -> Result<FundBill, Fail> {
        match self.statement("signcustomer", day, now).await? {
            Statement::NotReady => Ok(FundBill::NotReady),
            Statement::Empty => Ok(FundBill::Rows(Vec::new())),
            Statement::File(file) => {
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
                if pointer.is_empty() {
                    return Ok(Statement::Empty);
                }
                Ok(Statement::File(self.download(&pointer).await?))
            }
            Err(Stop::Refused(refused)) if refused.code == Code::BillNotReady => {
                Ok(Statement::NotReady)
            }
            Err(stop) => Err(stop.into()),
        }
    }

    /// The file is neither signed nor hashed: its own dates and totals have to do.
    async fn download(&self, pointer: &BillAnswer) -> Result<Bytes, Fail> {
        let url = http::download_url(pointer.url()?, &self.gateway)?;
        let request = self.wire.client.get(url).timeout(http::BILL_TIMEOUT);
        let file = http::send(request, http::BILL_LIMIT).await?;
        if !file.status.is_success() {
            return Err(Fail::unverifiable(format!(
                "the bill's download answered {}",
                file.status
            )));
        }
        Ok(file.body)
    }
}
