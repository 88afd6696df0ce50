use super::*;
use crate::{Cancelled, FundBill, Payer};

use crate::alipay::orders;

fn payer() -> Payer {
    Payer {
        id: Some("2088102146225135".to_owned()),
        client_ip: None,
        return_url: Some("https://shop.example.com/done?order=1".to_owned()),
    }
}

fn order_of(method: PayMethod, payer: Payer) -> NewOrder {
    NewOrder {
        payer,
        ..testing::order_by(method)
    }
}

/// Without a call: nobody listens there.
async fn handed_out(method: PayMethod, payer: Payer) -> Action {
    let alipay = channel("http://127.0.0.1:1");
    let outcome = alipay.create(&order_of(method, payer), now()).await;
    result(outcome).unwrap().action
}

fn assert_signed(parameters: &BTreeMap<String, String>) {
    let key = VerifyingKey::parse(&testing::merchant().public_pem).unwrap();
    let message = joined(parameters, &["sign"]);
    assert!(
        key.verifies(message.as_bytes(), &parameters["sign"]),
        "{message}"
    );
}

fn content(parameters: &BTreeMap<String, String>) -> Value {
    serde_json::from_str(&parameters["biz_content"]).unwrap()
}

fn expected_content(product: &str) -> Value {
    json!({
        "out_trade_no": NUMBER, "total_amount": "99.99", "subject": "茶   tea",
        "product_code": product, "time_expire": "2026-09-22 00:13:20",
    })
}

#[tokio::test]
async fn page_and_wap_are_signed_urls() {
    let mut wap = expected_content("QUICK_WAP_WAY");
    wap["quit_url"] = json!("https://shop.example.com/done?order=1");
    for (method, name, expected) in [
        (
            PayMethod::AlipayPage,
            "alipay.trade.page.pay",
            expected_content("FAST_INSTANT_TRADE_PAY"),
        ),
        (PayMethod::AlipayWap, "alipay.trade.wap.pay", wap),
    ] {
        let action = handed_out(method, payer()).await;
        let Action::Redirect { url } = action else {
            panic!("{action:?}");
        };
        let (base, query) = url.split_once('?').unwrap();
        assert_eq!(base, "http://127.0.0.1:1/gateway.do");
        let parameters = form(query);
        assert_eq!(parameters["method"], name);
        assert_eq!(
            parameters["notify_url"],
            "https://pay.example.com/callbacks/x"
        );
        assert_eq!(
            parameters["return_url"],
            "https://shop.example.com/done?order=1"
        );
        assert_eq!(parameters["charset"], "utf-8");
        assert_eq!(content(&parameters), expected);
        assert_signed(&parameters);
    }
}

#[tokio::test]
async fn a_page_without_a_way_back_has_none_signed() {
    let Action::Redirect { url } = handed_out(PayMethod::AlipayWap, Payer::default()).await else {
        panic!("no URL");
    };
    let parameters = form(url.split_once('?').unwrap().1);
    assert!(!parameters.contains_key("return_url"));
    assert_eq!(content(&parameters), expected_content("QUICK_WAP_WAY"));
    assert_signed(&parameters);
}

#[tokio::test]
async fn app_is_a_signed_text() {
    let action = handed_out(PayMethod::AlipayApp, payer()).await;
    let Action::AlipayApp { order_string } = action else {
        panic!("{action:?}");
    };
    let parameters = form(&order_string);
    assert_eq!(parameters["method"], "alipay.trade.app.pay");
    assert_eq!(parameters["app_id"], ALIPAY_APP);
    assert_eq!(
        content(&parameters),
        expected_content("QUICK_MSECURITY_PAY")
    );
    assert!(!parameters.contains_key("return_url"));
    assert_signed(&parameters);
}

fn trade_created() -> Value {
    json!({"code": "10000", "msg": "Success", "out_trade_no": NUMBER, "trade_no": "2026100322001"})
}

