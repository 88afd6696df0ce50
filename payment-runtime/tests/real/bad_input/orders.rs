//! Orders with one field that cannot be used.

use super::Case;

/// An order that is taken; each case changes one thing about it.
pub(super) const VALID: &str =
    r#"{"orderId":"BAD-1","amount":"9.99","currency":"CNY","userId":"U-1","channel":"wechat"}"#;

const UNUSABLE: &str = "VALIDATION_FAILED";
const UNREADABLE: &str = "BAD_REQUEST";

/// The order with a field set to a JSON text.
fn with(field: &str, raw: &str) -> String {
    let fields = [
        ("orderId", "\"BAD-1\""),
        ("amount", "\"9.99\""),
        ("currency", "\"CNY\""),
        ("userId", "\"U-1\""),
        ("channel", "\"wechat\""),
    ];
    let mut parts: Vec<String> = fields
        .iter()
        .filter(|(name, _)| *name != field)
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    parts.push(format!("\"{field}\":{raw}"));
    format!("{{{}}}", parts.join(","))
}

fn order(body: impl Into<Vec<u8>>, code: &'static str) -> Case {
    Case::post("/api/payments", body, code)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |field: &str, code, values: &[&str]| {
        cases.extend(values.iter().map(|raw| order(with(field, raw), code)));
    };
    let id = "i".repeat(65);
    let long = format!("\"{id}\"");
    for field in ["orderId", "userId"] {
        add(
            field,
            UNUSABLE,
            &[
                "\"\"",
                "\" \"",
                "\"a b\"",
                "\" a\"",
                "\"a \"",
                "\"订单\"",
                "\"a\\u0000\"",
                "\"a\\n\"",
                "\"a/b\"",
                "\"a;b\"",
                "\"a'--\"",
                "\"a%00\"",
                "\"<b>\"",
                "\"🂡\"",
                &long,
            ],
        );
        add(
            field,
            UNREADABLE,
            &[
                "7",
                "null",
                "true",
                "[]",
                "{}",
                "1.5",
                "\"\\ud800\"",
                "\"a\nb\"",
            ],
        );
    }
    amounts(&mut add);
    add(
        "currency",
        UNUSABLE,
        &[
            "\"USD\"", "\"JPY\"", "\"KWD\"", "\"cny\"", "\"CNYX\"", "\"\"", "\"¥\"", "\"XXX\"",
            "\"CN\"",
        ],
    );
    add(
        "currency",
        UNREADABLE,
        &["156", "null", "[\"CNY\"]", "false"],
    );
    add(
        "channel",
        UNUSABLE,
        &[
            "\"paypal\"",
            "\"WECHAT\"",
            "\"\"",
            "\" wechat\"",
            "\"alipay\\u0000\"",
        ],
    );
    add("channel", UNREADABLE, &["1", "[]", "{}"]);
    add(
        "method",
        UNUSABLE,
        &[
            "\"precreate\"",
            "\"NATIVE\"",
            "\"\"",
            "\"jsapi\"",
            "\"h5\"",
            "\"page\"",
            "\"scan\"",
        ],
    );
    add("method", UNREADABLE, &["4", "[\"native\"]"]);
    add("payerId", UNUSABLE, &["\"openid-1\"", "\"\""]);
    add(
        "clientIp",
        UNUSABLE,
        &[
            "\"999.1.1.1\"",
            "\"localhost\"",
            "\"\"",
            "\"1.2.3.4:80\"",
            "\"1.2.3\"",
            "\"::g\"",
            "\"fe80::1%eth0\"",
            "\" 1.2.3.4\"",
        ],
    );
    add("clientIp", UNREADABLE, &["16909060", "[1,2,3,4]"]);
    let url = format!("\"https://x.example/{}\"", "p".repeat(255));
    add(
        "returnUrl",
        UNUSABLE,
        &[
            "\"javascript:alert(1)\"",
            "\"ftp://x.example\"",
            "\"\"",
            "\"//x.example\"",
            "\"https://x.example/a b\"",
            "\"https://例.example\"",
            "\"HTTPS://x.example\"",
            "\"https://x.example/\\r\\nA: b\"",
            "\"file:///etc/passwd\"",
            &url,
        ],
    );
    let subject = format!("\"{}\"", "书".repeat(129));
    add(
        "subject",
        UNUSABLE,
        &[
            "\"\"",
            "\"a\\u0000b\"",
            "\"a\\nb\"",
            "\"\\u007f\"",
            "\"\\u0085\"",
            "\"\\u001b[31m\"",
            &subject,
        ],
    );
    add(
        "subject",
        UNREADABLE,
        &["1", "\"\\ud83d\"", "\"\\x41\"", "{\"zh\":\"书\"}"],
    );
    add(
        "expiresInSeconds",
        UNUSABLE,
        &["0", "59", "604801", "18446744073709551615"],
    );
    add(
        "expiresInSeconds",
        UNREADABLE,
        &[
            "-1",
            "60.5",
            "\"3600\"",
            "1e3",
            "18446744073709551616",
            "true",
            "[60]",
        ],
    );
    items(&mut add);
    for name in [
        "typo",
        "OrderId",
        "order_id",
        "__proto__",
        "paymentId",
        "status",
        "attempt",
        "",
    ] {
        add(name, UNREADABLE, &["1"]);
    }
    cases.extend(jsapi_without_a_usable_payer());
    cases
}

