//! One HTTP client for both channels, and what its failures prove.
//!
//! Guarantees: only a failure to connect counts as "not sent"; no redirect is followed, no proxy is
//! taken from the environment, no answer grows past its bound; bytes come out as they came in.
//!
//! Not here: retries. A repeat is a decision about money and belongs to the caller.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use crate::bill::Spool;
use crate::limit::Limits;
use crate::outcome::{Fail, Refusal, UncertaintyReason};

pub(crate) const USER_AGENT: &str = concat!("payment-runtime/", env!("CARGO_PKG_VERSION"));
/// Far above any answer of the APIs.
pub(crate) const ANSWER_LIMIT: usize = 1024 * 1024;
/// A fund bill, compressed; it is read into memory.
const FUND_BILL_LIMIT: usize = 64 * 1024 * 1024;
/// How long a bill may take as long as it keeps coming: 512 MiB at 300 KiB/s. Nobody's money waits.
const BILL_TIMEOUT: Duration = Duration::from_mins(30);
/// How long it may stop coming.
const BILL_STALL: Duration = Duration::from_secs(30);
/// WeChat Pay closes idle connections after 8 s; a request on a dying one would end unknown.
const IDLE: Duration = Duration::from_secs(7);

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }
}

/// The connections to the channels and the limits on their use; shared by all of them and kept
/// over a change of keys.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) client: Client,
    pub(crate) limits: Arc<Limits>,
}

impl Wire {
    pub(crate) fn new(connect: Duration, total: Duration) -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: client(connect, total)?,
            limits: Arc::new(Limits::new(connect)),
        })
    }
}

fn client(connect: Duration, total: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .connect_timeout(connect)
        .timeout(total)
        .pool_idle_timeout(IDLE)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(USER_AGENT)
        .build()
}

/// Fetches a bill to the disk.
pub(crate) async fn download(request: RequestBuilder) -> Result<Spool, Fail> {
    let mut response = begin(request).await?;
    let mut spool = Spool::new().map_err(not_kept)?;
    while let Some(chunk) = chunk(&mut response).await? {
        spool.write(&chunk).await.map_err(not_kept)?;
    }
    Ok(spool)
}

/// A failure of our own disk. Taken by value to fit `map_err`.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn not_kept(error: io::Error) -> Fail {
    let directory = std::env::temp_dir();
    let directory = directory.display();
    Fail::unverifiable(format!(
        "the bill could not be kept in {directory}, where a file without a name needs room for it: \
         {error}"
    ))
}

/// Fetches a bill into memory.
pub(crate) async fn fetch(request: RequestBuilder) -> Result<Bytes, Fail> {
    let mut response = begin(request).await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = chunk(&mut response).await? {
        append(&mut body, &chunk, FUND_BILL_LIMIT)?;
    }
    Ok(body.freeze())
}

async fn begin(request: RequestBuilder) -> Result<Response, Fail> {
    let sending = request.timeout(BILL_TIMEOUT).send();
    let response = in_time(sending).await?;
    if response.status().is_success() {
        Ok(response)
    } else {
        let status = response.status();
        Err(Fail::unverifiable(format!(
            "the bill's download answered {status}"
        )))
    }
}

async fn chunk(response: &mut Response) -> Result<Option<Bytes>, Fail> {
    in_time(response.chunk()).await
}

/// Ends what has stopped moving.
async fn in_time<T>(step: impl Future<Output = reqwest::Result<T>>) -> Result<T, Fail> {
    let Ok(result) = tokio::time::timeout(BILL_STALL, step).await else {
        let seconds = BILL_STALL.as_secs();
        let what = format!("nothing more of the bill came for {seconds} s");
        return Err(Fail::unknown(UncertaintyReason::Timeout, what));
    };
    result.map_err(|error| failed(&error))
}

pub(crate) async fn send(request: RequestBuilder, limit: usize) -> Result<Answer, Fail> {
    let mut response = request.send().await.map_err(|error| failed(&error))?;
    Ok(Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: bounded(&mut response, limit).await?,
    })
}

async fn bounded(response: &mut Response, limit: usize) -> Result<Bytes, Fail> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        append(&mut body, &chunk, limit)?;
    }
    Ok(body.freeze())
}

fn append(body: &mut BytesMut, chunk: &[u8], limit: usize) -> Result<(), Fail> {
    if body.len() + chunk.len() > limit {
        return Err(Fail::unverifiable(format!(
            "the answer is larger than {limit} bytes"
        )));
    }
    body.extend_from_slice(chunk);
    Ok(())
}

/// What a failure without an answer proves. Only while connecting is it certain that no byte of
/// the request left; TLS is part of connecting.
fn failed(error: &reqwest::Error) -> Fail {
    let detail = chain(error);
    if error.is_connect() {
        Fail::Refused(Refusal::not_sent(Refusal::NOT_CONNECTED, detail))
    } else if error.is_builder() {
        Fail::invalid(detail)
    } else if error.is_timeout() {
        Fail::unknown(UncertaintyReason::Timeout, detail)
    } else {
        Fail::unknown(UncertaintyReason::Transport, detail)
    }
}

/// The causes of an error, without the URL: bill URLs carry a token.
fn chain(error: &reqwest::Error) -> String {
    let mut text = match (error.is_timeout(), error.is_connect()) {
        (true, true) => "no connection in time".to_owned(),
        (true, false) => "no answer in time".to_owned(),
        (false, true) => "cannot connect".to_owned(),
        (false, false) => "the exchange broke off".to_owned(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A URL out of a verified answer. A channel reached over TLS must not send us to plain text.
pub(crate) fn download_url(text: &str, base: &Url) -> Result<Url, Fail> {
    let url = Url::parse(text).map_err(|_| Fail::unverifiable("the download URL is no URL"))?;
    if url.scheme() == "https" || (url.scheme() == "http" && base.scheme() == "http") {
        Ok(url)
    } else {
        Err(Fail::unverifiable("the download URL is not https"))
    }
}
