//! Wrong content types and wrong idempotency keys.

use super::orders::VALID;
use super::{BUSY_KEY, Case, Scene, USED_KEY};

const KEY: &str = "idempotency-key";

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = content_types(scene);
    cases.extend(keys(scene));
    cases.extend(keys_of_others(scene));
    cases
}

fn content_types(scene: &Scene) -> Vec<Case> {
    let create = |kind: &str| {
        Case::post("/api/payments", VALID, "UNSUPPORTED_MEDIA_TYPE")
            .without("content-type")
            .header("content-type", kind)
            .named(&format!("content type {kind:?}"))
    };
    let mut cases: Vec<Case> = [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json5",
        "application/json-patch+json",
        "application/problem+json",
        "application",
        "json",
        "*/*",
        "application/json, text/plain",
        "application/json; charset=gbk",
        "application/json; charset=utf-16",
        "application/json;charset=\"latin1\"",
        "application/json; v=1; charset=gb18030",
    ]
    .map(create)
    .into();
    cases.push(
        Case::post("/api/payments", VALID, "UNSUPPORTED_MEDIA_TYPE")
            .without("content-type")
            .named("no content type"),
    );
    cases.push(
        create("")
            .without("content-type")
            .header("content-type", b"application/j\xffson".to_vec())
            .named("content type of bytes"),
    );
    for path in ["attempts", "refunds"] {
        let path = format!("/api/payments/{}/{path}", scene.paid);
        for kind in ["text/plain", "application/json; charset=gbk"] {
            let case = Case::post(&path, "{}", "UNSUPPORTED_MEDIA_TYPE");
            cases.push(
                case.without("content-type")
                    .header("content-type", kind)
                    .named(&format!("{path} as {kind}")),
            );
        }
    }
    cases
}

fn keys(scene: &Scene) -> Vec<Case> {
    let with = |path: &str, key: Vec<u8>| {
        let name = format!("{path} key {}", String::from_utf8_lossy(&key));
        Case::post(path, VALID, "IDEMPOTENCY_KEY_INVALID")
            .header(KEY, key)
            .named(&name)
    };
    let long = "k".repeat(256);
    let bad = [
        "",
        " ",
        "\"\"",
        "\" \"",
        "a\"b",
        "\"a",
        "a\"",
        "\"a\"\"",
        "\"\"a\"",
        "\" a\"",
        "\"a \"",
        "a\tb",
        "schlüssel",
        "密钥",
        &long,
    ];
    let mut cases: Vec<Case> = bad
        .iter()
        .map(|key| with("/api/payments", key.as_bytes().to_vec()))
        .collect();
    cases.push(with("/api/payments", format!("\"{long}\"").into_bytes()));
    cases.push(with("/api/payments", b"k\xff".to_vec()));
    for again in ["twice", "other"] {
        cases.push(
            with("/api/payments", b"twice".to_vec())
                .header(KEY, again)
                .named(&format!("keys twice, {again}")),
        );
    }
    for path in ["attempts", "refunds", "close"] {
        let path = format!("/api/payments/{}/{path}", scene.paid);
        for key in ["\"\"", "a\"b", &long] {
            cases.push(with(&path, key.as_bytes().to_vec()));
        }
    }
    cases
}

/// Keys that are in order and were used for something else, or are in use.
fn keys_of_others(scene: &Scene) -> Vec<Case> {
    let reused = "IDEMPOTENCY_KEY_REUSED";
    let mut other = scene.paid_order.clone();
    other["amount"] = "1.00".into();
    let post = |body: &str, code| Case::post("/api/payments", body, code);
    vec![
        post(VALID, reused)
            .header(KEY, USED_KEY)
            .named("the key of another order"),
        post(VALID, reused)
            .header(KEY, format!("\"{USED_KEY}\""))
            .named("the same, quoted"),
        post(&format!("{} ", scene.paid_order), reused)
            .header(KEY, USED_KEY)
            .named("another byte under the key"),
        post(&other.to_string(), "ORDER_ID_REUSED")
            .header(KEY, "fresh-key")
            .named("another amount, fresh key"),
        post(VALID, "REQUEST_IN_FLIGHT")
            .header(KEY, BUSY_KEY)
            .charge_may_exist()
            .named("a busy key"),
        post(&format!("{VALID} "), reused)
            .header(KEY, BUSY_KEY)
            .named("a busy key with another body"),
    ]
}
