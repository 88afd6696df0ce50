//! The simulator over HTTP, asked by a client written from the channels' documents.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use axum::Json;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use channel_simulator::Running;
use contract::SimulatorConfig;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

struct Bench {
    running: Running,
    http: reqwest::Client,
    notify_url: String,
}

/// What came back, read before anyone parsed it.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Bench {
    async fn start() -> Self {
        let local = "127.0.0.1:0".to_owned();
        let config = SimulatorConfig {
            listen: local.clone(),
            admin_listen: local,
            ..SimulatorConfig::default()
        };
        let running = channel_simulator::start(&config).await.unwrap();
        Self {
            running,
            notify_url: "http://127.0.0.1:9/callbacks".to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn key(&self, name: &str) -> &str {
        &self.running.client_keys()[name]
    }

    fn sign(&self, key: &str, message: &str) -> String {
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

    fn verifies(&self, key: &str, message: &[u8], signature: &str) -> bool {
        let der = pem::parse(self.key(key)).unwrap().into_contents();
        let Ok(signature) = STANDARD.decode(signature) else {
            return false;
        };
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
            .verify(message, &signature)
            .is_ok()
    }

    async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.running.admin());
        let mut request = self.http.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (
            status,
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default(),
        )
    }

    async fn arm(&self, name: &str, channel: &str) {
        let body = json!({"name": name, "channel": channel});
        assert_eq!(
            self.admin("POST", "/faults", Some(body)).await.0,
            201,
            "{name}"
        );
    }

    async fn pay(&self, channel: &str, number: &str) -> (u16, Value) {
        let body = json!({"channel": channel, "outTradeNo": number});
        self.admin("POST", "/pay", Some(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Reply, reqwest::Error> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Reply {
            status,
            headers,
            body: answer.bytes().await?.to_vec(),
        })
    }

    async fn wechat_at(
        &self,
        method: &str,
        target: &str,
        body: &str,
        skew_seconds: i64,
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
        let request = self.http.request(method.parse().unwrap(), url);
        self.send(
            request
                .header("authorization", authorization)
                .body(body.to_owned()),
        )
        .await
    }

    async fn wechat(&self, method: &str, target: &str, body: &str) -> Reply {
        let reply = self.wechat_at(method, target, body, 0).await.unwrap();
        assert!(
            self.wechat_signed(&reply),
            "{method} {target} is not signed"
        );
        reply
    }

    fn wechat_signed(&self, reply: &Reply) -> bool {
        let head = format!(
            "{}\n{}\n",
            reply.header("wechatpay-timestamp"),
            reply.header("wechatpay-nonce")
        );
        let message = [head.as_bytes(), &reply.body, b"\n"].concat();
        reply.header("wechatpay-serial") == self.key("wechat-public-key-id")
            && self.verifies(
                "wechat-public-key",
                &message,
                reply.header("wechatpay-signature"),
            )
    }

    fn order(&self, number: &str, total: i64) -> String {
        json!({
            "appid": self.key("wechat-app-id"),
            "mchid": self.key("wechat-mch-id"),
            "description": "thing, with comma",
            "out_trade_no": number,
            "notify_url": self.notify_url,
            "amount": {"total": total, "currency": "CNY"},
        })
        .to_string()
    }

    fn query_target(&self, number: &str) -> String {
        let mchid = self.key("wechat-mch-id");
        format!("/v3/pay/transactions/out-trade-no/{number}?mchid={mchid}")
    }

    async fn alipay(&self, method: &str, content: Value) -> Value {
        let now = TimeZone::fixed(Offset::constant(8)).to_datetime(Timestamp::now());
        let mut fields = [
            ("app_id", self.key("alipay-app-id").to_owned()),
            ("biz_content", content.to_string()),
            ("charset", "utf-8".to_owned()),
            ("method", method.to_owned()),
            (
                "notify_url",
                "http://127.0.0.1:9/callbacks/alipay".to_owned(),
            ),
            ("sign_type", "RSA2".to_owned()),
            ("timestamp", now.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            ("version", "1.0".to_owned()),
        ];
        fields.sort_unstable();
        let text: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let sign = self.sign("alipay-private-key", &text.join("&"));
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&fields)
            .append_pair("sign", &sign)
            .finish();
        let url = format!("http://{}/gateway.do", self.running.public());
        let kind = "application/x-www-form-urlencoded";
        let request = self.http.post(url).header("content-type", kind).body(form);
        let reply = self.send(request).await.unwrap();
        let name = format!("{}_response", method.replace('.', "_"));
        let text = String::from_utf8(reply.body).unwrap();
        let (node, sign) = text
            .strip_prefix(&format!("{{\"{name}\":"))
            .and_then(|rest| rest.strip_suffix("\"}"))
            .and_then(|rest| rest.rsplit_once(",\"sign\":\""))
            .unwrap();
        assert!(self.verifies("alipay-public-key", node.as_bytes(), sign));
        serde_json::from_str(node).unwrap()
    }

    async fn advance(&self, seconds: u64) {
        let body = json!({"advanceSeconds": seconds});
        assert_eq!(self.admin("POST", "/clock", Some(body)).await.0, 200);
    }
}

/// A merchant that answers callbacks with the statuses given, then with 200, and shows their bodies.
async fn merchant(statuses: Vec<u16>) -> (String, UnboundedReceiver<Value>) {
    let (sender, receiver) = unbounded_channel();
    let statuses = Arc::new(Mutex::new(VecDeque::from(statuses)));
    let answer = move |Json(body): Json<Value>| {
        let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
        sender.send(body).unwrap();
        async move { StatusCode::from_u16(status).unwrap() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callbacks", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/callbacks", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, receiver)
}

async fn next(receiver: &mut UnboundedReceiver<Value>) -> Value {
    tokio::time::timeout(Duration::from_secs(10), receiver.recv())
        .await
        .unwrap()
        .unwrap()
}

const NATIVE: &str = "/v3/pay/transactions/native";

fn today() -> String {
    TimeZone::fixed(Offset::constant(8))
        .to_datetime(Timestamp::now())
        .date()
        .to_string()
}

#[tokio::test]
async fn a_wechat_order_lives_its_life() {
    let bench = Bench::start().await;
    let created = bench
        .wechat("POST", NATIVE, &bench.order("order-1", 100))
        .await;
    assert_eq!(created.status, 200);
    assert!(created.header("request-id").ends_with("-0"));
    let again = bench
        .wechat("POST", NATIVE, &bench.order("order-1", 100))
        .await;
    assert_eq!(again.json(), created.json());
    let changed = bench
        .wechat("POST", NATIVE, &bench.order("order-1", 101))
        .await;
    assert_eq!(
        (changed.status, &changed.json()["code"]),
        (400, &json!("INVALID_REQUEST"))
    );

    let query = bench.query_target("order-1");
    assert_eq!(
        bench.wechat("GET", &query, "").await.json()["trade_state"],
        "NOTPAY"
    );
    let (status, paid) = bench.pay("wechat", "order-1").await;
    assert_eq!((status, &paid["state"]), (200, &json!("PAID")));
    assert_eq!(
        bench.pay("wechat", "order-1").await.1["code"],
        "ORDER_ALREADY_PAID"
    );
    let found = bench.wechat("GET", &query, "").await.json();
    assert_eq!(found["trade_state"], "SUCCESS");
    assert_eq!(found["transaction_id"], paid["transactionId"]);

    let target = "/v3/pay/transactions/out-trade-no/order-1/close";
    let body = json!({"mchid": bench.key("wechat-mch-id")}).to_string();
    let closed = bench.wechat("POST", target, &body).await;
    assert_eq!(
        (closed.status, &closed.json()["code"]),
        (400, &json!("ORDER_PAID"))
    );
    bench.running.stop().await;
}

#[tokio::test]
async fn wechat_refuses_what_is_not_rightly_signed() {
    let bench = Bench::start().await;
    for (skew, expected) in [(0, 404), (-290, 404), (-310, 401), (310, 401)] {
        let target = bench.query_target("unknown");
        let reply = bench.wechat_at("GET", &target, "", skew).await.unwrap();
        assert_eq!(reply.status, expected, "{skew}");
        assert!(bench.wechat_signed(&reply));
    }
    let url = format!("http://{}{NATIVE}", bench.running.public());
    let reply = bench.send(bench.http.post(url).body("{}")).await.unwrap();
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (401, &json!("SIGN_ERROR"))
    );
}

#[tokio::test]
async fn wechat_faults_do_what_they_say() {
    let bench = Bench::start().await;
    for (index, (fault, effect)) in [
        ("drop-answer", true),
        ("error-500", true),
        ("error-500-before", false),
        ("accepted-202", false),
        ("rate-limited-429", false),
        ("rate-limited-429-with-effect", true),
        ("unsigned-answer", true),
        ("bad-signature", true),
        ("signtest-answer", true),
        ("unknown-serial", true),
    ]
    .into_iter()
    .enumerate()
    {
        let number = format!("fault-{index}");
        bench.arm(fault, "wechat").await;
        let reply = bench
            .wechat_at("POST", NATIVE, &bench.order(&number, 100), 0)
            .await;
        let good = reply.is_ok_and(|reply| reply.status == 200 && bench.wechat_signed(&reply));
        assert!(!good, "{fault}");
        let found = bench.wechat("GET", &bench.query_target(&number), "").await;
        assert_eq!(found.status, if effect { 200 } else { 404 }, "{fault}");
    }
    assert_eq!(
        bench.admin("GET", "/faults", None).await.1["armed"],
        json!([])
    );
}

#[tokio::test]
async fn a_wechat_bill_comes_the_next_day_and_follows_its_faults() {
    let bench = Bench::start().await;
    for number in ["bill-01", "bill-02"] {
        bench
            .wechat("POST", NATIVE, &bench.order(number, 100))
            .await;
        bench.pay("wechat", number).await;
    }
    let target = format!("/v3/bill/tradebill?bill_date={}&bill_type=ALL", today());
    assert_eq!(
        bench.wechat("GET", &target, "").await.json()["code"],
        "PARAM_ERROR"
    );
    bench.advance(2 * 86_400).await;
    bench.arm("bill-not-ready", "wechat").await;
    assert_eq!(
        bench.wechat("GET", &target, "").await.json()["code"],
        "STATEMENT_CREATING"
    );
    for (fault, rows) in [
        (None, 2),
        (Some("bill-missing-row"), 1),
        (Some("bill-extra-row"), 3),
    ] {
        if let Some(fault) = fault {
            bench.arm(fault, "wechat").await;
        }
        let url = bench.wechat("GET", &target, "").await.json()["download_url"].clone();
        let path = url
            .as_str()
            .unwrap()
            .splitn(4, '/')
            .nth(3)
            .unwrap()
            .to_owned();
        let file = bench
            .wechat_at("GET", &format!("/{path}"), "", 0)
            .await
            .unwrap();
        assert_eq!(file.header("wechatpay-signature"), "");
        let text = String::from_utf8(file.body).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), rows + 3, "{fault:?}");
        assert!(lines[1].split(",`").count() == 27, "{}", lines[1]);
        assert!(
            lines[rows + 2].starts_with(&format!("`{rows},`{rows}.00,")),
            "{}",
            lines[rows + 2]
        );
    }
    bench.arm("expired-bill-url", "wechat").await;
    let url = bench.wechat("GET", &target, "").await.json()["download_url"].clone();
    let path = url
        .as_str()
        .unwrap()
        .splitn(4, '/')
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(
        bench.wechat("GET", &format!("/{path}"), "").await.status,
        400
    );
}

