use jiff::civil::date;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::outcome::{Outcome, UncertaintyReason};
use crate::testing::{
    self, KEY_ID, MERCHANT, NUMBER, OTHER_KEY_ID, REFUND_NUMBER, Reply, Server, WECHAT_APP, now,
    result, short,
};
use crate::{
    Action, Bill, CallbackError, Channel, Channels, Closed, OrderState, ReadError, RefundState,
};
use payment_core::{ChannelKind, Currency, Money};
use std::sync::Arc;

mod certificates;
mod methods;
mod refunds;

const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";

/// How an answer or a callback is signed.
struct Signature {
    age: i64,
    key_id: &'static str,
    keys: &'static testing::Keys,
}

fn right() -> Signature {
    Signature {
        age: 0,
        key_id: KEY_ID,
        keys: testing::channel(),
    }
}

impl Signature {
    fn headers(&self, body: &[u8]) -> Vec<(String, String)> {
        let timestamp = (now().as_second() - self.age).to_string();
        let message = super::sign::answer_message(&timestamp, NONCE, body);
        [
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Nonce", NONCE.to_owned()),
            ("Wechatpay-Serial", self.key_id.to_owned()),
            ("Wechatpay-Signature", self.keys.sign(message)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn reply(&self, status: u16, body: impl Into<Vec<u8>>) -> Reply {
        let body = body.into();
        Reply::Answer {
            status,
            headers: self.headers(&body),
            body,
        }
    }
}

fn signed(status: u16, body: &Value) -> Reply {
    right().reply(status, body.to_string())
}

fn refusal(status: u16, code: &str) -> Reply {
    signed(status, &json!({"code": code, "message": "m"}))
}

fn channel(base: &str) -> Arc<Channel> {
    let files = testing::credentials();
    let channels = Channels::load(&testing::config(base, files.path())).unwrap();
    channels.get(ChannelKind::Wechat).unwrap()
}

async fn answering(reply: Reply) -> (Arc<Channel>, Server) {
    let server = Server::start(|_| vec![reply]).await;
    (channel(&server.base), server)
}

fn transaction(state: &str) -> Value {
    json!({
        "appid": WECHAT_APP, "mchid": MERCHANT, "out_trade_no": NUMBER,
        "transaction_id": "4200001", "trade_state": state,
        "success_time": "2026-10-03T10:34:56+08:00",
        "amount": {"total": 9999, "payer_total": 9000, "currency": "CNY"},
    })
}

#[tokio::test]
async fn create_sends_what_it_signs_and_hands_out_the_code() {
    let code = json!({"code_url": "weixin://wxpay/bizpayurl?pr=1"});
    let (wechat, server) = answering(signed(200, &code)).await;
    let Outcome::Done(created) = wechat.create(&testing::order(), now()).await else {
        panic!("not created");
    };
    let url = "weixin://wxpay/bizpayurl?pr=1".to_owned();
    assert_eq!(created.action, Action::QrCode { url });

    let seen = &server.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/v3/pay/transactions/native")
    );
    assert_eq!(
        serde_json::from_str::<Value>(&seen.body).unwrap(),
        json!({
            "appid": WECHAT_APP, "mchid": MERCHANT, "description": "茶 & tea",
            "out_trade_no": NUMBER, "time_expire": "2026-09-22T00:13:20+08:00",
            "notify_url": "https://pay.example.com/callbacks/x",
            "amount": {"total": 9999, "currency": "CNY"},
        })
    );
    assert_eq!(seen.headers["wechatpay-serial"], KEY_ID);
    assert_eq!(seen.headers["accept"], "application/json");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert!(seen.headers["user-agent"].starts_with("payment-runtime/"));
    assert_authorized(seen);
}

/// Recomputes the five lines from what arrived.
fn assert_authorized(seen: &testing::Seen) {
    let fields = seen.headers["authorization"]
        .strip_prefix("WECHATPAY2-SHA256-RSA2048 ")
        .unwrap();
    let field = |name: &str| {
        let start = format!("{name}=\"");
        let field = fields
            .split(',')
            .find_map(|field| field.strip_prefix(&start));
        field.unwrap().trim_end_matches('"').to_owned()
    };
    let (timestamp, nonce) = (field("timestamp"), field("nonce_str"));
    assert_eq!(timestamp, now().as_second().to_string());
    assert_eq!(field("mchid"), MERCHANT);
    assert_eq!(
        field("serial_no"),
        "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
    );
    let (method, target, body) = (&seen.method, &seen.target, &seen.body);
    let message = format!("{method}\n{target}\n{timestamp}\n{nonce}\n{body}\n");
    // RSASSA-PKCS1-v1_5 is deterministic: equal messages have equal signatures.
    assert_eq!(field("signature"), testing::merchant().sign(message));
}

#[test]
fn the_request_message_is_the_one_openssl_signed() {
    let url = "https://api.mch.weixin.qq.com/v3/pay/transactions/out-trade-no/P20261003000001?mchid=1900000109";
    let stamp = super::sign::Stamp {
        seconds: 1_790_000_000,
        nonce: NONCE.to_owned(),
    };
    let message = stamp.request_message("GET", &url.parse().unwrap(), "");
    assert_eq!(
        message,
        "GET\n/v3/pay/transactions/out-trade-no/P20261003000001?mchid=1900000109\n1790000000\n\
         593BEC0C930BF1AFEB40B4A08C8FB242\n\n"
    );
    let key = crate::crypto::VerifyingKey::parse(testing::OPENSSL_PUBLIC_KEY).unwrap();
    assert!(key.verifies(message.as_bytes(), OPENSSL_REQUEST));
    // A 204's body is empty; its line is signed all the same.
    let empty = super::sign::answer_message("1790000000", NONCE, b"");
    assert!(key.verifies(&empty, OPENSSL_EMPTY_ANSWER));
}

const OPENSSL_REQUEST: &str = "SX9Gw75a/HMhJR2m6EnSoMcDeXlG67ViUdD7up5ZmYqK61ULCWjkLgY/FaXxTU8Wzb6VDS7hSdeHIFkoDnWwMV8tGGZ8QtiOSNHY2cZzr6jtJiAFnjYPH9qznftF2BJljQMXyIhsI0fM/tgKPhRtzatKF59/143MeWLurBx3G0YD2+ij1q1E7XSor9F4s566C03UFNFpNiVibBo9xLitDBLbmUW51Eu6mgac0iTyulTMZPkrUbStsZuP8Du9TecHNKEzZFd6wLeuBf7oDAQkm/gyKmAkvQawZ0Li70fQ9DrFiOuS8YjbcsthuYYqwYonLgxKGnQAnX4UrxGkHs3Ucg==";
const OPENSSL_EMPTY_ANSWER: &str = "STDWs5fR8Q87jOmAyx37JqCDtmurDCK//BSIrQX9ZAi8hf+BkYe7O8Sc7bG+BCsBVZTgxSgys6aVtXI6oMpwDFsqHNNtQgGZxOu3b8TKjhzJ8BFSZQXtqzzEGYt5+emVbvbReYDQcgXXtECIjTYnwfsXIoQgtb0i8T42kI8safX2gCgoNJ4mVSdMUnO9y0HhL0arZ49LpbQ8gQYSOJ5N/481poLX70dseMj4Ealb7rz6es8KI+RPLDa76/RaRUT6aEXWhS9w+WuaVuryOxuvUZJ2w+ddY8E8yfBYJHHP+nC0SFbrfFs3f8Lq/wIeomXZaG0Q9oaEwsp9Gqmynn4Uiw==";

#[tokio::test]
async fn create_outcomes() {
    let code = || json!({"code_url": "weixin://x"});
    let unsigned = |status, code| Reply::plain(status, json!({"code": code}).to_string());
    let cases = [
        ("signed", signed(200, &code()), "done"),
        (
            "unsigned success",
            Reply::plain(200, code().to_string()),
            "?unverifiable",
        ),
        (
            "success without code",
            signed(200, &json!({})),
            "?unverifiable",
        ),
        (
            "empty code",
            signed(200, &json!({"code_url": ""})),
            "?unverifiable",
        ),
        ("no JSON", right().reply(200, "x"), "?unverifiable"),
        ("accepted", refusal(202, "ACCEPTED"), "?in_progress"),
        ("redirect", signed(302, &code()), "?unverifiable"),
        ("parameters", refusal(400, "PARAM_ERROR"), "PARAM_ERROR"),
        (
            "unsigned refusal",
            unsigned(400, "PARAM_ERROR"),
            "?unverifiable",
        ),
        ("unsigned 401", unsigned(401, "SIGN_ERROR"), "?unverifiable"),
        ("unsigned 403", unsigned(403, "NO_AUTH"), "?unverifiable"),
        ("signature", refusal(401, "SIGN_ERROR"), "SIGN_ERROR"),
        ("permission", refusal(403, "NO_AUTH"), "NO_AUTH"),
        (
            "application",
            refusal(400, "APPID_MCHID_NOT_MATCH"),
            "APPID_MCHID_NOT_MATCH",
        ),
        ("merchant", refusal(400, "MCH_NOT_EXISTS"), "MCH_NOT_EXISTS"),
        (
            "request",
            refusal(400, "INVALID_REQUEST"),
            "INVALID_REQUEST",
        ),
        (
            "used before",
            refusal(403, "OUT_TRADE_NO_USED"),
            "?in_progress",
        ),
        ("paid before", refusal(400, "ORDERPAID"), "?in_progress"),
        (
            "closed before",
            refusal(400, "ORDER_CLOSED"),
            "?in_progress",
        ),
        ("paying", refusal(400, "USERPAYING"), "?in_progress"),
        (
            "system error as 4xx",
            refusal(400, "SYSTEMERROR"),
            "?server_error",
        ),
        ("limited", refusal(429, "FREQUENCY_LIMITED"), "?busy"),
        (
            "limited as 403",
            refusal(403, "RATELIMIT_EXCEEDED"),
            "?busy",
        ),
        (
            "server error",
            refusal(500, "SYSTEM_ERROR"),
            "?server_error",
        ),
        ("gateway", Reply::plain(502, "bad gateway"), "?server_error"),
        ("maintenance", Reply::plain(503, ""), "?server_error"),
        ("hang-up", Reply::HangUp, "?transport"),
        ("cut off", Reply::CutOff, "?transport"),
        ("silence", Reply::Silence, "?timeout"),
        (
            "huge",
            right().reply(200, vec![b' '; 1_100_000]),
            "?unverifiable",
        ),
    ];
    for (name, reply, expected) in cases {
        let (wechat, _server) = answering(reply).await;
        let outcome = wechat.create(&testing::order(), now()).await;
        assert_eq!(short(outcome), expected, "{name}");
    }
}

#[tokio::test]
async fn a_repeat_with_other_parameters_is_asked_for_whatever_its_code() {
    let body = json!({"code": "INVALID_REQUEST", "message": "m"}).to_string();
    let mut headers = right().headers(body.as_bytes());
    headers.push((
        "Request-ID".to_owned(),
        "08F78BB5A8061080-268498688".to_owned(),
    ));
    let (wechat, _server) = answering(Reply::Answer {
        status: 400,
        headers,
        body: body.into_bytes(),
    })
    .await;
    let outcome = wechat.create(&testing::order(), now()).await;
    assert_eq!(short(outcome), "?in_progress");
}

#[tokio::test]
async fn answers_are_believed_by_key_and_age() {
    let cases = [
        ("second key", OTHER_KEY_ID, testing::other(), 0, "done"),
        (
            "keys mixed up",
            OTHER_KEY_ID,
            testing::channel(),
            0,
            "?unverifiable",
        ),
        (
            "unknown key",
            "PUB_KEY_ID_9",
            testing::channel(),
            0,
            "?unverifiable",
        ),
        (
            "our own key",
            KEY_ID,
            testing::merchant(),
            0,
            "?unverifiable",
        ),
        ("old", KEY_ID, testing::channel(), 299, "done"),
        ("stale", KEY_ID, testing::channel(), 300, "?unverifiable"),
        (
            "from the future",
            KEY_ID,
            testing::channel(),
            -300,
            "?unverifiable",
        ),
    ];
    for (name, key_id, keys, age, expected) in cases {
        let signature = Signature { age, key_id, keys };
        let (wechat, _server) = answering(signature.reply(200, r#"{"code_url":"x"}"#)).await;
        let outcome = wechat.create(&testing::order(), now()).await;
        assert_eq!(short(outcome), expected, "{name}");
    }
}

#[tokio::test]
async fn what_surely_was_not_sent_is_refused() {
    // Nobody listens there once the listener is gone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcome = channel(&base).create(&testing::order(), now()).await;
    assert_eq!(short(outcome), "!NOT_CONNECTED");
}

#[tokio::test]
async fn a_connection_that_is_never_ready_was_not_sent_on() {
    // Accepts and stays silent, so the TLS handshake runs into the connect time-out.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let outcome = channel(&base).create(&testing::order(), now()).await;
    assert_eq!(short(outcome), "!NOT_CONNECTED");
}

#[tokio::test]
async fn local_rules_refuse_before_sending() {
    let (wechat, server) = answering(signed(200, &json!({"code_url": "x"}))).await;
    let dollars = Money::new(100, Currency::parse("USD").unwrap());
    let cases = [
        (
            "!CURRENCY_NOT_SUPPORTED",
            crate::NewOrder {
                amount: dollars,
                ..testing::order()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            crate::NewOrder {
                amount: Money::new(0, Currency::CNY),
                ..testing::order()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            crate::NewOrder {
                amount: Money::new(2_147_483_648, Currency::CNY),
                ..testing::order()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            crate::NewOrder {
                channel_order_no: "a/../b".to_owned(),
                ..testing::order()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            crate::NewOrder {
                notify_url: "https://a/b?c=d".to_owned(),
                ..testing::order()
            },
        ),
    ];
    for (expected, order) in cases {
        assert_eq!(
            short(wechat.create(&order, now()).await),
            expected,
            "{order:?}"
        );
    }
    assert_eq!(
        short(wechat.query("short", now()).await),
        "!INVALID_LOCAL_REQUEST"
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn query_states() {
    let cases = [
        ("SUCCESS", OrderState::Paid),
        ("REFUND", OrderState::Refunded),
        ("NOTPAY", OrderState::NotPaid),
        ("USERPAYING", OrderState::NotPaid),
        ("CLOSED", OrderState::Closed),
        ("REVOKED", OrderState::Closed),
    ];
    for (text, state) in cases {
        let (wechat, server) = answering(signed(200, &transaction(text))).await;
        let Outcome::Done(status) = wechat.query(NUMBER, now()).await else {
            panic!("{text}");
        };
        assert_eq!(status.state, state);
        assert_eq!(status.amount, Some(Money::new(9_999, Currency::CNY)));
        assert_eq!(status.transaction_id.as_deref(), Some("4200001"));
        assert_eq!(
            status.paid_at,
            Some("2026-10-03T02:34:56Z".parse().unwrap())
        );
        let seen = &server.seen()[0];
        assert_eq!(
            seen.target,
            format!("/v3/pay/transactions/out-trade-no/{NUMBER}?mchid={MERCHANT}")
        );
        assert_authorized(seen);
    }
}

#[tokio::test]
async fn query_answers_that_prove_nothing() {
    let with = |field: &str, value: Value| {
        let mut body = transaction("SUCCESS");
        body[field] = value;
        signed(200, &body)
    };
    let cases = [
        with("out_trade_no", json!("P20261003000002")),
        with("mchid", json!("1900000110")),
        with("appid", json!("wx0")),
        with("trade_state", json!("NEW_STATE")),
        with("transaction_id", Value::Null),
        with("amount", Value::Null),
        with("amount", json!({"total": 1, "currency": "XXXX"})),
        Reply::plain(404, r#"{"code":"ORDER_NOT_EXIST"}"#),
    ];
    for (index, reply) in cases.into_iter().enumerate() {
        let (wechat, _server) = answering(reply).await;
        assert_eq!(
            short(wechat.query(NUMBER, now()).await),
            "?unverifiable",
            "{index}"
        );
    }
}

#[tokio::test]
async fn a_signed_not_found_is_an_answer() {
    for code in ["ORDER_NOT_EXIST", "ORDERNOTEXIST"] {
        let (wechat, _server) = answering(refusal(404, code)).await;
        let Outcome::Done(status) = wechat.query(NUMBER, now()).await else {
            panic!("{code}");
        };
        assert_eq!(status.state, OrderState::NotFound);
    }
}

#[tokio::test]
async fn close_outcomes() {
    let cases = [
        (right().reply(204, ""), Ok(Closed::Closed)),
        (refusal(400, "ORDER_CLOSED"), Ok(Closed::Closed)),
        (refusal(400, "ORDER_PAID"), Ok(Closed::AlreadyPaid)),
        (refusal(400, "ORDERPAID"), Ok(Closed::AlreadyPaid)),
        (refusal(404, "ORDER_NOT_EXIST"), Ok(Closed::NotFound)),
        (Reply::plain(204, ""), Err("?unverifiable")),
        (refusal(202, "USER_PAYING"), Err("?in_progress")),
        (refusal(429, "FREQUENCY_LIMITED"), Err("?busy")),
        (refusal(403, "RULE_LIMIT"), Err("RULE_LIMIT")),
        (refusal(500, "BANK_ERROR"), Err("?server_error")),
    ];
    for (index, (reply, expected)) in cases.into_iter().enumerate() {
        let (wechat, server) = answering(reply).await;
        let outcome = match wechat.close(NUMBER, now()).await {
            Outcome::Done(closed) => Ok(closed),
            other => Err(short(other)),
        };
        assert_eq!(outcome, expected.map_err(str::to_owned), "{index}");
        assert_eq!(server.seen()[0].body, r#"{"mchid":"1900000109"}"#);
    }
}

#[tokio::test]
async fn a_bill_is_fetched_with_its_token_signed() {
    let file = super::bill::tests::BILL.as_bytes();
    let server = Server::start(|base| {
        let pointer = json!({
            "hash_type": "SHA1", "hash_value": hex::encode(Sha1::digest(file)),
            "download_url": format!("{base}/v3/billdownload/file?token=a%2Bb%3D&tartype=gzip"),
        });
        vec![signed(200, &pointer), Reply::plain(200, file)]
    })
    .await;
    let outcome = channel(&server.base).bill(date(2026, 10, 3), now()).await;
    let Outcome::Done(Bill::File(mut bill)) = outcome else {
        panic!("{outcome:?}");
    };
    let totals = bill.read(|_| Ok::<(), ()>(())).unwrap();
    assert_eq!((totals.payments, totals.refunds), (2, 1));
    assert_eq!(bill.size_bytes(), file.len() as u64);
    let seen = server.seen();
    assert_eq!(
        seen[0].target,
        "/v3/bill/tradebill?bill_date=2026-10-03&bill_type=ALL&tar_type=GZIP"
    );
    assert_eq!(
        seen[1].target,
        "/v3/billdownload/file?token=a%2Bb%3D&tartype=gzip"
    );
    assert_authorized(&seen[0]);
    assert_authorized(&seen[1]);
}

#[tokio::test]
async fn bills_that_are_not_there() {
    let day = date(2026, 10, 3);
    let cases = [
        (refusal(400, "NO_STATEMENT_EXIST"), "empty"),
        (refusal(400, "STATEMENT_CREATING"), "not ready"),
        (
            Reply::plain(400, r#"{"code":"NO_STATEMENT_EXIST"}"#),
            "?unverifiable",
        ),
        (refusal(403, "NO_AUTH"), "NO_AUTH"),
    ];
    for (index, (reply, expected)) in cases.into_iter().enumerate() {
        let (wechat, _server) = answering(reply).await;
        let outcome = match wechat.bill(day, now()).await {
            Outcome::Done(Bill::NotReady) => "not ready".to_owned(),
            Outcome::Done(Bill::Empty) => "empty".to_owned(),
            other => short(other),
        };
        assert_eq!(outcome, expected, "{index}");
    }
}

/// How fetching a bill and reading it ends.
async fn fetched(announced: &str, reply: Reply) -> String {
    let server = Server::start(|base| {
        let pointer = json!({
            "hash_type": "SHA1", "hash_value": announced,
            "download_url": format!("{base}/x?token=1"),
        });
        vec![signed(200, &pointer), reply]
    })
    .await;
    match channel(&server.base).bill(date(2026, 10, 3), now()).await {
        Outcome::Done(Bill::File(mut bill)) => match bill.read(|_| Ok::<(), ()>(())) {
            Err(ReadError::Refused(error)) => error.reason().to_owned(),
            other => format!("{other:?}"),
        },
        other => short(other),
    }
}

#[tokio::test]
async fn a_bill_that_is_not_the_announced_one_is_refused() {
    let file = super::bill::tests::BILL.as_bytes();
    for (reply, expected) in [
        (Reply::plain(200, file), "wrong-hash"),
        (Reply::plain(200, &file[..100]), "wrong-hash"),
        (Reply::plain(200, ""), "empty-file"),
        (Reply::plain(200, "<html>"), "html-page"),
        (Reply::plain(403, r#"{"code":"NO_AUTH"}"#), "?unverifiable"),
        (Reply::CutOff, "?transport"),
        (Reply::HangUp, "?transport"),
    ] {
        assert_eq!(fetched("00", reply).await, expected);
    }
}

// --- callbacks ---

fn envelope(event: &str, plain: &Value) -> Vec<u8> {
    let ciphertext = testing::seal(b"c5ac7061fcc2", "transaction", &plain.to_string());
    json!({
        "id": "EV-1", "create_time": "2026-10-03T10:34:56+08:00",
        "resource_type": "encrypt-resource", "event_type": event, "summary": "支付成功",
        "resource": {
            "original_type": "transaction", "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": ciphertext, "associated_data": "transaction", "nonce": "c5ac7061fcc2",
        },
    })
    .to_string()
    .into_bytes()
}

fn deliver(headers: &[(String, String)], body: &[u8]) -> Result<crate::Notice, CallbackError> {
    let find = |name: &str| {
        let found = headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    channel("http://localhost").verify_callback(&find, body, now())
}

fn set(headers: &mut [(String, String)], name: &str, value: &str) {
    let header = headers.iter_mut().find(|(known, _)| known == name).unwrap();
    value.clone_into(&mut header.1);
}

#[test]
fn a_payment_notice_is_read() {
    let body = envelope("TRANSACTION.SUCCESS", &transaction("SUCCESS"));
    let notice = deliver(&right().headers(&body), &body).unwrap();
    assert_eq!(notice.event_id, "TRANSACTION.SUCCESS");
    assert_eq!(notice.channel_order_no, NUMBER);
    assert_eq!(notice.transaction_id, "4200001");
    assert_eq!(notice.state, OrderState::Paid);
    assert_eq!(notice.amount, Money::new(9_999, Currency::CNY));
    assert_eq!(
        notice.paid_at,
        Some("2026-10-03T02:34:56Z".parse().unwrap())
    );
    assert_eq!(notice.refund, None);
}

#[test]
fn refund_notices_are_read() {
    let plain = json!({
        "mchid": MERCHANT, "transaction_id": "4200001", "out_trade_no": NUMBER,
        "refund_id": "503", "out_refund_no": "R1", "refund_status": "SUCCESS",
        "success_time": "2026-10-03T10:34:56+08:00",
        "amount": {"total": 9999, "refund": 100, "payer_total": 9999, "payer_refund": 100},
    });
    for (event, state) in [
        ("REFUND.SUCCESS", RefundState::Succeeded),
        ("REFUND.CLOSED", RefundState::Failed),
        ("REFUND.ABNORMAL", RefundState::Abnormal),
    ] {
        let body = envelope(event, &plain);
        let notice = deliver(&right().headers(&body), &body).unwrap();
        assert_eq!(notice.event_id, format!("{event}:R1"));
        assert_eq!(notice.state, OrderState::Refunded);
        assert_eq!(notice.amount.minor, 9_999);
        let refund = notice.refund.unwrap();
        assert_eq!(refund.state, state);
        assert_eq!(refund.refund_no.as_deref(), Some("R1"));
        assert_eq!(refund.amount, Some(Money::new(100, Currency::CNY)));
        assert_eq!(refund.channel_refund_id.as_deref(), Some("503"));
        assert_eq!(
            refund.refunded_at,
            Some("2026-10-03T02:34:56Z".parse().unwrap())
        );
    }
}

#[test]
fn no_byte_of_a_callback_can_be_changed() {
    let body = envelope("TRANSACTION.SUCCESS", &transaction("SUCCESS"));
    let headers = right().headers(&body);
    let wechat = channel("http://localhost");
    let find = |name: &str| {
        let found = headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    for index in 0..body.len() {
        let mut changed = body.clone();
        changed[index] ^= 1;
        let result = wechat.verify_callback(&find, &changed, now());
        assert_eq!(result, Err(CallbackError::BadSignature), "byte {index}");
    }
    let longer = [body.as_slice(), b" "].concat();
    assert_eq!(
        wechat.verify_callback(&find, &longer, now()),
        Err(CallbackError::BadSignature)
    );
}

#[test]
fn headers_that_do_not_fit_are_told_apart() {
    let body = envelope("TRANSACTION.SUCCESS", &transaction("SUCCESS"));
    let cases = [
        (
            "Wechatpay-Timestamp",
            "1790000001",
            CallbackError::BadSignature,
        ),
        ("Wechatpay-Nonce", "x", CallbackError::BadSignature),
        ("Wechatpay-Signature", "AAAA", CallbackError::BadSignature),
        ("Wechatpay-Signature", "", CallbackError::BadSignature),
        (
            "Wechatpay-Signature",
            "WECHATPAY/SIGNTEST/qNH1=",
            CallbackError::Probe,
        ),
        (
            "Wechatpay-Serial",
            "PUB_KEY_ID_0",
            CallbackError::UnknownKey,
        ),
        (
            "Wechatpay-Serial",
            OTHER_KEY_ID,
            CallbackError::BadSignature,
        ),
    ];
    for (name, value, expected) in cases {
        let mut headers = right().headers(&body);
        set(&mut headers, name, value);
        assert_eq!(deliver(&headers, &body), Err(expected), "{name} {value}");
    }
    assert!(CallbackError::Probe.is_probe());
    assert!(matches!(
        deliver(&[], &body),
        Err(CallbackError::Malformed(_))
    ));
}

#[test]
fn a_signature_is_believed_for_five_minutes_both_ways() {
    let body = envelope("TRANSACTION.SUCCESS", &transaction("SUCCESS"));
    for (age, stale) in [
        (0, false),
        (299, false),
        (300, true),
        (3600, true),
        (-299, false),
        (-300, true),
    ] {
        let signature = Signature { age, ..right() };
        let result = deliver(&signature.headers(&body), &body);
        assert_eq!(result == Err(CallbackError::Stale), stale, "{age}");
    }
}

#[test]
fn signed_content_is_checked_all_the_same() {
    let with = |field: &str, value: Value| {
        let mut plain = transaction("SUCCESS");
        plain[field] = value;
        plain
    };
    let mut long_nonce: Value =
        serde_json::from_slice(&envelope("TRANSACTION.SUCCESS", &transaction("SUCCESS"))).unwrap();
    long_nonce["resource"]["nonce"] = json!("c5ac7061fcc2c5ac");
    let cases = [
        (
            envelope("TRANSACTION.SUCCESS", &with("mchid", json!("1"))),
            true,
        ),
        (
            envelope("TRANSACTION.SUCCESS", &with("appid", json!("wx1"))),
            true,
        ),
        (
            envelope("TRANSACTION.SUCCESS", &with("amount", Value::Null)),
            false,
        ),
        (
            envelope("TRANSACTION.SUCCESS", &with("trade_state", json!("?"))),
            false,
        ),
        (envelope("SOMETHING.ELSE", &transaction("SUCCESS")), false),
        (long_nonce.to_string().into_bytes(), false),
        (b"{}".to_vec(), false),
        (b"".to_vec(), false),
    ];
    for (index, (body, wrong_merchant)) in cases.into_iter().enumerate() {
        let error = deliver(&right().headers(&body), &body).unwrap_err();
        assert_eq!(
            error == CallbackError::WrongMerchant,
            wrong_merchant,
            "{index} {error}"
        );
        assert_eq!(
            matches!(error, CallbackError::Malformed(_)),
            !wrong_merchant,
            "{index} {error}"
        );
    }
}

#[test]
fn subjects_are_cut_at_a_character() {
    let long = crate::NewOrder {
        subject: format!("a\n{}", "茶".repeat(100)),
        ..testing::order()
    };
    let cut = super::orders::subject(&long);
    assert!(cut.len() <= 127 && cut.starts_with("a 茶茶"), "{cut}");
    let empty = crate::NewOrder {
        subject: " \n".to_owned(),
        ..testing::order()
    };
    assert_eq!(super::orders::subject(&empty), NUMBER);
}

#[test]
fn debug_shows_no_key() {
    let text = format!("{:?}", channel("http://localhost"));
    assert!(text.contains(MERCHANT) && text.contains(KEY_ID), "{text}");
    assert!(!text.contains(API_KEY_START), "{text}");
}

const API_KEY_START: &str = "0123456789abcdef";

#[test]
fn reasons_have_stable_names() {
    assert_eq!(UncertaintyReason::ServerError.as_str(), "server_error");
    assert_eq!(UncertaintyReason::InProgress.as_str(), "in_progress");
}
