//! A merchant and a channel for the tests: keys, credential files, and a server that answers what
//! it is told.
//!
//! Not here: any behaviour of a real channel.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::names::channel_key as key;
use jiff::Timestamp;
use payment_core::{Currency, Money, PayMethod};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::crypto::SigningKey;
use crate::{NewOrder, NewRefund, Outcome, Payer};

pub(crate) const MERCHANT: &str = "1900000109";
pub(crate) const WECHAT_APP: &str = "wxd678efh567hg6787";
pub(crate) const ALIPAY_APP: &str = "2021000000000001";
pub(crate) const KEY_ID: &str = "PUB_KEY_ID_0119000001092026100100000000000001";
pub(crate) const OTHER_KEY_ID: &str = "PUB_KEY_ID_0119000001092026100100000000000002";
pub(crate) const API_KEY: &str = "0123456789abcdef0123456789ABCDEF";
pub(crate) const NUMBER: &str = "P20261003000001";
pub(crate) const REFUND_NUMBER: &str = "R20261003000001";

/// Belongs to the vectors made with OpenSSL; its private half was thrown away.
pub(crate) const OPENSSL_PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAt8tnR9VSexcq8P1bRGi0
pDJrlg2Zw/MVg5N92VGtguAD+ysF6/V5Mcf8UbuAT1TM5FyiQscrJ90BgiXdnafz
VTOAe/6+1dGcF4WkSuPRTfJaifrAH3PW3ROw7FeppXQcpNeBgGYMZsem7tftKgHt
JhpeSaklt5PUTjtyfRmpK1Zoi/oC2Dy1IL8OR0tuGu9VqDYLH0C77Yax7cedpcfv
htsKy6GWz2L5ehidjBlskeJpUo+XKfiOGBe6iI0cBavDhBXv5XJE4X6dTgntxK87
wr3zlEGgQFlAdLNwF3RH+THqTJCz5LfyQ4shuaAQdnH3Ly/x9YYCMclQWAWHmO1/
WQIDAQAB
-----END PUBLIC KEY-----
";

/// The time of every test.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

pub(crate) struct Keys {
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
    signing: SigningKey,
}

impl Keys {
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let private_pem = pem_text("PRIVATE KEY", private.as_ref());
        Self {
            signing: SigningKey::parse(&private_pem).unwrap(),
            public_pem: pem_text("PUBLIC KEY", public.as_ref()),
            private_pem,
        }
    }

    pub(crate) fn sign(&self, message: impl AsRef<[u8]>) -> String {
        self.signing.sign(message.as_ref()).unwrap()
    }
}

fn pem_text(tag: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

/// The merchant's pair, the two pairs of the channel, and that of an authority.
pub(crate) fn keys() -> &'static [Keys; 4] {
    static KEYS: OnceLock<[Keys; 4]> = OnceLock::new();
    KEYS.get_or_init(|| std::array::from_fn(|_| Keys::generate()))
}

pub(crate) fn merchant() -> &'static Keys {
    &keys()[0]
}

/// Signs as the channel does.
pub(crate) fn channel() -> &'static Keys {
    &keys()[1]
}

/// The channel's second live key.
pub(crate) fn other() -> &'static Keys {
    &keys()[2]
}

pub(crate) fn authority() -> &'static Keys {
    &keys()[3]
}

/// `done`, the refusal's code (with `!` if it was not sent), or the reason of the uncertainty.
pub(crate) fn short<T>(outcome: Outcome<T>) -> String {
    match outcome {
        Outcome::Done(_) => "done".to_owned(),
        Outcome::Refused(refusal) if refusal.sent => refusal.code,
        Outcome::Refused(refusal) => format!("!{}", refusal.code),
        Outcome::Unknown(uncertainty) => format!("?{}", uncertainty.reason.as_str()),
    }
}

/// What was done, or how it [`short`]ly ended.
pub(crate) fn result<T>(outcome: Outcome<T>) -> Result<T, String> {
    match outcome {
        Outcome::Done(done) => Ok(done),
        other => Err(short(other)),
    }
}

pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

/// Credential files for both channels.
pub(crate) fn credentials() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let public = format!("{}{}", channel().public_pem, other().public_pem);
    let ids = format!("{KEY_ID}\n{OTHER_KEY_ID}\n");
    for (name, text) in [
        (key::WECHAT_APP_ID, WECHAT_APP),
        (key::WECHAT_MCH_ID, MERCHANT),
        (key::WECHAT_API_KEY, API_KEY),
        (key::WECHAT_PRIVATE_KEY, &merchant().private_pem),
        (
            key::WECHAT_MERCHANT_SERIAL,
            "5157f09efdc096de15ebe81a47057a7232f1b8e1\n",
        ),
        (key::WECHAT_PUBLIC_KEY_ID, &ids),
        (key::WECHAT_PUBLIC_KEY, &public),
        (key::ALIPAY_APP_ID, ALIPAY_APP),
        (key::ALIPAY_PRIVATE_KEY, &merchant().private_pem),
        (key::ALIPAY_PUBLIC_KEY, &channel().public_pem),
    ] {
        write(directory.path(), name, text);
    }
    directory
}