#[tokio::test]
async fn an_order_must_last_at_least_a_minute() {
    let bench = Bench::start().await;
    let soon = Timestamp::now() + SignedDuration::from_secs(10);
    let mut order: Value = serde_json::from_str(&bench.order("expiring", 100)).unwrap();
    order["time_expire"] = soon.to_string().into();
    let reply = bench.wechat("POST", NATIVE, &order.to_string()).await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (400, &json!("PARAM_ERROR"))
    );
    assert_eq!(bench.pay("wechat", "expiring").await.0, 404);
}

#[tokio::test]
async fn an_alipay_code_is_no_trade_until_it_is_scanned() {
    let bench = Bench::start().await;
    let content = json!({"out_trade_no": "a1", "total_amount": "1.00", "subject": "thing"});
    let made = bench
        .alipay("alipay.trade.precreate", content.clone())
        .await;
    assert_eq!(made["code"], "10000", "{made}");
    let number = json!({"out_trade_no": "a1"});
    for method in ["alipay.trade.query", "alipay.trade.close"] {
        let node = bench.alipay(method, number.clone()).await;
        assert_eq!(node["sub_code"], "ACQ.TRADE_NOT_EXIST", "{method}");
    }
    assert_eq!(bench.pay("alipay", "a1").await.0, 200);
    let found = bench.alipay("alipay.trade.query", number.clone()).await;
    assert_eq!(
        (&found["trade_status"], &found["total_amount"]),
        (&json!("TRADE_SUCCESS"), &json!("1.00"))
    );
    let closed = bench.alipay("alipay.trade.close", number).await;
    assert_eq!(closed["sub_code"], "ACQ.TRADE_STATUS_ERROR");
    let repeated = bench.alipay("alipay.trade.precreate", content).await;
    assert_eq!(repeated["sub_code"], "ACQ.TRADE_HAS_SUCCESS");
    let book = bench.admin("GET", "/book?channel=alipay", None).await.1;
    assert_eq!(book["charges"][0]["amountMinor"], 100);
}

