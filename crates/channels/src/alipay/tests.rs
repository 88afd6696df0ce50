use std::collections::BTreeMap;
use std::sync::Arc;

use contract::names::channel_key as key;
use jiff::civil::date;
use payment_core::{ChannelKind, Currency, Money, PayMethod};
use serde_json::{Value, json};

use crate::crypto::VerifyingKey;
use crate::outcome::Outcome;
use crate::testing::{self, ALIPAY_APP, NUMBER, REFUND_NUMBER, Reply, Server, now, result, short};
use crate::{
    Action, Bill, CallbackError, Channel, Channels, Closed, NewOrder, Notice, OrderState,
    RefundState,
};

mod certificates;
mod methods;
mod refunds;

fn order() -> NewOrder {
    testing::order_by(PayMethod::AlipayPrecreate)
}

fn channel(base: &str) -> Arc<Channel> {
    let files = testing::credentials();
    let channels = Channels::load(&testing::config(base, files.path())).unwrap();
    channels.get(ChannelKind::Alipay).unwrap()
}

async fn answering(reply: Reply) -> (Arc<Channel>, Server) {
    let server = Server::start(|_| vec![reply]).await;
    (channel(&server.base), server)
}

/// An answer as the gateway writes it: the node's text is signed as it stands.
fn signed_text(method: &str, node: &str) -> Reply {
    let sign = testing::channel().sign(node);
    let name = method.replace('.', "_");
    Reply::plain(
        200,
        format!(r#"{{"{name}_response":{node},"sign":"{sign}"}}"#),
    )
}

fn signed(method: &str, node: &Value) -> Reply {
    signed_text(method, &node.to_string())
}

fn refusal(method: &str, code: &str, sub_code: &str) -> Reply {
    signed(
        method,
        &json!({"code": code, "msg": "m", "sub_code": sub_code, "sub_msg": "s"}),
    )
}

fn created() -> Value {
    json!({"code": "10000", "msg": "Success", "out_trade_no": NUMBER, "qr_code": "https://qr.alipay.com/bax1"})
}

fn form(text: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

fn joined(fields: &BTreeMap<String, String>, without: &[&str]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .filter(|(name, _)| !without.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

#[tokio::test]
async fn create_signs_all_parameters_raw_and_sorted() {
    let (alipay, server) = answering(signed(super::orders::PRECREATE, &created())).await;
    let Outcome::Done(code) = alipay.create(&order(), now()).await else {
        panic!("not created");
    };
    let url = "https://qr.alipay.com/bax1".to_owned();
    assert_eq!(code.action, Action::QrCode { url });

    let seen = &server.seen()[0];
    let (path, query) = seen.target.split_once('?').unwrap();
    assert_eq!((seen.method.as_str(), path), ("POST", "/gateway.do"));
    let mut parameters = form(query);
    assert!(!parameters.contains_key("biz_content"));
    parameters.extend(form(&seen.body));
    for (name, value) in [
        ("app_id", ALIPAY_APP),
        ("method", "alipay.trade.precreate"),
        ("format", "JSON"),
        ("charset", "utf-8"),
        ("sign_type", "RSA2"),
        ("timestamp", "2026-09-21 22:13:20"),
        ("version", "1.0"),
        ("notify_url", "https://pay.example.com/callbacks/x"),
    ] {
        assert_eq!(parameters[name], value, "{name}");
    }
    assert_eq!(
        serde_json::from_str::<Value>(&parameters["biz_content"]).unwrap(),
        json!({
            "out_trade_no": NUMBER, "total_amount": "99.99", "subject": "茶   tea",
            "product_code": "FACE_TO_FACE_PAYMENT", "time_expire": "2026-09-22 00:13:20",
        })
    );
    // RSASSA-PKCS1-v1_5 is deterministic: equal messages have equal signatures.
    let expected = testing::merchant().sign(joined(&parameters, &["sign"]));
    assert_eq!(parameters["sign"], expected);
}

#[tokio::test]
async fn create_outcomes() {
    let ok = created().to_string();
    let method = super::orders::PRECREATE;
    let with = |field: &str, value: Value| {
        let mut node = created();
        node[field] = value;
        signed(method, &node)
    };
    let refused = |code, sub_code| refusal(method, code, sub_code);
    let error =
        |code: &str| json!({"error_response": {"code": code, "sub_code": "isv.x"}}).to_string();
    let cases = [
        ("signed", signed(method, &created()), "done"),
        (
            "unsigned",
            Reply::plain(
                200,
                format!(r#"{{"alipay_trade_precreate_response":{ok}}}"#),
            ),
            "?unverifiable",
        ),
        (
            "wrong node",
            signed(super::orders::QUERY, &created()),
            "?unverifiable",
        ),
        (
            "unsigned error",
            Reply::plain(200, error("40002")),
            "?unverifiable",
        ),
        ("no JSON", Reply::plain(200, "<html>"), "?unverifiable"),
        (
            "another order",
            with("out_trade_no", json!("P2")),
            "?unverifiable",
        ),
        ("no code", with("qr_code", json!("")), "?unverifiable"),
        ("in process", refused("10003", ""), "?in_progress"),
        (
            "unavailable",
            refused("20000", "isp.unknow-error"),
            "?server_error",
        ),
        (
            "unavailable inside",
            refused("20000", "aop.unknow-error"),
            "?server_error",
        ),
        (
            "system error",
            refused("40004", "ACQ.SYSTEM_ERROR"),
            "?server_error",
        ),
        (
            "misspelt",
            refused("40004", "AQC.SYSTEM_ERROR"),
            "?server_error",
        ),
        ("isp", refused("40004", "isp.anything"), "?server_error"),
        ("limited", refused("40005", "isv.app-call-limited"), "?busy"),
        (
            "paid before",
            refused("40004", "ACQ.TRADE_HAS_SUCCESS"),
            "?in_progress",
        ),
        (
            "finished before",
            refused("40004", "ACQ.TRADE_HAS_FINISHED"),
            "?in_progress",
        ),
        (
            "closed before",
            refused("40004", "ACQ.TRADE_HAS_CLOSE"),
            "?in_progress",
        ),
        (
            "used before",
            refused("40004", "ACQ.CONTEXT_INCONSISTENT"),
            "?in_progress",
        ),
        (
            "parameters",
            refused("40004", "ACQ.INVALID_PARAMETER"),
            "ACQ.INVALID_PARAMETER",
        ),
        (
            "forbidden",
            refused("40004", "ACQ.ACCESS_FORBIDDEN"),
            "ACQ.ACCESS_FORBIDDEN",
        ),
        (
            "too much",
            refused("40004", "ACQ.TOTAL_FEE_EXCEED"),
            "ACQ.TOTAL_FEE_EXCEED",
        ),
        (
            "signature",
            refused("40002", "isv.invalid-signature"),
            "isv.invalid-signature",
        ),
        (
            "permission",
            refused("40006", "isv.insufficient-isv-permissions"),
            "isv.insufficient-isv-permissions",
        ),
        ("token", refused("20001", ""), "20001"),
        ("server error", Reply::plain(502, ""), "?server_error"),
        ("busy", Reply::plain(429, ""), "?busy"),
        ("redirect", Reply::plain(302, ""), "?unverifiable"),
        ("hang-up", Reply::HangUp, "?transport"),
        ("cut off", Reply::CutOff, "?transport"),
        ("silence", Reply::Silence, "?timeout"),
    ];
    for (name, reply, expected) in cases {
        let (alipay, _server) = answering(reply).await;
        let outcome = alipay.create(&order(), now()).await;
        assert_eq!(short(outcome), expected, "{name}");
    }
}

#[tokio::test]
async fn local_rules_refuse_before_sending() {
    let (alipay, server) = answering(Reply::HangUp).await;
    let dollars = Money::new(100, Currency::parse("USD").unwrap());
    let number = "a-b".to_owned();
    let cases = [
        (
            "!CURRENCY_NOT_SUPPORTED",
            NewOrder {
                amount: dollars,
                ..order()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            NewOrder {
                channel_order_no: number,
                ..order()
            },
        ),
    ];
    for (expected, order) in cases {
        assert_eq!(short(alipay.create(&order, now()).await), expected);
    }
    assert!(server.seen().is_empty());
}

/// Escaped slashes, spacing, braces and even `"sign"` inside a value: only the raw text will do.
const RAW_NODE: &str = r#"{"code":"10000","msg":"Success","out_trade_no":"P20261003000001","qr_code":"https:\/\/qr.alipay.com\/bax1?a={\"sign\":\"x\"}}"}"#;
const RAW_NODE_SIGNATURE: &str = "g2lQi8uCIV1RwnTzFc6F2ONtENUuFGK/Eq90fGmJNYcYRxyCiuUFqkh7PM9qywZ1XFt4bAw97kNp6CbScTWRWWusUtRiF8Uu5skLvrgL1OOazHtZ0z1KJoUDS9eq7VTujk2qmWKPdKEN4wqdbORcfZ/6r8L/Y0QqTQaMiQ6/trVf1t3xNRNRQI6+Hq+JMAFrOrDtQ8ENMNjApUQpRbaSxoX6uWTQvyWzQ9fmAZxNybUiBYDYaoMNKmzgXau8dSDWYR9Ny68k0BhNkrOVV/yrL5ReJCHlN/658GxYuH2j9osdv7BV3vON4Sl57gkORry3t4tI+fkXz8f7uDrDAche5g==";

#[test]
fn a_foreign_answer_is_verified_over_its_own_bytes() {
    let key = VerifyingKey::parse(testing::OPENSSL_PUBLIC_KEY).unwrap();
    let open = |node: &str| {
        let body = format!(
            "{{ \"sign\" : \"{RAW_NODE_SIGNATURE}\",\n \"alipay_trade_precreate_response\" : {node} }}"
        );
        super::answer::open(&|_| vec![&key], super::orders::PRECREATE, body.as_bytes())
    };
    let created: super::answer::Created = open(RAW_NODE).unwrap().parse().unwrap();
    assert_eq!(
        created.qr_code.as_deref(),
        Some(r#"https://qr.alipay.com/bax1?a={"sign":"x"}}"#)
    );
    assert!(open(&RAW_NODE.replace(r"\/", "/")).is_err());
    assert!(open(&RAW_NODE.replace(',', ", ")).is_err());
}

fn trade(status: &str) -> Value {
    json!({
        "code": "10000", "msg": "Success", "out_trade_no": NUMBER, "trade_no": "2026100322001",
        "trade_status": status, "total_amount": "99.99", "buyer_pay_amount": "90.00",
        "send_pay_date": "2026-10-03 10:34:56",
    })
}

#[tokio::test]
async fn query_states() {
    for (text, state) in [
        ("WAIT_BUYER_PAY", OrderState::NotPaid),
        ("TRADE_SUCCESS", OrderState::Paid),
        ("TRADE_FINISHED", OrderState::Paid),
        ("TRADE_CLOSED", OrderState::Closed),
    ] {
        let (alipay, server) = answering(signed(super::orders::QUERY, &trade(text))).await;
        let Outcome::Done(status) = alipay.query(NUMBER, now()).await else {
            panic!("{text}");
        };
        assert_eq!(status.state, state);
        assert_eq!(status.amount, Some(Money::new(9_999, Currency::CNY)));
        assert_eq!(status.transaction_id.as_deref(), Some("2026100322001"));
        assert_eq!(
            status.paid_at,
            Some("2026-10-03T02:34:56Z".parse().unwrap())
        );
        assert_eq!(
            form(&server.seen()[0].body)["biz_content"],
            format!(r#"{{"out_trade_no":"{NUMBER}"}}"#)
        );
    }
    let (alipay, _server) = answering(refusal(
        super::orders::QUERY,
        "40004",
        "ACQ.TRADE_NOT_EXIST",
    ))
    .await;
    let Outcome::Done(status) = alipay.query(NUMBER, now()).await else {
        panic!("not found is an answer");
    };
    assert_eq!(status.state, OrderState::NotFound);
}

#[tokio::test]
async fn query_answers_that_prove_nothing() {
    let cases = [
        ("out_trade_no", json!("P2")),
        ("trade_status", json!("NEW")),
        ("trade_no", Value::Null),
        ("total_amount", Value::Null),
        ("total_amount", json!("99.999")),
        ("total_amount", json!("1e2")),
    ];
    for (field, value) in cases {
        let mut node = trade("TRADE_SUCCESS");
        node[field] = value;
        let (alipay, _server) = answering(signed(super::orders::QUERY, &node)).await;
        assert_eq!(
            short(alipay.query(NUMBER, now()).await),
            "?unverifiable",
            "{field}"
        );
    }
}

#[tokio::test]
async fn close_outcomes() {
    let refused = |sub_code| refusal(super::orders::CLOSE, "40004", sub_code);
    let done = json!({"code": "10000", "msg": "Success", "out_trade_no": NUMBER, "trade_no": "1"});
    let bare = json!({"code": "10000", "msg": "Success"});
    let other = json!({"code": "10000", "msg": "Success", "out_trade_no": "P2"});
    let cases = [
        (signed(super::orders::CLOSE, &done), Ok(Closed::Closed)),
        (signed(super::orders::CLOSE, &bare), Ok(Closed::Closed)),
        (signed(super::orders::CLOSE, &other), Err("?unverifiable")),
        (refused("ACQ.TRADE_NOT_EXIST"), Ok(Closed::NotFound)),
        (refused("ACQ.TRADE_STATUS_ERROR"), Ok(Closed::AlreadyPaid)),
        (
            refused("ACQ.REASON_TRADE_STATUS_INVALID"),
            Ok(Closed::AlreadyPaid),
        ),
        (refused("ACQ.SYSTEM_ERROR"), Err("?server_error")),
        (
            refused("ACQ.INVALID_PARAMETER"),
            Err("ACQ.INVALID_PARAMETER"),
        ),
    ];
    for (index, (reply, expected)) in cases.into_iter().enumerate() {
        let (alipay, _server) = answering(reply).await;
        let outcome = match alipay.close(NUMBER, now()).await {
            Outcome::Done(closed) => Ok(closed),
            other => Err(short(other)),
        };
        assert_eq!(outcome, expected.map_err(str::to_owned), "{index}");
    }
}

#[tokio::test]
async fn a_bill_is_fetched() {
    let server = Server::start(|base| {
        let url = format!("{base}/bill?token=1");
        let node = json!({"code": "10000", "msg": "Success", "bill_download_url": url});
        let file = super::bill::tests::zipped(super::bill::tests::BILL);
        vec![signed(super::bills::BILL, &node), Reply::plain(200, file)]
    })
    .await;
    let outcome = channel(&server.base).bill(date(2026, 10, 3), now()).await;
    let Outcome::Done(Bill::File(mut bill)) = outcome else {
        panic!("{outcome:?}");
    };
    let totals = bill.read(|_| Ok::<(), ()>(())).unwrap();
    assert_eq!((totals.payments, totals.refunds), (2, 1));
    let seen = server.seen();
    assert_eq!(
        form(&seen[0].body)["biz_content"],
        r#"{"bill_type":"trade","bill_date":"2026-10-03"}"#
    );
    assert_eq!(seen[1].target, "/bill?token=1");
    assert!(!seen[1].headers.contains_key("authorization"));
}

#[tokio::test]
async fn bills_that_are_not_there() {
    let empty = json!({
        "code": "10000", "msg": "Success", "bill_download_url": "http://127.0.0.1:1/x",
        "bill_file_code": "EMPTY_DATA_WITH_BILL_FILE",
    });
    let refused = |sub_code| refusal(super::bills::BILL, "40004", sub_code);
    let cases = [
        (signed(super::bills::BILL, &empty), "empty"),
        (refused("BILL_NOT_EXIST"), "not ready"),
        (refused("isp.bill_not_exist"), "not ready"),
        (refused("UNKNOWN_ERROR"), "?server_error"),
        (refused("INVAILID_ARGUMENTS"), "INVAILID_ARGUMENTS"),
        (
            signed(super::bills::BILL, &json!({"code": "10000"})),
            "?unverifiable",
        ),
    ];
    for (index, (reply, expected)) in cases.into_iter().enumerate() {
        let (alipay, _server) = answering(reply).await;
        let outcome = match alipay.bill(date(2026, 10, 3), now()).await {
            Outcome::Done(Bill::NotReady) => "not ready".to_owned(),
            Outcome::Done(Bill::Empty) => "empty".to_owned(),
            other => short(other),
        };
        assert_eq!(outcome, expected, "{index}");
    }
}

// --- callbacks ---

fn notify(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
    let basic = [
        ("notify_time", "2026-10-03 10:35:00"),
        ("notify_type", "trade_status_sync"),
        ("notify_id", "2026100300222"),
        ("app_id", ALIPAY_APP),
        ("trade_no", "2026100322001"),
        ("out_trade_no", NUMBER),
        ("trade_status", "TRADE_SUCCESS"),
        ("total_amount", "99.99"),
        ("gmt_payment", "2026-10-03 10:34:56"),
        ("subject", "50% off + 茶 %E8"),
        ("sign_type", "RSA2"),
    ];
    let all = basic.iter().chain(extra);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn encoded(fields: &BTreeMap<String, String>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

fn signed_form(mut fields: BTreeMap<String, String>) -> String {
    let sign = testing::channel().sign(joined(&fields, &["sign_type"]));
    fields.insert("sign".to_owned(), sign);
    encoded(&fields)
}

fn deliver(body: &str) -> Result<Notice, CallbackError> {
    channel("http://localhost").verify_callback(&|_| None, body.as_bytes(), now())
}

#[test]
fn a_payment_notice_is_read() {
    let notice = deliver(&signed_form(notify(&[]))).unwrap();
    let expected = Notice {
        event_id: "TRADE_SUCCESS".to_owned(),
        channel_order_no: NUMBER.to_owned(),
        transaction_id: "2026100322001".to_owned(),
        state: OrderState::Paid,
        amount: Money::new(9_999, Currency::CNY),
        paid_at: Some("2026-10-03T02:34:56Z".parse().unwrap()),
        refund: None,
    };
    assert_eq!(notice, expected);
}

#[tokio::test]
async fn the_present_and_the_next_key_are_believed_side_by_side() {
    let server = Server::start(|_| {
        let reply = || signed(super::orders::PRECREATE, &created());
        vec![reply(), reply(), reply()]
    })
    .await;
    let bare = |pem: &str| -> String {
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let (present, next) = (testing::other(), testing::channel());
    let pair = format!("{}{}", present.public_pem, next.public_pem);
    let bare_pair = format!(
        "{}\n\n{}\n",
        bare(&present.public_pem),
        bare(&next.public_pem)
    );
    for (keys, expected) in [
        (&pair, "done"),
        (&bare_pair, "done"),
        (&present.public_pem, "?unverifiable"),
    ] {
        let files = testing::credentials();
        testing::write(files.path(), key::ALIPAY_PUBLIC_KEY, keys);
        let config = testing::config(&server.base, files.path());
        let alipay = Channels::load(&config).unwrap().get(ChannelKind::Alipay);
        let alipay = alipay.unwrap();
        let outcome = alipay.create(&order(), now()).await;
        assert_eq!(short(outcome), expected);
        let notice = alipay.verify_callback(&|_| None, signed_form(notify(&[])).as_bytes(), now());
        assert_eq!(notice.is_ok(), expected == "done");
    }
}

#[test]
fn the_notice_message_is_the_one_openssl_signed() {
    const SIGNATURE: &str = "kAJOCMUyGaWp4kd1W/vgIjCJxnz7bIydh4kXfqILrGlsYzMljSj0ACeaYEp8BfqEuS1DK11WrL+K3+NUVPueR9ZPm6e7MdvsfjaO33/SHqxIBXI4uyqK+ToWaantrs03oNaEmuPj5ZnkrujCYFPhDFZbEBL1YzahnwI8mYIIujsx+CIFjFousJbeK1KL9ul7JpNw/RQxn3ho/mqLgGxxDbbEoUAMIKcj/uRVwLm/2V7lAVMdv3u6S5ZrtHnanHW5oSV6ryIHggrR5mObo0/AVwI+nogVRkBpFqaRdfZmHzyH0PFGZ/OJbO6fDVT9jqVOFQBi78C0WrdeGXJHYQyb5Q==";
    let key = VerifyingKey::parse(testing::OPENSSL_PUBLIC_KEY).unwrap();
    let signature: String = form_urlencoded::byte_serialize(SIGNATURE.as_bytes()).collect();
    let body = format!(
        "trade_status=TRADE_SUCCESS&subject=50%25+off+%2B+tea&sign_type=RSA2&sign={signature}\
         &app_id=2021000000000000&total_amount=99.99&trade_no=2026100322001\
         &out_trade_no=P20261003000001"
    );
    let keys = super::keys::TrustedKeys::Keys(vec![key]);
    let recipient = super::callback::Recipient {
        app_id: "2021000000000000",
        seller_id: None,
    };
    let notice = super::callback::read(&keys, &recipient, body.as_bytes(), now()).unwrap();
    assert_eq!(notice.amount.minor, 9_999);
}

#[test]
fn a_refund_repeats_the_trades_status_and_is_told_from_a_payment() {
    let partial = notify(&[
        ("refund_fee", "1.00"),
        ("gmt_refund", "2026-10-03 10:34:56.789"),
        ("out_biz_no", "R1"),
    ]);
    let notice = deliver(&signed_form(partial)).unwrap();
    assert_eq!(notice.event_id, "TRADE_SUCCESS:R1");
    assert_eq!(notice.state, OrderState::Refunded);
    let refund = notice.refund.unwrap();
    assert_eq!(refund.refund_no.as_deref(), Some("R1"));
    assert_eq!(
        (refund.state, refund.amount),
        (RefundState::Succeeded, None)
    );
    assert_eq!(
        refund.refunded_at,
        Some("2026-10-03T02:34:56Z".parse().unwrap())
    );

    let full = notify(&[("refund_fee", "99.99"), ("trade_status", "TRADE_CLOSED")]);
    let notice = deliver(&signed_form(full)).unwrap();
    assert_eq!(notice.event_id, "TRADE_CLOSED:99.99");
    assert_eq!(notice.state, OrderState::Refunded);

    let closed = deliver(&signed_form(notify(&[("trade_status", "TRADE_CLOSED")]))).unwrap();
    assert_eq!((closed.state, closed.refund), (OrderState::Closed, None));
}

#[test]
fn empty_values_may_be_signed_or_left_out_but_not_slipped_in_with_text() {
    let kept = notify(&[("passback_params", "")]);
    assert!(deliver(&signed_form(kept.clone())).is_ok());
    // Signed as if the empty value were not there.
    let mut dropped = kept;
    let sign = testing::channel().sign(joined(&dropped, &["sign_type", "passback_params"]));
    dropped.insert("sign".to_owned(), sign);
    assert!(deliver(&encoded(&dropped)).is_ok());
    dropped.insert("passback_params".to_owned(), "x".to_owned());
    assert_eq!(
        deliver(&encoded(&dropped)),
        Err(CallbackError::BadSignature)
    );
}

#[test]
fn unknown_fields_are_part_of_what_was_signed() {
    let fields = notify(&[("voucher_detail_list", r#"[{"amount":"9.99"}]"#)]);
    assert!(deliver(&signed_form(fields)).is_ok());
    let added = format!("{}&q=1", signed_form(notify(&[])));
    assert_eq!(deliver(&added), Err(CallbackError::BadSignature));
    let twice = format!("{}&total_amount=0.01", signed_form(notify(&[])));
    assert!(matches!(deliver(&twice), Err(CallbackError::Malformed(_))));
}

#[test]
fn no_field_of_a_callback_can_be_changed() {
    let body = signed_form(notify(&[]));
    let fields = form(&body);
    for name in fields.keys().filter(|name| *name != "sign_type") {
        let mut changed = fields.clone();
        changed.get_mut(name).unwrap().push('0');
        let error = deliver(&encoded(&changed)).unwrap_err();
        assert_eq!(error, CallbackError::BadSignature, "{name}");
        changed.remove(name);
        assert!(deliver(&encoded(&changed)).is_err(), "without {name}");
    }
    // A byte may turn a field into one without a value, which says nothing and may be left out.
    let meaning = |body: &[u8]| -> BTreeMap<String, String> {
        let fields = form_urlencoded::parse(body).into_owned();
        fields
            .filter(|(name, value)| name != "sign_type" && !value.is_empty())
            .collect()
    };
    let alipay = channel("http://localhost");
    for index in 0..body.len() {
        let mut changed = body.clone().into_bytes();
        changed[index] ^= 1;
        let result = alipay.verify_callback(&|_| None, &changed, now());
        let same = meaning(&changed) == meaning(body.as_bytes());
        assert_eq!(result.is_ok(), same, "byte {index}");
    }
}

#[test]
fn a_claimed_weaker_algorithm_changes_nothing() {
    let mut fields = form(&signed_form(notify(&[])));
    fields.insert("sign_type".to_owned(), "RSA".to_owned());
    assert!(deliver(&encoded(&fields)).is_ok());
}

#[test]
fn signed_content_is_checked_all_the_same() {
    let other = signed_form(notify(&[("app_id", "2021000000000002")]));
    assert_eq!(deliver(&other), Err(CallbackError::WrongMerchant));
    for (name, value) in [
        ("trade_status", "NEW"),
        ("total_amount", "1e2"),
        ("trade_no", ""),
    ] {
        let result = deliver(&signed_form(notify(&[(name, value)])));
        assert!(matches!(result, Err(CallbackError::Malformed(_))), "{name}");
    }
    assert!(matches!(deliver(""), Err(CallbackError::Malformed(_))));
}

#[test]
fn debug_shows_no_key() {
    let text = format!("{:?}", channel("http://localhost"));
    assert_eq!(
        text,
        format!(
            "Alipay(Alipay {{ gateway: \"http://localhost/gateway.do\", app_id: \"{ALIPAY_APP}\", certificates: [], .. }})"
        )
    );
}
