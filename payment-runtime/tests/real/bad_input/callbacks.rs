//! Callbacks that no channel of ours would send, and rightly signed ones with the wrong contents.
//!
//! The keys of both channels are replaced by ours first, so that each case is wrong in one thing
//! only. At the end the same messages without a fault are believed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channels::Reload;
use contract::names::channel_key;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, Refusal, Scene};
use crate::support::order;

const SERIAL: &str = "PUB_KEY_ID_0116000000000000000000000000001";
const NONCE: &str = "c5ac7061fccab6bf3e254dcf98995b8c";
const SEAL_NONCE: &str = "fdasfjihihih";

/// Both channels, with their keys in our hands.
pub(super) struct Channels {
    pair: KeyPair,
    stranger: KeyPair,
    api_key: String,
    merchant: String,
    wechat_app: String,
    alipay_app: String,
    seller: Option<String>,
    /// Payments that wait for their payer, one at each channel.
    wechat: Value,
    alipay: Value,
}

impl Channels {
    pub(super) async fn take_over(scene: &Scene) -> Self {
        let (_, wechat) = scene.system.post(&order("wechat")).await;
        let (_, alipay) = scene.system.post(&order("alipay")).await;
        let directory = scene
            .system
            .parts
            .payments
            .config
            .channels
            .credentials_directory
            .clone();
        let file = |name: &str| PathBuf::from(&directory).join(name);
        let read = |name| {
            std::fs::read_to_string(file(name))
                .unwrap()
                .trim()
                .to_owned()
        };
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        // Its public key alone is what is believed from now on.
        for name in channel_key::ALIPAY_CERTIFICATE_MODE {
            let _ = std::fs::remove_file(file(name));
        }
        for name in [
            channel_key::WECHAT_PUBLIC_KEY,
            channel_key::ALIPAY_PUBLIC_KEY,
        ] {
            std::fs::write(file(name), pem(&pair)).unwrap();
        }
        std::fs::write(file(channel_key::WECHAT_PUBLIC_KEY_ID), SERIAL).unwrap();
        reload(scene).await;
        Self {
            pair,
            stranger: KeyPair::generate(KeySize::Rsa2048).unwrap(),
            api_key: read(channel_key::WECHAT_API_KEY),
            merchant: read(channel_key::WECHAT_MCH_ID),
            wechat_app: read(channel_key::WECHAT_APP_ID),
            alipay_app: read(channel_key::ALIPAY_APP_ID),
            seller: std::fs::read_to_string(file(channel_key::ALIPAY_SELLER_ID)).ok(),
            wechat,
            alipay,
        }
    }

    pub(super) fn cases(&self) -> Vec<Case> {
        let mut cases = self.wechat_headers();
        cases.extend(self.wechat_bodies());
        cases.extend(self.wechat_envelopes());
        cases.extend(self.wechat_contents());
        cases.extend(self.alipay_signatures());
        cases.extend(self.alipay_contents());
        cases.extend(oversized());
        cases
    }

    /// The messages that the cases are made of, without a fault: another amount is kept as
    /// evidence and changes nothing, the right one is a payment, a repeat is acknowledged.
    pub(super) async fn are_believed(&self, scene: &Scene) {
        let mut plain = self.transaction();
        plain["amount"]["total"] = 1.into();
        plain["transaction_id"] = "4200000000000009".into();
        let mut fields = self.fields();
        fields.insert("total_amount", "0.01".to_owned());
        fields.insert("trade_no", "2026100322001400000000000009".to_owned());
        for (payment, wrong, right) in [
            (&self.wechat, self.wechat_of(&plain), self.wechat_valid()),
            (&self.alipay, self.alipay_of(fields), self.alipay_valid()),
        ] {
            let id = payment["paymentId"].as_str().unwrap();
            assert_eq!(send(scene, &wrong).await, 200);
            let refused = || async {
                let (_, events) = scene.system.get(&format!("/{id}/events")).await;
                let last = events["data"].as_array()?.last()?.clone();
                (last["source"] == "callback").then_some(last)
            };
            let last = scene
                .system
                .until("the other amount to be seen", refused)
                .await;
            assert_eq!(
                (&last["from"], &last["to"]),
                (&json!("PENDING"), &json!("PENDING")),
                "{last}"
            );
            assert_ne!(last["decision"], "kept", "{last}");
            assert_eq!(scene.system.payment(id).await["status"], "PENDING");
            assert_eq!(send(scene, &right).await, 200);
            scene.system.until_status(id, "PAID").await;
            let books = scene.books().await;
            assert_eq!(send(scene, &right).await, 200);
            assert_eq!(books.inbox, scene.books().await.inbox);
        }
    }
}