#[tokio::test]
async fn create_names_the_buyer_by_the_kind_of_id() {
    for (id, field) in [
        ("2088102146225135", "buyer_id"),
        ("2089102146225135", "buyer_open_id"),
        ("20881021462251350", "buyer_open_id"),
        ("208810214622513a", "buyer_open_id"),
        (
            "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5",
            "buyer_open_id",
        ),
    ] {
        let (alipay, server) = answering(signed(orders::CREATE, &trade_created())).await;
        let payer = Payer {
            id: Some(id.to_owned()),
            ..Payer::default()
        };
        let order = order_of(PayMethod::AlipayCreate, payer);
        let created = result(alipay.create(&order, now()).await).unwrap();
        let trade_no = "2026100322001".to_owned();
        assert_eq!(created.action, Action::AlipayTrade { trade_no });
        let mut expected = expected_content("JSAPI_PAY");
        expected[field] = json!(id);
        assert_eq!(content(&form(&server.seen()[0].body)), expected, "{id}");
    }
}

#[tokio::test]
async fn create_trade_outcomes() {
    let with = |field: &str, value: Value| {
        let mut node = trade_created();
        node[field] = value;
        signed(orders::CREATE, &node)
    };
    let refused = |sub_code| refusal(orders::CREATE, "40004", sub_code);
    for (reply, expected) in [
        (with("out_trade_no", json!("P2")), "?unverifiable"),
        (with("trade_no", json!("")), "?unverifiable"),
        (with("trade_no", Value::Null), "?unverifiable"),
        (refused("ACQ.CONTEXT_INCONSISTENT"), "?in_progress"),
        (refused("ACQ.TRADE_HAS_SUCCESS"), "?in_progress"),
        (refused("ACQ.SYSTEM_ERROR"), "?server_error"),
        (refused("ACQ.BUYER_NOT_EXIST"), "ACQ.BUYER_NOT_EXIST"),
        (Reply::Silence, "?timeout"),
    ] {
        let (alipay, _server) = answering(reply).await;
        let order = order_of(PayMethod::AlipayCreate, payer());
        assert_eq!(short(alipay.create(&order, now()).await), expected);
    }
}

