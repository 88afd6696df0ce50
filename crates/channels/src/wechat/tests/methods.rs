use std::collections::BTreeMap;

use payment_core::PayMethod;

use super::*;
use crate::crypto::VerifyingKey;
use crate::{FundBill, NewOrder, Payer};

fn payer() -> Payer {
    Payer {
        id: Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".to_owned()),
        client_ip: Some("14.23.150.211".to_owned()),
        return_url: Some("https://shop.example.com/done?order=1&x=茶".to_owned()),
    }
}

fn order(method: PayMethod) -> NewOrder {
    NewOrder {
        payer: payer(),
        ..testing::order_by(method)
    }
}

async fn created(method: PayMethod, answer: Value) -> (Action, testing::Seen) {
    let (wechat, server) = answering(signed(200, &answer)).await;
    let created = result(wechat.create(&order(method), now()).await).unwrap();
    (created.action, server.seen()[0].clone())
}

fn body(seen: &testing::Seen) -> Value {
    serde_json::from_str(&seen.body).unwrap()
}

fn assert_signed(message: &str, signature: &str) {
    let key = VerifyingKey::parse(&testing::merchant().public_pem).unwrap();
    assert!(key.verifies(message.as_bytes(), signature), "{message}");
}

fn names(parameters: &BTreeMap<String, String>) -> Vec<&str> {
    parameters.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn jsapi_names_the_payer_and_hands_out_a_signed_call() {
    let prepaid = json!({"prepay_id": "wx201410272009395522657a690389285100"});
    let (action, seen) = created(PayMethod::WechatJsapi, prepaid).await;
    assert_eq!(seen.target, "/v3/pay/transactions/jsapi");
    assert_eq!(
        body(&seen)["payer"],
        json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"})
    );
    assert_eq!(body(&seen).get("scene_info"), None);
    assert_authorized(&seen);

    let Action::WechatJsapi { parameters } = action else {
        panic!("{action:?}");
    };
    assert_eq!(
        names(&parameters),
        [
            "appId",
            "nonceStr",
            "package",
            "paySign",
            "signType",
            "timeStamp"
        ]
    );
    assert_eq!(parameters["appId"], WECHAT_APP);
    assert_eq!(parameters["timeStamp"], now().as_second().to_string());
    assert_eq!(parameters["signType"], "RSA");
    assert_eq!(
        parameters["package"],
        "prepay_id=wx201410272009395522657a690389285100"
    );
    let (time, nonce) = (&parameters["timeStamp"], &parameters["nonceStr"]);
    assert_eq!(nonce.len(), 32);
    let message =
        format!("{WECHAT_APP}\n{time}\n{nonce}\nprepay_id=wx201410272009395522657a690389285100\n");
    assert_signed(&message, &parameters["paySign"]);
}

#[tokio::test]
async fn app_hands_out_the_bare_id_signed() {
    let prepaid = json!({"prepay_id": "wx2014"});
    let (action, seen) = created(PayMethod::WechatApp, prepaid).await;
    assert_eq!(seen.target, "/v3/pay/transactions/app");
    assert_eq!(body(&seen).get("payer"), None);
    let Action::WechatApp { parameters } = action else {
        panic!("{action:?}");
    };
    assert_eq!(
        names(&parameters),
        [
            "appid",
            "noncestr",
            "package",
            "partnerid",
            "prepayid",
            "sign",
            "timestamp"
        ]
    );
    assert_eq!(parameters["appid"], WECHAT_APP);
    assert_eq!(parameters["partnerid"], MERCHANT);
    assert_eq!(parameters["prepayid"], "wx2014");
    assert_eq!(parameters["package"], "Sign=WXPay");
    let (time, nonce) = (&parameters["timestamp"], &parameters["noncestr"]);
    assert_signed(
        &format!("{WECHAT_APP}\n{time}\n{nonce}\nwx2014\n"),
        &parameters["sign"],
    );
}

#[tokio::test]
async fn h5_names_the_address_and_leads_back() {
    let url = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx1&package=2";
    let (action, seen) = created(PayMethod::WechatH5, json!({"h5_url": url})).await;
    assert_eq!(seen.target, "/v3/pay/transactions/h5");
    assert_eq!(
        body(&seen)["scene_info"],
        json!({"payer_client_ip": "14.23.150.211", "h5_info": {"type": "Wap"}})
    );
    let url = format!(
        "{url}&redirect_url=https%3A%2F%2Fshop.example.com%2Fdone%3Forder%3D1%26x%3D%E8%8C%B6"
    );
    assert_eq!(action, Action::Redirect { url });
}

#[tokio::test]
async fn h5_without_a_way_back_leaves_the_url_alone() {
    let (wechat, _server) = answering(signed(200, &json!({"h5_url": "https://wx/x"}))).await;
    let order = NewOrder {
        payer: Payer {
            return_url: None,
            ..payer()
        },
        ..order(PayMethod::WechatH5)
    };
    let url = "https://wx/x".to_owned();
    let created = result(wechat.create(&order, now()).await).unwrap();
    assert_eq!(created.action, Action::Redirect { url });
}

#[tokio::test]
async fn a_payer_that_the_method_needs_is_asked_for_before_sending() {
    let (wechat, server) = answering(signed(200, &json!({"prepay_id": "x"}))).await;
    let with = |method, payer| NewOrder {
        payer,
        ..testing::order_by(method)
    };
    let ip = |text: &str| Payer {
        client_ip: Some(text.to_owned()),
        ..Payer::default()
    };
    let nobody = Payer {
        id: Some(String::new()),
        ..Payer::default()
    };
    for order in [
        with(PayMethod::WechatJsapi, Payer::default()),
        with(PayMethod::WechatJsapi, nobody),
        with(PayMethod::WechatH5, Payer::default()),
        with(PayMethod::WechatH5, ip("14.23.150")),
        with(PayMethod::AlipayApp, payer()),
        with(PayMethod::AlipayPrecreate, payer()),
    ] {
        let outcome = wechat.create(&order, now()).await;
        assert_eq!(short(outcome), "!INVALID_LOCAL_REQUEST", "{order:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_answer_for_another_method_is_none() {
    for (method, answer) in [
        (PayMethod::WechatNative, json!({"prepay_id": "wx1"})),
        (PayMethod::WechatJsapi, json!({"code_url": "weixin://x"})),
        (PayMethod::WechatJsapi, json!({"prepay_id": ""})),
        (PayMethod::WechatApp, json!({"h5_url": "https://x"})),
        (PayMethod::WechatH5, json!({"h5_url": null})),
    ] {
        let (wechat, _server) = answering(signed(200, &answer)).await;
        let outcome = wechat.create(&order(method), now()).await;
        assert_eq!(short(outcome), "?unverifiable", "{method} {answer}");
    }
}

#[test]
fn actions_are_stored_under_stable_names() {
    let parameters = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let url = "u".to_owned();
    for (action, expected) in [
        (
            Action::QrCode { url: url.clone() },
            json!({"type": "QR_CODE", "url": "u"}),
        ),
        (
            Action::Redirect { url },
            json!({"type": "REDIRECT", "url": "u"}),
        ),
        (
            Action::WechatJsapi {
                parameters: parameters.clone(),
            },
            json!({"type": "WECHAT_JSAPI", "parameters": {"a": "b"}}),
        ),
        (
            Action::WechatApp { parameters },
            json!({"type": "WECHAT_APP", "parameters": {"a": "b"}}),
        ),
        (
            Action::AlipayApp {
                order_string: "o".to_owned(),
            },
            json!({"type": "ALIPAY_APP", "orderString": "o"}),
        ),
        (
            Action::AlipayTrade {
                trade_no: "t".to_owned(),
            },
            json!({"type": "ALIPAY_TRADE", "tradeNo": "t"}),
        ),
    ] {
        assert_eq!(serde_json::to_value(&action).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Action>(expected).unwrap(), action);
    }
}

#[tokio::test]
async fn an_order_is_found_by_wechat_s_number_too() {
    let (wechat, server) = answering(signed(200, &transaction("SUCCESS"))).await;
    let status = result(wechat.query_by_transaction("4200001", now()).await).unwrap();
    assert_eq!(status.state, OrderState::Paid);
    assert_eq!(
        server.seen()[0].target,
        format!("/v3/pay/transactions/id/4200001?mchid={MERCHANT}")
    );
    assert_authorized(&server.seen()[0]);
}

#[tokio::test]
async fn queries_by_wechat_s_number_that_prove_nothing() {
    for (reply, number, expected) in [
        (
            signed(200, &transaction("SUCCESS")),
            "4200002",
            "?unverifiable",
        ),
        (
            signed(200, &transaction("SUCCESS")),
            "a/b",
            "!INVALID_LOCAL_REQUEST",
        ),
        (
            signed(200, &transaction("SUCCESS")),
            "",
            "!INVALID_LOCAL_REQUEST",
        ),
        (refusal(404, "ORDER_NOT_EXIST"), "4200001", "done"),
        (refusal(500, "SYSTEM_ERROR"), "4200001", "?server_error"),
    ] {
        let (wechat, _server) = answering(reply).await;
        let outcome = wechat.query_by_transaction(number, now()).await;
        assert_eq!(short(outcome), expected, "{number}");
    }
}

#[tokio::test]
async fn cancelling_is_alipay_s_alone() {
    let (wechat, server) = answering(Reply::HangUp).await;
    assert_eq!(
        short(wechat.cancel(NUMBER, now()).await),
        "!NOT_OFFERED_BY_CHANNEL"
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_fund_bill_is_fetched() {
    let file = crate::wechat::funds::tests::BILL.as_bytes();
    let server = Server::start(|base| {
        let pointer = json!({
            "hash_type": "SHA1", "hash_value": hex::encode(Sha1::digest(file)),
            "download_url": format!("{base}/v3/billdownload/file?token=1"),
        });
        vec![signed(200, &pointer), Reply::plain(200, file)]
    })
    .await;
    let outcome = channel(&server.base)
        .fund_bill(date(2026, 10, 3), now())
        .await;
    let Ok(FundBill::Rows(rows)) = result(outcome) else {
        panic!("no rows");
    };
    assert_eq!(rows.len(), 3);
    let seen = server.seen();
    assert_eq!(
        seen[0].target,
        "/v3/bill/fundflowbill?bill_date=2026-10-03&account_type=BASIC&tar_type=GZIP"
    );
    assert_authorized(&seen[1]);
}

#[tokio::test]
async fn fund_bills_that_are_not_there() {
    let cases = [
        (
            refusal(400, "NO_STATEMENT_EXIST"),
            Ok(FundBill::Rows(vec![])),
        ),
        (refusal(400, "STATEMENT_CREATING"), Ok(FundBill::NotReady)),
        (
            Reply::plain(400, r#"{"code":"NO_STATEMENT_EXIST"}"#),
            Err("?unverifiable"),
        ),
        (refusal(403, "NO_AUTH"), Err("NO_AUTH")),
        (refusal(500, "SYSTEM_ERROR"), Err("?server_error")),
        (
            signed(
                200,
                &json!({"hash_type": "MD5", "hash_value": "0", "download_url": "http://x"}),
            ),
            Err("?unverifiable"),
        ),
    ];
    for (index, (reply, expected)) in cases.into_iter().enumerate() {
        let (wechat, _server) = answering(reply).await;
        let outcome = wechat.fund_bill(date(2026, 10, 3), now()).await;
        assert_eq!(result(outcome), expected.map_err(str::to_owned), "{index}");
    }
}