async fn send(scene: &Scene, case: &Case) -> u16 {
    let url = format!("{}{}", scene.root, case.path);
    let mut request = scene.system.http.post(url);
    for (name, value) in &case.headers {
        request = request.header(*name, value.as_slice());
    }
    let answer = request.body(case.body.clone()).send().await.unwrap();
    answer.status().as_u16()
}

/// The runtime looks at the files every five seconds by itself; this look is for it.
async fn reload(scene: &Scene) {
    let soon = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let loaded = || async {
        let reload = scene.system.parts.channels.reload(soon);
        matches!(reload, Reload::Reloaded | Reload::Unchanged).then_some(())
    };
    scene.system.until("the channels' new keys", loaded).await;
}

fn pem(pair: &KeyPair) -> String {
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
}

fn sign(pair: &KeyPair, message: &str) -> String {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message.as_bytes(),
        &mut signature,
    )
    .unwrap();
    STANDARD.encode(signature)
}

fn seal(key: &str, nonce: &str, aad: &str, plain: &str) -> String {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).unwrap();
    let mut sealed = plain.as_bytes().to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(aad.as_bytes()), &mut sealed)
        .unwrap();
    STANDARD.encode(sealed)
}

/// The fields of a WeChat Pay callback that are signed together.
#[derive(Clone)]
struct Signed {
    timestamp: String,
    nonce: String,
    body: String,
}

fn signed(body: String) -> Signed {
    Signed {
        timestamp: Timestamp::now().as_second().to_string(),
        nonce: NONCE.to_owned(),
        body,
    }
}

impl Channels {
    fn transaction(&self) -> Value {
        json!({
            "mchid": self.merchant, "appid": self.wechat_app,
            "out_trade_no": self.wechat["channelOrderNo"], "transaction_id": "4200000000000001",
            "trade_state": "SUCCESS", "success_time": "2026-10-03T10:34:56+08:00",
            "amount": {"total": 9999, "payer_total": 9999, "currency": "CNY"},
        })
    }

    fn envelope(&self, plain: &Value) -> Value {
        json!({
            "id": "EV-1", "create_time": "2026-10-03T10:34:56+08:00",
            "resource_type": "encrypt-resource", "event_type": "TRANSACTION.SUCCESS",
            "summary": "支付成功",
            "resource": {
                "original_type": "transaction", "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": seal(&self.api_key, SEAL_NONCE, "transaction", &plain.to_string()),
                "associated_data": "transaction", "nonce": SEAL_NONCE,
            },
        })
    }

    fn wechat_case(&self, name: &str, signed: Signed) -> Case {
        let message = format!("{}\n{}\n{}\n", signed.timestamp, signed.nonce, signed.body);
        Case {
            refusal: Refusal::Wechat,
            ..Case::post("/callbacks/wechat", signed.body, "")
        }
        .named(&format!("wechat: {name}"))
        .header("wechatpay-serial", SERIAL)
        .header("wechatpay-timestamp", signed.timestamp)
        .header("wechatpay-nonce", signed.nonce)
        .header("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048")
        .header("wechatpay-signature", sign(&self.pair, &message))
    }

    fn wechat_of(&self, plain: &Value) -> Case {
        self.wechat_case("of its contents", signed(self.envelope(plain).to_string()))
    }