#[tokio::test]
async fn what_alipay_cannot_do_is_refused_before_sending() {
    let (alipay, server) = answering(Reply::HangUp).await;
    for order in [
        order_of(PayMethod::AlipayCreate, Payer::default()),
        order_of(PayMethod::WechatNative, payer()),
        order_of(PayMethod::WechatApp, payer()),
        NewOrder {
            notify_url: "https://a/?b=c".to_owned(),
            ..order_of(PayMethod::AlipayPage, payer())
        },
    ] {
        let outcome = alipay.create(&order, now()).await;
        assert_eq!(short(outcome), "!INVALID_LOCAL_REQUEST", "{order:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_order_is_found_by_alipay_s_number_too() {
    let reply = signed(orders::QUERY, &trade("TRADE_SUCCESS"));
    let (alipay, server) = answering(reply).await;
    let status = alipay.query_by_transaction("2026100322001", now()).await;
    assert_eq!(result(status).unwrap().state, OrderState::Paid);
    assert_eq!(
        form(&server.seen()[0].body)["biz_content"],
        r#"{"trade_no":"2026100322001"}"#
    );
    for (reply, expected) in [
        (
            signed(orders::QUERY, &trade("TRADE_SUCCESS")),
            "?unverifiable",
        ),
        (
            refusal(orders::QUERY, "40004", "ACQ.TRADE_NOT_EXIST"),
            "done",
        ),
        (
            refusal(orders::QUERY, "20000", "isp.unknow-error"),
            "?server_error",
        ),
    ] {
        let (alipay, _server) = answering(reply).await;
        let outcome = alipay.query_by_transaction("2026100322002", now()).await;
        assert_eq!(short(outcome), expected);
    }
}

#[tokio::test]
async fn cancel_outcomes() {
    let node = |extra: Value| {
        let mut node = json!({
            "code": "10000", "msg": "Success", "out_trade_no": NUMBER, "trade_no": "1",
            "retry_flag": "N",
        });
        let fields = extra.as_object().unwrap().clone();
        node.as_object_mut().unwrap().extend(fields);
        signed(orders::CANCEL, &node)
    };
    let refused = |sub_code| refusal(orders::CANCEL, "40004", sub_code);
    let retry = json!({
        "code": "40004", "msg": "m", "sub_code": "ACQ.SELLER_BALANCE_NOT_ENOUGH", "retry_flag": "Y",
    });
    let cases = [
        (node(json!({"action": "close"})), Ok(Cancelled::Closed)),
        (node(json!({"action": "refund"})), Ok(Cancelled::Refunded)),
        (node(json!({})), Ok(Cancelled::Nothing)),
        (node(json!({"action": ""})), Ok(Cancelled::Nothing)),
        (node(json!({"action": "x"})), Err("?unverifiable")),
        (
            node(json!({"action": "close", "retry_flag": "Y"})),
            Err("?in_progress"),
        ),
        (node(json!({"retry_flag": null})), Err("?unverifiable")),
        (node(json!({"out_trade_no": "P2"})), Err("?unverifiable")),
        (refused("ACQ.TRADE_NOT_EXIST"), Ok(Cancelled::Nothing)),
        (refused("AQC.SYSTEM_ERROR"), Err("?in_progress")),
        (refused("ACQ.SYSTEM_ERROR"), Err("?in_progress")),
        (signed(orders::CANCEL, &retry), Err("?in_progress")),
        (
            refused("ACQ.SELLER_BALANCE_NOT_ENOUGH"),
            Err("ACQ.SELLER_BALANCE_NOT_ENOUGH"),
        ),
        (
            refused("ACQ.INVALID_PARAMETER"),
            Err("ACQ.INVALID_PARAMETER"),
        ),
        (Reply::plain(503, ""), Err("?server_error")),
        (Reply::HangUp, Err("?transport")),
    ];
    for (index, (reply, expected)) in cases.into_iter().enumerate() {
        let (alipay, server) = answering(reply).await;
        let outcome = alipay.cancel(NUMBER, now()).await;
        assert_eq!(result(outcome), expected.map_err(str::to_owned), "{index}");
        assert_eq!(
            form(&server.seen()[0].body)["biz_content"],
            format!(r#"{{"out_trade_no":"{NUMBER}"}}"#)
        );
    }
}

#[tokio::test]
async fn a_fund_bill_is_fetched() {
    use crate::alipay::{account, bill, bills};

    let server = Server::start(|base| {
        let url = format!("{base}/bill?token=1");
        let node = json!({"code": "10000", "msg": "Success", "bill_download_url": url});
        let file = bill::tests::zipped_as("账务明细", account::tests::STATEMENT);
        vec![signed(bills::BILL, &node), Reply::plain(200, file)]
    })
    .await;
    let outcome = channel(&server.base)
        .fund_bill(date(2026, 10, 3), now())
        .await;
    let Ok(FundBill::Rows(rows)) = result(outcome) else {
        panic!("no rows");
    };
    assert_eq!(rows.len(), 3);
    assert_eq!(
        form(&server.seen()[0].body)["biz_content"],
        r#"{"bill_type":"signcustomer","bill_date":"2026-10-03"}"#
    );
}

#[tokio::test]
async fn fund_bills_that_are_not_there() {
    use crate::alipay::bills::BILL;

    let empty = json!({
        "code": "10000", "msg": "Success", "bill_file_code": "EMPTY_DATA_WITH_BILL_FILE",
    });
    let cases = [
        (signed(BILL, &empty), Ok(FundBill::Rows(vec![]))),
        (
            refusal(BILL, "40004", "BILL_NOT_EXIST"),
            Ok(FundBill::NotReady),
        ),
        (
            refusal(BILL, "40004", "UNKNOWN_ERROR"),
            Err("?server_error"),
        ),
        (
            refusal(BILL, "40004", "TYPE_NOT_SUPPORTED"),
            Err("TYPE_NOT_SUPPORTED"),
        ),
        (Reply::plain(200, "{}"), Err("?unverifiable")),
    ];
    for (index, (reply, expected)) in cases.into_iter().enumerate() {
        let (alipay, _server) = answering(reply).await;
        let outcome = alipay.fund_bill(date(2026, 10, 3), now()).await;
        assert_eq!(result(outcome), expected.map_err(str::to_owned), "{index}");
    }
}
