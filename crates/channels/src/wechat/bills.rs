//! Fetching WeChat Pay's bills.
//!
//! Guarantees: the file is the one whose hash came in a signed answer, or none of its rows counts;
//! a day without business is an empty bill.
//!
//! Not here: what is in the files (`bill` for trades, `funds` for the balance); the operation and
//! fee accounts, whose movements are no payments.

use std::fs::File;

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use reqwest::{Method, RequestBuilder};

use super::answer::{self, BillPointer, Code, Stop};
use super::{Wechat, bill, funds};
use crate::bill::{Bill, BillRow, BillTotals, FundBill, Halt, parsed};
use crate::http;
use crate::limit::Operation;
use crate::outcome::Fail;

/// What there is for a day.
enum Statement {
    NotReady,
    /// No business that day; final.
    Empty,
    At(BillPointer),
}

/// Reads a file that was fetched.
pub(crate) fn read_bill(
    file: &File,
    hash: &str,
    day: Date,
    each: &mut dyn FnMut(BillRow) -> Result<(), Halt>,
) -> Result<BillTotals, Halt> {
    bill::read(file, hash, day, each)
}

impl Wechat {
    pub(crate) async fn bill(&self, day: Date, now: Timestamp) -> Result<Bill, Fail> {
        let path = format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP");
        match self.statement(&path, now).await? {
            Statement::NotReady => Ok(Bill::NotReady),
            Statement::Empty => Ok(Bill::Empty),
            Statement::At(pointer) => {
                let spool = http::download(self.file(&pointer, now)?).await?;
                let file = spool.finish(ChannelKind::Wechat, day, pointer.hash_value);
                Ok(Bill::File(file.await.map_err(http::not_kept)?))
            }
        }
    }

    pub(crate) async fn fund_bill(&self, day: Date, now: Timestamp) -> Result<FundBill, Fail> {
        let path =
            format!("/v3/bill/fundflowbill?bill_date={day}&account_type=BASIC&tar_type=GZIP");
        match self.statement(&path, now).await? {
            Statement::NotReady => Ok(FundBill::NotReady),
            Statement::Empty => Ok(FundBill::Rows(Vec::new())),
            Statement::At(pointer) => {
                let file = http::fetch(self.file(&pointer, now)?).await?;
                let rows = parsed(move || funds::read(&file, &pointer.hash_value, day)).await?;
                Ok(FundBill::Rows(rows))
            }
        }
    }

    async fn statement(&self, path: &str, now: Timestamp) -> Result<Statement, Fail> {
        let answer = self
            .call(Operation::WechatBill, Method::GET, path, String::new(), now)
            .await;
        match answer {
            Ok(body) => Ok(Statement::At(answer::bill_pointer(&body)?)),
            Err(Stop::Refused(refused)) => match refused.code {
                Code::NoBill => Ok(Statement::Empty),
                Code::BillNotReady => Ok(Statement::NotReady),
                _ => Err(refused.into()),
            },
            Err(Stop::Fail(fail)) => Err(fail),
        }
    }

    /// The file is not signed; its hash, which came in a signed answer, takes the signature's place.
    fn file(&self, pointer: &BillPointer, now: Timestamp) -> Result<RequestBuilder, Fail> {
        let url = http::download_url(&pointer.download_url, &self.base)?;
        self.request(Method::GET, url, String::new(), now)
    }
}