#[tokio::test]
async fn an_unknown_app_is_answered_without_a_signature() {
    let bench = Bench::start().await;
    let url = format!(
        "http://{}/gateway.do?app_id=1&method=alipay.trade.query",
        bench.running.public()
    );
    let reply = bench.send(bench.http.post(url)).await.unwrap();
    assert_eq!(
        reply.json()["error_response"]["sub_code"],
        "isv.invalid-app-id"
    );
    assert!(reply.json().get("sign").is_none());
}

#[tokio::test]
async fn an_alipay_bill_is_gbk_with_totals() {
    let bench = Bench::start().await;
    let content = json!({"out_trade_no": "b1", "total_amount": "2.50", "subject": "thing"});
    bench.alipay("alipay.trade.precreate", content).await;
    bench.pay("alipay", "b1").await;
    bench.advance(2 * 86_400).await;
    let content = json!({"bill_type": "trade", "bill_date": today()});
    let node = bench
        .alipay("alipay.data.dataservice.bill.downloadurl.query", content)
        .await;
    let url = node["bill_download_url"].as_str().unwrap();
    let reply = bench.send(bench.http.get(url)).await.unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(reply.body)).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_index(0).unwrap(), &mut bytes).unwrap();
    let text = encoding_rs::GBK.decode(&bytes).0;
    assert!(text.contains("b1\t,交易,"), "{text}");
    assert!(
        text.contains("#交易合计：1笔，商家实收共2.50元，商家优惠共0.00元"),
        "{text}"
    );
}