    fn wechat_valid(&self) -> Case {
        self.wechat_of(&self.transaction())
    }

    fn wechat_headers(&self) -> Vec<Case> {
        let valid = self.wechat_valid();
        let with = |header: &'static str, value: &str| {
            let name = format!("wechat: {header} is {value:.60}");
            valid
                .clone()
                .without(header)
                .header(header, value)
                .named(&name)
        };
        let mut cases = Vec::new();
        for header in [
            "wechatpay-serial",
            "wechatpay-timestamp",
            "wechatpay-nonce",
            "wechatpay-signature",
        ] {
            cases.push(
                valid
                    .clone()
                    .without(header)
                    .named(&format!("wechat: without {header}")),
            );
            cases.push(with(header, ""));
        }
        for serial in [
            "PUB_KEY_ID_0",
            "5157F09EFDC096DE15EBE81A47057A72",
            "pub_key_id_0116000000000000000000000000001",
        ] {
            cases.push(with("wechatpay-serial", serial));
        }
        for nonce in ["another", "c5ac7061fccab6bf3e254dcf98995b8d"] {
            cases.push(with("wechatpay-nonce", nonce));
        }
        let message = String::from_utf8(valid.body.clone()).unwrap();
        let right = sign(&self.pair, &message);
        let cut = right[..right.len() - 4].to_owned();
        for signature in [
            "AAAA",
            "!!!",
            &right,
            &cut,
            &format!("{right}A"),
            &sign(&self.stranger, &message),
            "WECHATPAY/SIGNTEST/",
            &format!("WECHATPAY/SIGNTEST/{right}"),
            "null",
        ] {
            cases.push(with("wechatpay-signature", signature));
        }
        let before = with("wechatpay-signature", "AAAA").header("wechatpay-signature", right);
        cases.push(before.named("wechat: two signatures"));
        cases.push(self.by_a_stranger());
        cases.extend(self.wechat_times());
        cases
    }

    fn by_a_stranger(&self) -> Case {
        let whole = signed(self.envelope(&self.transaction()).to_string());
        let message = format!("{}\n{}\n{}\n", whole.timestamp, whole.nonce, whole.body);
        self.wechat_case("signed by a stranger", whole)
            .without("wechatpay-signature")
            .header("wechatpay-signature", sign(&self.stranger, &message))
    }

    /// Rightly signed, at times that are not now.
    fn wechat_times(&self) -> Vec<Case> {
        let now = Timestamp::now().as_second();
        let times = [
            (now - 301).to_string(),
            (now + 400).to_string(),
            (now - 86_400).to_string(),
            (now * 1000).to_string(),
            "0".to_owned(),
            "-1".to_owned(),
            format!("{now}.5"),
            "now".to_owned(),
            "9223372036854775808".to_owned(),
            "1e9".to_owned(),
            "-9223372036854775808".to_owned(),
            "2026-10-03T10:34:56+08:00".to_owned(),
        ];
        let of = |time: String| {
            let name = format!("signed at {time}");
            let whole = signed(self.envelope(&self.transaction()).to_string());
            self.wechat_case(
                &name,
                Signed {
                    timestamp: time,
                    ..whole
                },
            )
        };
        times.map(of).into()
    }

    /// Bodies that are not the one that was signed.
    fn wechat_bodies(&self) -> Vec<Case> {
        let valid = self.wechat_valid();
        let text = String::from_utf8(valid.body.clone()).unwrap();
        let pretty: Value = serde_json::from_str(&text).unwrap();
        let bodies = [
            ("truncated", text[..text.len() / 2].to_owned()),
            ("without its last byte", text[..text.len() - 1].to_owned()),
            ("empty", String::new()),
            ("with a line end", format!("{text}\n")),
            (
                "written anew",
                serde_json::to_string_pretty(&pretty).unwrap(),
            ),
            ("with one byte changed", text.replacen("EV-1", "EV-2", 1)),
            ("of a stranger", "{}".to_owned()),
            ("with a mark", format!("\u{feff}{text}")),
        ];
        bodies
            .map(|(name, body)| {
                valid
                    .clone()
                    .body(body)
                    .named(&format!("wechat: body {name}"))
            })
            .into()
    }

    /// Rightly signed envelopes that cannot be opened.
    fn wechat_envelopes(&self) -> Vec<Case> {
        let valid = self.envelope(&self.transaction());
        let sealed = valid["resource"]["ciphertext"].as_str().unwrap();
        let mut flipped = STANDARD.decode(sealed).unwrap();
        *flipped.last_mut().unwrap() ^= 1;
        let plain = self.transaction().to_string();
        let other_key = "0123456789abcdef0123456789abcdef";
        let changes: Vec<(&str, Value)> = vec![
            ("/event_type", json!("TRANSACTION.FAILURE")),
            ("/event_type", json!("transaction.success")),
            ("/event_type", json!(1)),
            ("/event_type", Value::Null),
            ("/event_type", json!("REFUND.SUCCESS")),
            ("/resource", Value::Null),
            ("/resource", json!("x")),
            ("/resource/algorithm", json!("AEAD_AES_128_GCM")),
            ("/resource/algorithm", json!("")),
            ("/resource/algorithm", Value::Null),
            ("/resource/ciphertext", json!("")),
            ("/resource/ciphertext", json!("AAAA")),
            ("/resource/ciphertext", json!("not base64!")),
            ("/resource/ciphertext", json!(sealed.replace('=', "") + "*")),
            ("/resource/ciphertext", json!(&sealed[..sealed.len() - 8])),
            ("/resource/ciphertext", json!(STANDARD.encode(&flipped))),
            (
                "/resource/ciphertext",
                json!(seal(other_key, SEAL_NONCE, "transaction", &plain)),
            ),
            (
                "/resource/ciphertext",
                json!(seal(&self.api_key, SEAL_NONCE, "refund", &plain)),
            ),
            ("/resource/ciphertext", json!(7)),
            ("/resource/nonce", json!("fdasfjihihii")),
            ("/resource/nonce", json!("")),
            ("/resource/nonce", json!("fdasfjihihi")),
            ("/resource/nonce", json!("n".repeat(64))),
            ("/resource/nonce", Value::Null),
            ("/resource/associated_data", json!("")),
            ("/resource/associated_data", Value::Null),
            ("/resource/associated_data", json!("refund")),
        ];
        let mut cases: Vec<Case> = changes
            .into_iter()
            .map(|(pointer, value)| {
                let mut envelope = valid.clone();
                *envelope.pointer_mut(pointer).unwrap() = value.clone();
                let name = format!("{pointer} is {:.60}", value.to_string());
                self.wechat_case(&name, signed(envelope.to_string()))
            })
            .collect();
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "x",
            "{\"event_type\":\"TRANSACTION.SUCCESS\"}",
        ] {
            cases.push(self.wechat_case(&format!("signed body {body}"), signed(body.to_owned())));
        }
        cases
    }

    /// Rightly sealed and signed, with contents that are not for us or make no sense.
    fn wechat_contents(&self) -> Vec<Case> {
        let changes: Vec<(&str, Value)> = vec![
            ("/mchid", json!("1900000000")),
            ("/mchid", json!("")),
            ("/mchid", Value::Null),
            ("/mchid", json!(format!("{} ", self.merchant))),
            ("/appid", json!("wx0000000000000000")),
            ("/appid", json!(self.wechat_app.to_uppercase())),
            ("/appid", Value::Null),
            ("/out_trade_no", Value::Null),
            ("/out_trade_no", json!(1)),
            ("/transaction_id", Value::Null),
            ("/transaction_id", json!("")),
            ("/transaction_id", json!(42)),
            ("/trade_state", json!("PAID")),
            ("/trade_state", json!("success")),
            ("/trade_state", Value::Null),
            ("/amount", Value::Null),
            ("/amount", json!(9999)),
            ("/amount/total", Value::Null),
            ("/amount/total", json!("9999")),
            ("/amount/total", json!(99.99)),
            ("/amount/total", json!(1e300)),
            ("/amount/currency", json!("RMB")),
            ("/amount/currency", json!("cny")),
            ("/amount/currency", json!(156)),
        ];
        changes
            .into_iter()
            .map(|(pointer, value)| {
                let mut plain = self.transaction();
                *plain.pointer_mut(pointer).unwrap() = value.clone();
                self.wechat_of(&plain)
                    .named(&format!("wechat: sealed {pointer} is {value}"))
            })
            .collect()
    }
}

