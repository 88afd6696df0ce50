//! Fetching WeChat Pay's bills.
//!
//! Guarantees: the file is the one whose hash came in a signed answer, or no row comes out; a day
//! without business is an empty bill.
//!
//! Not here: what is in the files (`bill` for trades, `funds` for the balance); the operation and
//! fee accounts, whose movements are no payments.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use reqwest::Method;

use super::answer::{self, Code, Stop};
use super::{Wechat, bill, funds};
use crate::bill::{Bill, FundBill, parsed};
use crate::http;
use crate::limit::Operation;
use crate::outcome::Fail;

/// What there is for a day.
enum Statement {
    NotReady,
    /// No business that day; final.
    Empty,
    File {
        file: Bytes,
        hash: String,
    },
}

impl Wechat {
    pub(crate) async fn bill(&self, day: Date, now: Timestamp) -> Result<Bill, Fail> {
        let path = format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP");
        match self.statement(&path, now).await? {
            Statement::NotReady => Ok(Bill::NotReady),
            Statement::Empty => Ok(Bill::Rows(Vec::new())),
            Statement::File { file, hash } => {
                Ok(Bill::Rows(parsed(move || bill::read(&file, &hash)).await?))
            }
        }
    }

    pub(crate) async fn fund_bill(&self, day: Date, now: Timestamp) -> Result<FundBill, Fail> {
        let path =
            format!("/v3/bill/fundflowbill?bill_date={day}&account_type=BASIC&tar_type=GZIP");
        match self.statement(&path, now).await? {
            Statement::NotReady => Ok(FundBill::NotReady),
            Statement::Empty => Ok(FundBill::Rows(Vec::new())),
            Statement::File { file, hash } => {
                let rows = parsed(move || funds::read(&file, &hash, day)).await?;
                Ok(FundBill::Rows(rows))
            }
        }
    }

    async fn statement(&self, path: &str, now: Timestamp) -> Result<Statement, Fail> {
        let answer = self
            .call(Operation::WechatBill, Method::GET, path, String::new(), now)
            .await;
        match answer {
            Ok(body) => self.download(&body, now).await,
            Err(Stop::Refused(refused)) => match refused.code {
                Code::NoBill => Ok(Statement::Empty),
                Code::BillNotReady => Ok(Statement::NotReady),
                _ => Err(refused.into()),
            },
            Err(Stop::Fail(fail)) => Err(fail),
        }
    }

    /// The file is not signed; its hash, which came in a signed answer, takes the signature's place.
    async fn download(&self, pointer: &[u8], now: Timestamp) -> Result<Statement, Fail> {
        let pointer = answer::bill_pointer(pointer)?;
        let url = http::download_url(&pointer.download_url, &self.base)?;
        let request = self
            .request(Method::GET, url, String::new(), now)?
            .timeout(http::BILL_TIMEOUT);
        let file = http::send(request, http::BILL_LIMIT).await?;
        if !file.status.is_success() {
            return Err(Fail::unverifiable(format!(
                "the bill's download answered {}",
                file.status
            )));
        }
        Ok(Statement::File {
            file: file.body,
            hash: pointer.hash_value,
        })
    }
}