#[tokio::test]
async fn callbacks_climb_the_ladder_with_the_calendar() {
    let (url, mut received) = merchant(vec![500, 401]).await;
    let bench = Bench {
        notify_url: url,
        ..Bench::start().await
    };
    bench
        .wechat("POST", NATIVE, &bench.order("ladder", 100))
        .await;
    bench.pay("wechat", "ladder").await;
    let first = next(&mut received).await;
    let mut later = Vec::new();
    for _ in 0..2 {
        // The attempt is queued again after its answer: move the calendar until it is sent.
        let sent = loop {
            bench.advance(15).await;
            let wait = Duration::from_millis(50);
            if let Ok(Some(body)) = tokio::time::timeout(wait, received.recv()).await {
                break body;
            }
        };
        later.push(sent);
    }
    assert!(later.iter().all(|body| body["id"] == first["id"]));
    bench.advance(86_400).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(received.try_recv().is_err(), "acknowledged, yet sent again");
}

#[tokio::test]
async fn callbacks_can_be_repeated_missed_and_forged() {
    let (url, mut received) = merchant(Vec::new()).await;
    let bench = Bench {
        notify_url: url,
        ..Bench::start().await
    };
    for (fault, count) in [
        ("duplicate-callback", 3),
        ("forged-callback", 2),
        ("missing-callback", 0),
    ] {
        bench.wechat("POST", NATIVE, &bench.order(fault, 100)).await;
        bench.arm(fault, "wechat").await;
        bench.pay("wechat", fault).await;
        for _ in 0..count {
            next(&mut received).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(received.try_recv().is_err());

    let replay = json!({"channel": "wechat", "outTradeNo": "missing-callback", "times": 2});
    let (_, replayed) = bench.admin("POST", "/callbacks/replay", Some(replay)).await;
    assert_eq!(replayed, json!({"statuses": [200, 200], "acknowledged": 2}));
    bench
        .wechat("POST", NATIVE, &bench.order("unpaid", 100))
        .await;
    for kind in ["signature", "amount", "app", "stale"] {
        let forge = json!({"channel": "wechat", "outTradeNo": "unpaid", "kind": kind});
        let (status, forged) = bench.admin("POST", "/callbacks/forge", Some(forge)).await;
        assert_eq!((status, &forged["status"]), (200, &json!(200)), "{kind}");
    }
    let replay = json!({"channel": "wechat", "outTradeNo": "unpaid"});
    assert_eq!(
        bench
            .admin("POST", "/callbacks/replay", Some(replay))
            .await
            .0,
        409
    );
}

#[tokio::test]
async fn a_close_races_a_payment() {
    let bench = Bench::start().await;
    let body = json!({"mchid": bench.key("wechat-mch-id")}).to_string();
    for (fault, status) in [("pay-after-close-race", 400), ("paid-despite-close", 204)] {
        bench.wechat("POST", NATIVE, &bench.order(fault, 100)).await;
        bench.arm(fault, "wechat").await;
        let target = format!("/v3/pay/transactions/out-trade-no/{fault}/close");
        assert_eq!(bench.wechat("POST", &target, &body).await.status, status);
        bench.arm("query-lag", "wechat").await;
        for state in ["NOTPAY", "SUCCESS"] {
            let found = bench
                .wechat("GET", &bench.query_target(fault), "")
                .await
                .json();
            assert_eq!(found["trade_state"], state);
        }
    }
}
