//! A simulator, and a client of both channels and of the admin port.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use channel_simulator::Running;
use contract::SimulatorConfig;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::merchant::{Told, merchant};

pub(crate) const NATIVE: &str = "/v3/pay/transactions/native";
pub(crate) const REFUNDS: &str = "/v3/refund/domestic/refunds";

pub(crate) struct Bench {
    pub(crate) running: Running,
    pub(crate) http: reqwest::Client,
    pub(crate) notify_url: String,
    /// The merchant's, by the names of the Secret.
    pub(crate) keys: BTreeMap<String, String>,
}

/// What came back, read before anyone parsed it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status and error code.
    pub(crate) fn error(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }
}

/// A node of Alipay's, and what stood beside it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) fields: Value,
    pub(crate) certificate: Option<String>,
}

/// The SubjectPublicKeyInfo in PEM text of a key or a certificate.
fn public_key(text: &str) -> Vec<u8> {
    let block = pem::parse(text).unwrap();
    if block.tag() != "CERTIFICATE" {
        return block.into_contents();
    }
    let (_, certificate) = x509_parser::parse_x509_certificate(block.contents()).unwrap();
    certificate.public_key().raw.to_vec()
}

pub(crate) fn verifies(key: &str, message: &[u8], signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else {
        return false;
    };
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key(key))
        .verify(message, &signature)
        .is_ok()
}

/// Whether `key` signed these headers and this body, as WeChat Pay signs.
pub(crate) fn wechat_verifies(key: &str, header: impl Fn(&str) -> String, body: &[u8]) -> bool {
    let head = format!(
        "{}\n{}\n",
        header("wechatpay-timestamp"),
        header("wechatpay-nonce")
    );
    let message = [head.as_bytes(), body, b"\n"].concat();
    verifies(key, &message, &header("wechatpay-signature"))
}

/// What was sealed under this APIv3 key; `None` if it was another.
pub(crate) fn unsealed(key: &str, sealed: &Value) -> Option<String> {
    let text = |name: &str| sealed[name].as_str().unwrap();
    let key = UnboundKey::new(&AES_256_GCM, key.as_bytes()).unwrap();
    let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).unwrap();
    let mut bytes = STANDARD.decode(text("ciphertext")).unwrap();
    let aad = Aad::from(text("associated_data"));
    let plain = LessSafeKey::new(key)
        .open_in_place(nonce, aad, &mut bytes)
        .ok()?;
    Some(String::from_utf8(plain.to_vec()).unwrap())
}

