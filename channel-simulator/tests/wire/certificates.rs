//! WeChat Pay's platform certificates: off, on, rotated, mixed with the public key.

use serde_json::{Value, json};

use crate::bench::{Bench, NATIVE, Reply, unsealed, wechat_verifies};
use crate::merchant::next;

const TARGET: &str = "/v3/certificates";

fn decrypted(bench: &Bench, entry: &Value) -> String {
    unsealed(bench.key("wechat-api-key"), &entry["encrypt_certificate"]).unwrap()
}

fn signed_by(reply: &Reply, serial: &str, key: &str) -> bool {
    let header = |name: &str| reply.header(name).to_owned();
    reply.header("wechatpay-serial") == serial && wechat_verifies(key, header, &reply.body)
}

/// Serial and PEM of what the merchant downloads, oldest first.
async fn downloaded(bench: &Bench) -> Vec<(String, String)> {
    let reply = bench.wechat_as("GET", TARGET, "", 0, None).await.unwrap();
    let body = reply.json();
    let entries = body["data"].as_array().unwrap();
    let all: Vec<(String, String)> = entries
        .iter()
        .map(|entry| {
            let serial = entry["serial_no"].as_str().unwrap();
            (serial.to_owned(), decrypted(bench, entry))
        })
        .collect();
    assert!(
        all.iter()
            .any(|(serial, pem)| signed_by(&reply, serial, pem))
    );
    all
}

#[tokio::test]
async fn certificates_are_off_until_switched_on() {
    let bench = Bench::start().await;
    let off = bench.wechat("GET", TARGET, "").await;
    assert_eq!(off.error(), (404, "RESOURCE_NOT_EXISTS".to_owned()));
    let (status, view) = bench.post("/certificates", json!({})).await;
    assert_eq!((status, &view["enabled"]), (200, &json!(true)));
    let all = downloaded(&bench).await;
    let (serial, pem) = &all[0];
    assert_eq!(view["certificates"][0]["serialNo"], serial.as_str());
    assert_eq!(view["certificates"][0]["certificate"], pem.as_str());

    // The answer's key is the one that was asked for; without a wish, a certificate.
    let target = bench.query_target("unknown-1");
    let public = bench.key("wechat-public-key-id").to_owned();
    for (asked, expected, key) in [
        (Some(serial.as_str()), serial.as_str(), pem.as_str()),
        (
            Some(&public),
            public.as_str(),
            bench.key("wechat-public-key"),
        ),
        (None, serial.as_str(), pem.as_str()),
    ] {
        let reply = bench.wechat_as("GET", &target, "", 0, asked).await.unwrap();
        assert_eq!(reply.status, 404);
        assert!(signed_by(&reply, expected, key), "{asked:?}");
    }
    let unknown = "0".repeat(40);
    let reply = bench
        .wechat_as("GET", &target, "", 0, Some(&unknown))
        .await
        .unwrap();
    assert_eq!(reply.error(), (500, "SYSTEM_ERROR".to_owned()));

    bench.post("/certificates", json!({"enabled": false})).await;
    assert_eq!(bench.wechat("GET", TARGET, "").await.status, 404);
    let reply = bench
        .wechat_as("GET", &target, "", 0, Some(serial))
        .await
        .unwrap();
    assert_eq!(reply.status, 500);
}

#[tokio::test]
async fn rotation_puts_a_new_certificate_beside_the_old() {
    let bench = Bench::start().await;
    bench.post("/certificates", json!({})).await;
    let old = downloaded(&bench).await.remove(0);
    let (_, view) = bench
        .post("/certificates/rotate", json!({"newPercent": 50}))
        .await;
    assert_eq!(view["newPercent"], 50);
    let both = downloaded(&bench).await;
    assert_eq!(both[0], old);
    let target = bench.query_target("unknown-1");
    let mut used: Vec<String> = Vec::new();
    for _ in 0..4 {
        let reply = bench.wechat_as("GET", &target, "", 0, None).await.unwrap();
        used.push(reply.header("wechatpay-serial").to_owned());
    }
    for (serial, _) in &both {
        assert_eq!(used.iter().filter(|one| *one == serial).count(), 2);
    }
    let (status, view) = bench.admin("POST", "/certificates/rotate", None).await;
    assert_eq!((status, &view["newPercent"]), (200, &json!(100)));
    let now = downloaded(&bench).await;
    assert_eq!(now[0], both[1], "the oldest is gone");
    let refused = bench
        .post("/certificates", json!({"callbackPercent": 101}))
        .await;
    assert_eq!(refused.0, 400);
    assert_eq!(bench.admin("GET", "/certificates", None).await.1, view);
}

#[tokio::test]
async fn callbacks_move_to_certificates_by_percentage() {
    let (bench, mut told) = Bench::with_merchant(Vec::new()).await;
    bench
        .post("/certificates", json!({"callbackPercent": 50}))
        .await;
    let (serial, pem) = downloaded(&bench).await.remove(0);
    let mut by_certificate = 0;
    for number in ["share-1", "share-2", "share-3", "share-4"] {
        let order = bench.order(number, 100);
        let public = bench.key("wechat-public-key-id");
        let made = bench
            .wechat_as("POST", NATIVE, &order, 0, Some(public))
            .await;
        assert!(bench.wechat_signed(&made.unwrap()));
        bench.pay("wechat", number).await;
        let one = next(&mut told).await;
        if one.header("wechatpay-serial") == serial {
            assert!(one.verifies(&pem));
            by_certificate += 1;
        } else {
            assert!(one.verifies(bench.key("wechat-public-key")));
        }
    }
    assert_eq!(by_certificate, 2);
}

#[tokio::test]
async fn the_other_key_can_turn_up_unasked() {
    let (bench, mut told) = Bench::with_merchant(Vec::new()).await;
    let public = bench.key("wechat-public-key-id").to_owned();
    for fault in ["other-key", "other-key-callback"] {
        bench.arm(fault, "wechat").await;
    }
    let order = bench.order("mixed-1", 100);
    let reply = bench
        .wechat_as("POST", NATIVE, &order, 0, Some(&public))
        .await
        .unwrap();
    bench.pay("wechat", "mixed-1").await;
    let one = next(&mut told).await;
    let (serial, pem) = downloaded(&bench).await.remove(0);
    assert!(signed_by(&reply, &serial, &pem));
    assert_eq!(one.header("wechatpay-serial"), serial);
    assert!(one.verifies(&pem));
}