pub(crate) fn config(base: &str, directory: &Path) -> contract::config::Channels {
    contract::config::Channels {
        callback_base_url: "https://pay.example.com".to_owned(),
        credentials_directory: directory.to_owned(),
        wechat: Some(contract::config::Wechat {
            base_url: base.to_owned(),
            platform_certificates: false,
        }),
        alipay: Some(contract::config::Alipay {
            gateway_url: format!("{base}/gateway.do"),
        }),
        connect_timeout_milliseconds: 500,
        total_timeout_milliseconds: 1_000,
    }
}

pub(crate) fn order() -> NewOrder {
    NewOrder {
        channel_order_no: NUMBER.to_owned(),
        method: PayMethod::WechatNative,
        amount: Money::new(9_999, Currency::CNY),
        subject: "茶 & tea".to_owned(),
        notify_url: "https://pay.example.com/callbacks/x".to_owned(),
        expires_at: Timestamp::from_second(1_790_007_200).unwrap(),
        payer: Payer::default(),
    }
}

pub(crate) fn order_by(method: PayMethod) -> NewOrder {
    NewOrder { method, ..order() }
}

/// A part of [`order`]'s amount.
pub(crate) fn refund() -> NewRefund {
    NewRefund {
        channel_order_no: NUMBER.to_owned(),
        channel_refund_no: REFUND_NUMBER.to_owned(),
        amount: Money::new(1_000, Currency::CNY),
        total: Money::new(9_999, Currency::CNY),
        reason: Some("too\nlate".to_owned()),
        notify_url: "https://pay.example.com/callbacks/x".to_owned(),
    }
}

/// A certificate to be made.
pub(crate) struct Certified {
    pub(crate) name: &'static str,
    pub(crate) keys: &'static Keys,
    /// Hex.
    pub(crate) serial: &'static str,
    /// The first of January of each.
    pub(crate) years: (i32, i32),
    pub(crate) is_authority: bool,
}

impl Certified {
    /// One that is valid at [`now`].
    pub(crate) const fn new(name: &'static str, keys: &'static Keys, serial: &'static str) -> Self {
        Self {
            name,
            keys,
            serial,
            years: (2026, 2031),
            is_authority: false,
        }
    }

    fn parameters(&self) -> rcgen::CertificateParams {
        let mut parameters = rcgen::CertificateParams::default();
        let name = &mut parameters.distinguished_name;
        name.push(rcgen::DnType::CountryName, "CN");
        name.push(rcgen::DnType::OrganizationName, "Example");
        name.push(rcgen::DnType::CommonName, self.name);
        let serial = hex::decode(self.serial).unwrap();
        parameters.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        parameters.not_before = rcgen::date_time_ymd(self.years.0, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(self.years.1, 1, 1);
        if self.is_authority {
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        parameters
    }

    fn pair(&self) -> rcgen::KeyPair {
        let algorithm = &rcgen::PKCS_RSA_SHA256;
        rcgen::KeyPair::from_pem_and_sign_algo(&self.keys.private_pem, algorithm).unwrap()
    }

    /// PEM.
    pub(crate) fn self_signed(&self) -> String {
        self.parameters().self_signed(&self.pair()).unwrap().pem()
    }

    /// PEM.
    pub(crate) fn issued_by(&self, issuer: &Self) -> String {
        let issuer = rcgen::Issuer::new(issuer.parameters(), issuer.pair());
        let certificate = self.parameters().signed_by(&self.pair(), &issuer);
        certificate.unwrap().pem()
    }
}

pub(crate) fn seal(nonce: &[u8; 12], aad: &str, plain: &str) -> String {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, API_KEY.as_bytes()).unwrap());
    let mut sealed = plain.as_bytes().to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(*nonce),
        Aad::from(aad),
        &mut sealed,
    )
    .unwrap();
    STANDARD.encode(sealed)
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Reads the request and never answers.
    Silence,
    /// Reads the request and hangs up.
    HangUp,
    /// Announces more than it sends.
    CutOff,
}

impl Reply {
    pub(crate) fn plain(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }
}

/// A server that gives one reply after the other, the last one for ever.
pub(crate) struct Server {
    pub(crate) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `replies` is told the server's own base URL, for answers that point back to it.
    pub(crate) async fn start(replies: impl FnOnce(&str) -> Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let replies = replies(&base);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            for index in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let reply = replies[index.min(replies.len() - 1)].clone();
                tokio::spawn(serve(stream, reply, Arc::clone(&log)));
            }
        });
        Self { base, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, reply: Reply, log: Arc<Mutex<Vec<Seen>>>) {
    let Some(seen) = request(&mut stream).await else {
        return;
    };
    log.lock().unwrap().push(seen);
    match reply {
        Reply::Answer {
            status,
            headers,
            body,
        } => {
            let mut head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\n{}",
                // A 204 must not announce a length.
                if status == 204 {
                    String::new()
                } else {
                    format!("content-length: {}\r\n", body.len())
                }
            );
            for (name, value) in headers {
                write!(head, "{name}: {value}\r\n").unwrap();
            }
            head.push_str("\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
        Reply::Silence => std::future::pending().await,
        Reply::HangUp => {}
        Reply::CutOff => {
            let text = b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"code_url\"";
            let _ = stream.write_all(text).await;
        }
    }
}

async fn request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(seen) = parse(&bytes) {
            return Some(seen);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Seen> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    (body.len() == length).then(|| Seen {
        method: words.next().unwrap().to_owned(),
        target: words.next().unwrap().to_owned(),
        headers,
        body: body.to_owned(),
    })
}