type Add<'a> = dyn FnMut(&str, &'static str, &[&str]) + 'a;

fn amounts(add: &mut Add<'_>) {
    let digits = format!("\"{}\"", "9".repeat(4000));
    let decimals = format!("\"1.{}1\"", "0".repeat(4000));
    add(
        "amount",
        UNUSABLE,
        &[
            "\"0\"",
            "0",
            "\"0.00\"",
            "0.00",
            "-1",
            "\"-1\"",
            "\"-0\"",
            "-0",
            "\"1.001\"",
            "1.001",
            "\"1e2\"",
            "1e2",
            "1E2",
            "\"1E2\"",
            "1e-2",
            "1.5e1",
            "1e400",
            "-1e400",
            "\"+1\"",
            "\" 1\"",
            "\"1 \"",
            "\"1,00\"",
            "\"1,000.00\"",
            "\".5\"",
            "\"5.\"",
            "\".\"",
            "\"-\"",
            "\"\"",
            "\"NaN\"",
            "\"Infinity\"",
            "\"-Infinity\"",
            "\"0x10\"",
            "\"１\"",
            "\"٣\"",
            "\"1_000\"",
            "\"1\\n\"",
            "\"1\\u0000\"",
            "\"¥1\"",
            "\"1 CNY\"",
            "\"1.2.3\"",
            "\"--1\"",
            "\"\\\"1\\\"\"",
            "99999999999999999999",
            "\"99999999999999999999\"",
            "21474836.48",
            "\"21474836.48\"",
            "92233720368547758.07",
            "\"92233720368547758.08\"",
            &digits,
            &decimals,
            "null",
            "true",
            "false",
            "[]",
            "[1]",
            "{}",
            "{\"value\":1}",
            "\"null\"",
        ],
    );
    add(
        "amount",
        UNREADABLE,
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "+1",
            ".5",
            "5.",
            "007",
            "0x10",
            "1e",
            "--1",
            "'1'",
            "",
            "1 2",
            "1,2",
            "\"1",
            "tru",
            "undefined",
        ],
    );
}

fn items(add: &mut Add<'_>) {
    let many = format!(
        "[{}]",
        vec!["{\"productId\":\"P\",\"quantity\":1}"; 101].join(",")
    );
    add(
        "items",
        UNUSABLE,
        &[
            "[{\"productId\":\"P\",\"quantity\":0}]",
            "[{\"productId\":\"\",\"quantity\":1}]",
            "[{\"productId\":\"a b\",\"quantity\":1}]",
            &many,
        ],
    );
    add(
        "items",
        UNREADABLE,
        &[
            "null",
            "{}",
            "\"P\"",
            "[1]",
            "[null]",
            "[[\"P\",1]]",
            "[{}]",
            "[{\"productId\":\"P\"}]",
            "[{\"quantity\":1}]",
            "[{\"productId\":\"P\",\"quantity\":-1}]",
            "[{\"productId\":\"P\",\"quantity\":1.5}]",
            "[{\"productId\":\"P\",\"quantity\":\"1\"}]",
            "[{\"productId\":\"P\",\"quantity\":4294967296}]",
            "[{\"productId\":\"P\",\"quantity\":1,\"price\":1}]",
            "[{\"productId\":\"P\",\"quantity\":1,\"quantity\":1}]",
            "[{\"productId\":7,\"quantity\":1}]",
            "[,]",
        ],
    );
}

fn jsapi_without_a_usable_payer() -> Vec<Case> {
    let payers = [
        "\"\"".to_owned(),
        "\"a b\"".to_owned(),
        "\"ü\"".to_owned(),
        format!("\"{}\"", "o".repeat(65)),
    ];
    let of = |payer: &String| {
        let fields = format!("\"jsapi\",\"payerId\":{payer}");
        order(with("method", &fields), UNUSABLE)
    };
    payers.iter().map(of).collect()
}