type Fields = BTreeMap<&'static str, String>;

impl Channels {
    fn fields(&self) -> Fields {
        let number = self.alipay["channelOrderNo"].as_str().unwrap();
        let mut fields: Fields = [
            ("app_id", self.alipay_app.as_str()),
            ("charset", "utf-8"),
            ("notify_id", "N-1"),
            ("notify_time", "2026-10-03 10:34:56"),
            ("notify_type", "trade_status_sync"),
            ("out_trade_no", number),
            ("trade_no", "2026100322001400000000000001"),
            ("trade_status", "TRADE_SUCCESS"),
            ("total_amount", "99.99"),
            ("subject", "书"),
            ("gmt_payment", "2026-10-03 10:34:55"),
            ("version", "1.0"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into();
        if let Some(seller) = &self.seller {
            fields.insert("seller_id", seller.trim().to_owned());
        }
        fields
    }

    fn alipay_sign(&self, fields: &Fields) -> String {
        let text: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        sign(&self.pair, &text.join("&"))
    }

    fn alipay_of(&self, fields: Fields) -> Case {
        let signature = self.alipay_sign(&fields);
        alipay_form("of its contents", fields, Some(signature))
    }

    fn alipay_valid(&self) -> Case {
        self.alipay_of(self.fields())
    }

    fn alipay_signatures(&self) -> Vec<Case> {
        let right = self.alipay_sign(&self.fields());
        let form =
            |name: &str, signature: Option<String>| alipay_form(name, self.fields(), signature);
        let text: Vec<String> = self
            .fields()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut cases = vec![
            form("without a signature", None),
            form("an empty signature", Some(String::new())),
            form("no base64", Some("!!!".to_owned())),
            form("short", Some("AAAA".to_owned())),
            form("cut", Some(right[..right.len() - 4].to_owned())),
            form("longer", Some(format!("{right}AAAA"))),
            form("by a stranger", Some(sign(&self.stranger, &text.join("&")))),
            form(
                "over other text",
                Some(sign(&self.pair, &text[1..].join("&"))),
            ),
            form(
                "over the encoded text",
                Some(sign(&self.pair, &text.join("&").replace(':', "%3A"))),
            ),
        ];
        let changed = [
            ("total_amount", "0.01"),
            ("out_trade_no", "P-2"),
            ("trade_status", "TRADE_CLOSED"),
            ("app_id", "2021000000000000"),
            ("charset", "gbk"),
            ("unknown", "x"),
            ("subject", "B"),
        ];
        for (name, value) in changed {
            let mut fields = self.fields();
            fields.insert(name, value.to_owned());
            cases.push(alipay_form(
                &format!("{name} changed"),
                fields,
                Some(right.clone()),
            ));
        }
        for name in ["subject", "version", "gmt_payment"] {
            let mut fields = self.fields();
            fields.remove(name);
            cases.push(alipay_form(
                &format!("{name} taken out"),
                fields,
                Some(right.clone()),
            ));
        }
        let valid = String::from_utf8(self.alipay_valid().body).unwrap();
        for (name, body) in mangled(&valid) {
            cases.push(alipay_form(name, Fields::new(), None).body(body));
        }
        cases
    }

    /// Rightly signed, with contents that are not for us or make no sense.
    fn alipay_contents(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for name in [
            "app_id",
            "out_trade_no",
            "trade_no",
            "trade_status",
            "total_amount",
        ] {
            let mut fields = self.fields();
            fields.remove(name);
            cases.push(
                self.alipay_of(fields.clone())
                    .named(&format!("alipay: without {name}")),
            );
            fields.insert(name, String::new());
            cases.push(
                self.alipay_of(fields)
                    .named(&format!("alipay: {name} is empty")),
            );
        }
        let values = [
            ("app_id", "2021000000000000"),
            ("app_id", "null"),
            ("trade_status", "TRADE_PAID"),
            ("trade_status", "trade_success"),
            ("total_amount", "abc"),
            ("total_amount", "99.999"),
            ("total_amount", "1e2"),
            ("total_amount", "99,99"),
            ("total_amount", "９９"),
            ("total_amount", "¥99.99"),
            ("total_amount", " 99.99"),
            ("total_amount", "+99.99"),
            ("total_amount", "99999999999999999999"),
        ];
        for (name, value) in values {
            let mut fields = self.fields();
            fields.insert(name, value.to_owned());
            cases.push(
                self.alipay_of(fields)
                    .named(&format!("alipay: signed {name} is {value}")),
            );
        }
        cases
    }
}

/// A form that is not the one that was signed.
fn mangled(valid: &str) -> Vec<(&'static str, Vec<u8>)> {
    let text = |name, text: String| (name, text.into_bytes());
    let mut gbk = valid.replace("%E4%B9%A6", "?").into_bytes();
    gbk.splice(
        gbk.iter().position(|b| *b == b'?').unwrap()..=gbk.iter().position(|b| *b == b'?').unwrap(),
        [0xca, 0xe9],
    );
    vec![
        text("an empty body", " ".to_owned()),
        text("JSON", "{\"sign\":\"AAAA\"}".to_owned()),
        text("truncated", valid[..valid.len() / 2].to_owned()),
        text("one field twice", format!("{valid}&out_trade_no=P-2")),
        text(
            "one field twice, first",
            format!("total_amount=0.01&{valid}"),
        ),
        text("a signature twice", format!("{valid}&sign=AAAA")),
        text("an unknown field twice", format!("{valid}&x=1&x=1")),
        text("the whole twice", format!("{valid}&{valid}")),
        text("upper case", valid.to_uppercase()),
        text("a question mark", format!("?{valid}")),
        text("bad escapes", valid.replace("%3A", "%ZZ")),
        text(
            "not escaped",
            valid
                .replace("%2B", "+")
                .replace("%2F", "/")
                .replace("utf-8", "utf+8"),
        ),
        text("other separators", valid.replace('&', ";")),
        ("another charset", gbk),
        ("no text", vec![0xff; 64]),
        (
            "an escaped charset",
            valid.replace("%E4%B9%A6", "%CA%E9").into_bytes(),
        ),
    ]
}

fn alipay_form(name: &str, mut fields: Fields, signature: Option<String>) -> Case {
    if let Some(signature) = signature {
        fields.insert("sign", signature);
        fields.insert("sign_type", "RSA2".to_owned());
    }
    let body = reqwest::Url::parse_with_params("http://x", &fields).unwrap();
    Case {
        refusal: Refusal::Alipay,
        ..Case::new(
            format!("alipay: {name}"),
            Method::POST,
            "/callbacks/alipay",
            "",
        )
    }
    .header(
        "content-type",
        "application/x-www-form-urlencoded; charset=utf-8",
    )
    .body(body.query().unwrap_or_default())
}

/// One byte more than the 256 KiB that callbacks may have.
fn oversized() -> Vec<Case> {
    let of = |channel| {
        let path = format!("/callbacks/{channel}");
        let name = format!("{channel}: oversized");
        Case::new(name, Method::POST, &path, "PAYLOAD_TOO_LARGE").body(vec![b'a'; 256 * 1024 + 1])
    };
    ["wechat", "alipay"].map(of).into()
}
