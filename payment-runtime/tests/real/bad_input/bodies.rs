//! Bodies that are not the JSON object a call takes, whichever call it is.

use super::orders::VALID;
use super::{Case, Scene};

const UNREADABLE: &str = "BAD_REQUEST";

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    let create = |body: Vec<u8>| Case::post("/api/payments", body, UNREADABLE);
    cases.extend(unreadable().into_iter().map(create));
    cases.extend(doubled().into_iter().map(|body| create(body.into_bytes())));
    for field in ["orderId", "amount", "currency", "userId"] {
        cases.push(create(
            VALID
                .replace(&format!("\"{field}\""), "\"subject\"")
                .into_bytes(),
        ));
    }
    for path in ["attempts", "refunds"] {
        let path = format!("/api/payments/{}/{path}", scene.paid);
        for body in [
            "",
            "[]",
            "null",
            "{",
            "{\"typo\":1}",
            "{}}",
            "[\"R-9\",1,null]",
            "\"{}\"",
        ] {
            cases.push(Case::post(&path, body, UNREADABLE));
        }
    }
    for body in ["x", "[]", "null", "{\"a\":1}", "{} {}"] {
        let path = format!("/api/payments/{}/close", scene.open);
        cases.push(Case::post(&path, body, UNREADABLE));
    }
    cases.extend(oversized(scene));
    cases
}

fn unreadable() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "[]",
        "1",
        "\"x\"",
        "true",
        "{",
        "}",
        "{}",
        "{\"orderId\"}",
        "{,}",
        "{\"orderId\":}",
        "orderId=BAD-1&amount=1",
        "<order/>",
        "\u{feff}{}",
        "---\norderId: BAD-1",
        "[\"BAD-1\",\"9.99\",\"CNY\",\"U-1\",null,[],\"wechat\",null,null,null,null,null]",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    bodies.extend(
        [
            format!("{VALID}x"),
            format!("{VALID}{VALID}"),
            format!("[{VALID}]"),
            format!("\u{feff}{VALID}"),
            format!("/* order */{VALID}"),
            format!("{VALID}\u{0}"),
            VALID.replace('"', "'"),
            VALID.replace('}', ",}"),
            VALID[..VALID.len() - 1].to_owned(),
            VALID[..40].to_owned(),
            VALID.replace('{', "{\"typo\":{\"a\":[[[]]]},"),
            VALID.replace(
                '{',
                &format!("{{\"typo\":{}{},", "[".repeat(200), "]".repeat(200)),
            ),
            VALID.replace("\"9.99\"", &"[".repeat(20_000)),
            VALID.replace("\"U-1\"", &"{\"a\":".repeat(5000)),
            VALID.replace('{', &format!("{{\"{}\":1,", "k".repeat(20_000))),
        ]
        .map(String::into_bytes),
    );
    bodies.push(
        VALID
            .replace("U-1", "U-?")
            .into_bytes()
            .iter()
            .map(|b| if *b == b'?' { 0xff } else { *b })
            .collect(),
    );
    bodies.push(VALID.encode_utf16().flat_map(u16::to_le_bytes).collect());
    bodies.push(vec![0; 100]);
    bodies.push(b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec());
    bodies
}

/// A key that comes twice: which of the two would be meant?
fn doubled() -> Vec<String> {
    [
        "\"orderId\":\"BAD-1\"",
        "\"amount\":\"9.99\"",
        "\"amount\":1",
        "\"userId\":\"U-2\"",
        "\"currency\":\"CNY\"",
    ]
    .iter()
    .map(|field| VALID.replace('{', &format!("{{{field},")))
    .collect()
}

/// One byte more than the 64 KiB that the API takes, and far more.
fn oversized(scene: &Scene) -> Vec<Case> {
    let padded = |to: usize| format!("{VALID}{}", " ".repeat(to - VALID.len()));
    let paths =
        ["attempts", "refunds", "close"].map(|path| format!("/api/payments/{}/{path}", scene.paid));
    let mut cases = vec![
        Case::post("/api/payments", padded(64 * 1024 + 1), "PAYLOAD_TOO_LARGE"),
        Case::post(
            "/api/payments",
            vec![b'['; 64 * 1024 + 1],
            "PAYLOAD_TOO_LARGE",
        ),
        Case::post("/api/payments", padded(200 * 1024), "PAYLOAD_TOO_LARGE"),
    ];
    cases.extend(
        paths
            .iter()
            .map(|path| Case::post(path, padded(64 * 1024 + 1), "PAYLOAD_TOO_LARGE")),
    );
    cases
}