fn owned(keys: &BTreeMap<&'static str, String>) -> BTreeMap<String, String> {
    let pairs = keys.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn in_beijing() -> jiff::civil::DateTime {
    TimeZone::fixed(Offset::constant(8)).to_datetime(Timestamp::now())
}

pub(crate) fn today() -> String {
    in_beijing().date().to_string()
}

pub(crate) fn tomorrow() -> String {
    in_beijing().date().tomorrow().unwrap().to_string()
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let local = "127.0.0.1:0".to_owned();
        let config = SimulatorConfig {
            listen: local.clone(),
            admin_listen: local,
            ..SimulatorConfig::default()
        };
        let running = channel_simulator::start(&config).await.unwrap();
        Self {
            keys: owned(running.client_keys()),
            running,
            notify_url: "http://127.0.0.1:9/callbacks".to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// With a merchant that answers callbacks with the statuses given, then with 200.
    pub(crate) async fn with_merchant(statuses: Vec<u16>) -> (Self, UnboundedReceiver<Told>) {
        let (notify_url, told) = merchant(statuses).await;
        let bench = Self {
            notify_url,
            ..Self::start().await
        };
        (bench, told)
    }

    pub(crate) fn key(&self, name: &str) -> &str {
        &self.keys[name]
    }

    pub(crate) fn sign(&self, key: &str, message: &str) -> String {
        let pair = KeyPair::from_pkcs8(pem::parse(self.key(key)).unwrap().contents()).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        let random = SystemRandom::new();
        pair.sign(
            &RSA_PKCS1_SHA256,
            &random,
            message.as_bytes(),
            &mut signature,
        )
        .unwrap();
        STANDARD.encode(signature)
    }

    pub(crate) async fn admin(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let url = format!("http://{}{path}", self.running.admin());
        let mut request = self.http.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.admin("POST", path, Some(body)).await
    }

    pub(crate) async fn arm(&self, name: &str, channel: &str) {
        let body = json!({"name": name, "channel": channel});
        assert_eq!(self.post("/faults", body).await.0, 201, "{name}");
    }

    pub(crate) async fn pay(&self, channel: &str, number: &str) -> (u16, Value) {
        let body = json!({"channel": channel, "outTradeNo": number});
        self.post("/pay", body).await
    }

    pub(crate) async fn advance(&self, seconds: i64) {
        let body = json!({"advanceSeconds": seconds});
        assert_eq!(self.post("/clock", body).await.0, 200);
    }

    pub(crate) async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Reply, reqwest::Error> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Reply {
            status,
            headers,
            body: answer.bytes().await?.to_vec(),
        })
    }

    /// A signed request; `serial` is the key the answer should be signed with.
    pub(crate) async fn wechat_as(
        &self,
        method: &str,
        target: &str,
        body: &str,
        skew_seconds: i64,
        serial: Option<&str>,
    ) -> Result<Reply, reqwest::Error> {
        let timestamp = Timestamp::now().as_second() + skew_seconds;
        let message = format!("{method}\n{target}\n{timestamp}\nabc\n{body}\n");
        let authorization = format!(
            "WECHATPAY2-SHA256-RSA2048 nonce_str=\"abc\",mchid=\"{}\",serial_no=\"{}\",timestamp=\"{timestamp}\",signature=\"{}\"",
            self.key("wechat-mch-id"),
            self.key("wechat-merchant-serial"),
            self.sign("wechat-private-key", &message),
        );
        let url = format!("http://{}{target}", self.running.public());
        let mut request = self.http.request(method.parse().unwrap(), url);
        if let Some(serial) = serial {
            request = request.header("wechatpay-serial", serial);
        }
        let request = request.header("authorization", authorization);
        self.send(request.body(body.to_owned())).await
    }

    pub(crate) async fn wechat_at(
        &self,
        method: &str,
        target: &str,
        body: &str,
        skew_seconds: i64,
    ) -> Result<Reply, reqwest::Error> {
        self.wechat_as(method, target, body, skew_seconds, None)
            .await
    }

    pub(crate) async fn wechat(&self, method: &str, target: &str, body: &str) -> Reply {
        let reply = self.wechat_at(method, target, body, 0).await.unwrap();
        let signed = self.wechat_signed(&reply);
        assert!(signed, "{method} {target} is not signed");
        reply
    }

    /// With the public key, which is what clients have unless they ask for certificates.
    pub(crate) fn wechat_signed(&self, reply: &Reply) -> bool {
        let timestamp = reply.header("wechatpay-timestamp").parse::<i64>();
        let now = Timestamp::now().as_second();
        let fresh = timestamp.is_ok_and(|at| at.abs_diff(now) < 300);
        let header = |name: &str| reply.header(name).to_owned();
        fresh
            && reply.header("wechatpay-serial") == self.key("wechat-public-key-id")
            && wechat_verifies(self.key("wechat-public-key"), header, &reply.body)
    }

    pub(crate) fn order(&self, number: &str, total: i64) -> String {
        self.order_json(number, total).to_string()
    }

    pub(crate) fn order_json(&self, number: &str, total: i64) -> Value {
        json!({
            "appid": self.key("wechat-app-id"),
            "mchid": self.key("wechat-mch-id"),
            "description": "thing, with comma",
            "out_trade_no": number,
            "notify_url": self.notify_url,
            "amount": {"total": total, "currency": "CNY"},
        })
    }

    /// A native order that is paid.
    pub(crate) async fn paid(&self, number: &str, total: i64) {
        let order = self.order(number, total);
        assert_eq!(self.wechat("POST", NATIVE, &order).await.status, 200);
        assert_eq!(self.pay("wechat", number).await.0, 200);
    }

    pub(crate) async fn close(&self, number: &str) -> Reply {
        let body = json!({"mchid": self.key("wechat-mch-id")}).to_string();
        let target = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        self.wechat("POST", &target, &body).await
    }

    pub(crate) async fn refund(&self, number: &str, refund_no: &str, fen: [i64; 2]) -> Reply {
        let [refund, total] = fen;
        let body = json!({
            "out_trade_no": number,
            "out_refund_no": refund_no,
            "notify_url": self.notify_url,
            "amount": {"refund": refund, "total": total, "currency": "CNY"},
        });
        self.wechat("POST", REFUNDS, &body.to_string()).await
    }

    pub(crate) async fn refund_status(&self, refund_no: &str) -> Value {
        let target = format!("{REFUNDS}/{refund_no}");
        self.wechat("GET", &target, "").await.json()["status"].clone()
    }

    pub(crate) fn query_target(&self, number: &str) -> String {
        let mchid = self.key("wechat-mch-id");
        format!("/v3/pay/transactions/out-trade-no/{number}?mchid={mchid}")
    }

    pub(crate) async fn trade_state(&self, number: &str) -> Value {
        let found = self.wechat("GET", &self.query_target(number), "").await;
        found.json()["trade_state"].clone()
    }

    /// A signed request of Alipay's as a form; `extra` are more common parameters.
    pub(crate) fn alipay_form(
        &self,
        method: &str,
        content: &Value,
        extra: &[(&str, &str)],
    ) -> String {
        let mut fields = vec![
            ("app_id", self.key("alipay-app-id").to_owned()),
            ("biz_content", content.to_string()),
            ("charset", "utf-8".to_owned()),
            ("method", method.to_owned()),
            ("notify_url", self.notify_url.clone()),
            ("sign_type", "RSA2".to_owned()),
            (
                "timestamp",
                in_beijing().strftime("%Y-%m-%d %H:%M:%S").to_string(),
            ),
            ("version", "1.0".to_owned()),
        ];
        fields.extend(
            extra
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        fields.sort_unstable();
        let text: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let sign = self.sign("alipay-private-key", &text.join("&"));
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&fields)
            .append_pair("sign", &sign)
            .finish()
    }

    pub(crate) async fn gateway(&self, form: String) -> Result<Reply, reqwest::Error> {
        let url = format!("http://{}/gateway.do", self.running.public());
        let kind = "application/x-www-form-urlencoded";
        self.send(self.http.post(url).header("content-type", kind).body(form))
            .await
    }

    pub(crate) async fn alipay_with(
        &self,
        method: &str,
        content: Value,
        extra: &[(&str, &str)],
    ) -> Node {
        let form = self.alipay_form(method, &content, extra);
        let reply = self.gateway(form).await.unwrap();
        self.alipay_opened(method, &reply).unwrap()
    }

    /// The node of an answer that is rightly signed.
    pub(crate) fn alipay_opened(&self, method: &str, reply: &Reply) -> Option<Node> {
        let name = format!("{}_response", method.replace('.', "_"));
        let (rest, sign) = reply
            .text()
            .strip_prefix(&format!("{{\"{name}\":"))?
            .strip_suffix("\"}")?
            .rsplit_once(",\"sign\":\"")?;
        let (node, certificate) = match rest.rsplit_once(",\"alipay_cert_sn\":\"") {
            Some((node, sn)) => (node, Some(sn.trim_end_matches('"').to_owned())),
            None => (rest, None),
        };
        let key = self.key("alipay-public-key");
        verifies(key, node.as_bytes(), sign).then(|| Node {
            fields: serde_json::from_str(node).unwrap(),
            certificate,
        })
    }

    pub(crate) async fn alipay(&self, method: &str, content: Value) -> Value {
        let node = self.alipay_with(method, content, &[]).await;
        assert_eq!(node.certificate, None, "key mode was asked for");
        node.fields
    }

    /// A precreated code that is paid.
    pub(crate) async fn alipay_paid(&self, number: &str, amount: &str) {
        let content = json!({"out_trade_no": number, "total_amount": amount, "subject": "thing"});
        let made = self.alipay("alipay.trade.precreate", content).await;
        assert_eq!(made["code"], "10000", "{made}");
        assert_eq!(self.pay("alipay", number).await.0, 200);
    }
}
