//! Keys that change while payments go on: made, switched to, given up.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::bench::{Bench, NATIVE, Reply, unsealed, verifies};
use crate::merchant::{Told, next};

type Keys = BTreeMap<String, String>;

/// What a merchant with these keys is answered, asking to be answered under its public key.
async fn asked_as(bench: &mut Bench, keys: &Keys) -> Reply {
    bench.keys.clone_from(keys);
    let target = bench.query_target("unknown-1");
    let id = bench.key("wechat-public-key-id");
    let reply = bench.wechat_as("GET", &target, "", 0, Some(id)).await;
    reply.unwrap()
}

async fn is_served(bench: &mut Bench, keys: &Keys) -> bool {
    let reply = asked_as(bench, keys).await;
    reply.status == 404 && bench.wechat_signed(&reply)
}

async fn step(bench: &Bench, name: &str) -> (u16, Value) {
    bench.admin("POST", &format!("/keys/{name}"), None).await
}

/// Whether the next callback is what these keys read, and of the others what they do not.
async fn callback_is_for(
    bench: &Bench,
    told: &mut UnboundedReceiver<Told>,
    number: &str,
    [this, other]: [&Keys; 2],
) {
    let order = bench.order(number, 100);
    let made = bench.wechat_at("POST", NATIVE, &order, 0).await.unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(bench.pay("wechat", number).await.0, 200);
    let told = next(told).await;
    assert_eq!(
        told.header("wechatpay-serial"),
        this["wechat-public-key-id"]
    );
    assert!(told.verifies(&this["wechat-public-key"]));
    let sealed = &told.json()["resource"];
    assert!(unsealed(&this["wechat-api-key"], sealed).is_some());
    assert!(unsealed(&other["wechat-api-key"], sealed).is_none());
}

async fn alipay_signs_with(bench: &Bench, key: &str) -> bool {
    let content = json!({"out_trade_no": "unknown-1"});
    let form = bench.alipay_form("alipay.trade.query", &content, &[]);
    let reply = bench.gateway(form).await.unwrap();
    let (node, sign) = reply
        .text()
        .strip_prefix("{\"alipay_trade_query_response\":")
        .and_then(|rest| rest.strip_suffix("\"}"))
        .and_then(|rest| rest.rsplit_once(",\"sign\":\""))
        .unwrap();
    verifies(key, node.as_bytes(), sign)
}

#[tokio::test]
async fn both_sets_of_keys_are_served_until_the_former_are_given_up() {
    let (mut bench, mut told) = Bench::with_merchant(Vec::new()).await;
    let old = bench.keys.clone();
    let (status, refused) = step(&bench, "switch").await;
    assert_eq!((status, &refused["code"]), (409, &json!("NO_NEXT_KEYS")));

    let in_certificate_mode = bench.admin("GET", "/keys?mode=certificate", None).await.1;
    let (status, made) = step(&bench, "next").await;
    assert_eq!(status, 200);
    let now = bench.admin("GET", "/keys?mode=certificate", None).await.1;
    assert_eq!(now, in_certificate_mode, "nothing in use has changed");
    let new: Keys = serde_json::from_value(made).unwrap();
    assert_eq!(bench.admin("GET", "/keys", None).await.1, json!(old));
    for keys in [&new, &old] {
        assert!(is_served(&mut bench, keys).await);
    }
    callback_is_for(&bench, &mut told, "before-it", [&old, &new]).await;
    assert!(alipay_signs_with(&bench, &old["alipay-public-key"]).await);

    assert_eq!(step(&bench, "switch").await.0, 204);
    let (_, shown) = bench.admin("GET", "/keys", None).await;
    assert_eq!(shown["wechat-api-key"], new["wechat-api-key"].as_str());
    for keys in [&new, &old] {
        assert!(is_served(&mut bench, keys).await);
    }
    callback_is_for(&bench, &mut told, "after-it", [&new, &old]).await;
    assert!(alipay_signs_with(&bench, &new["alipay-public-key"]).await);
    assert!(!alipay_signs_with(&bench, &old["alipay-public-key"]).await);

    assert_eq!(step(&bench, "give-up").await.0, 204);
    assert!(is_served(&mut bench, &new).await);
    let refused = asked_as(&mut bench, &old).await;
    assert_eq!(refused.error(), (401, "SIGN_ERROR".to_owned()));
    let id = &old["wechat-public-key-id"];
    let mixed = [
        new.clone(),
        [("wechat-public-key-id".to_owned(), id.clone())].into(),
    ];
    let mixed: Keys = mixed.into_iter().flatten().collect();
    let refused = asked_as(&mut bench, &mixed).await;
    assert_eq!(refused.error(), (500, "SYSTEM_ERROR".to_owned()));
}
