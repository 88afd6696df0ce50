//! The rules on the channels, and on the way from them.

use serde_json::{Value, json};

use super::{
    case::{Case, case},
    whole::real,
};

pub(super) fn cases() -> Vec<Case> {
    [channels(), expose()].concat()
}

fn channels() -> Vec<Case> {
    let callback = |words, refused: &str, accepted: &str| {
        case(words, "channels.callbackBaseUrl", refused, accepted).around(real())
    };
    vec![
        case(
            "in a system of real channels",
            "channels.simulator",
            true,
            false,
        )
        .around(real())
        .before(json!({})),
        case(
            "remove channels.secretName",
            "channels.secretName",
            "mine",
            "payment-service-secret",
        ),
        case(
            "remove channels.wechat.baseUrl",
            "channels.wechat.baseUrl",
            "https://wechat.example.com",
            "https://api.mch.weixin.qq.com",
        ),
        case(
            "remove channels.alipay.gatewayUrl",
            "channels.alipay.gatewayUrl",
            "https://alipay.example.com/gateway.do",
            "https://openapi.alipay.com/gateway.do",
        ),
        case(
            "remove channels.wechat.platformCertificates",
            "channels.wechat.platformCertificates",
            true,
            false,
        ),
        case(
            "remove channels.alipay.certificateMode",
            "channels.alipay.certificateMode",
            true,
            false,
        ),
        callback(
            "channels.callbackBaseUrl must start with https://",
            "http://pay.example.com",
            "https://pay.example.com",
        ),
        callback(
            "must be reachable from the internet",
            "https://localhost:8443",
            "https://pay.example.com:8443",
        ),
        callback(
            "must be reachable from the internet",
            "https://callback.payment.svc",
            "https://svc.example.com",
        ),
    ]
}

fn expose() -> Vec<Case> {
    let gateway = json!({"expose": {"gateway": {
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
        "hostnames": ["pay.example.com"],
    }}});
    let ingress = json!({"host": "pay.example.com", "tlsSecretName": "certificate"});
    let refs = |words, refused: Value, accepted: Value| {
        case(words, "expose.gateway.parentRefs", refused, accepted).around(gateway.clone())
    };
    let listener = |name: &str| json!({"name": "public", "sectionName": name});
    vec![
        case(
            "expose either by gateway or by ingress",
            "expose.ingress",
            ingress.clone(),
            Value::Null,
        )
        .around(gateway.clone()),
        case(
            "expose needs gateway or ingress",
            "expose",
            json!({}),
            json!({"ingress": ingress}),
        ),
        case(
            "names a host twice",
            "expose.gateway.hostnames",
            json!(["a.example.com", "a.example.com"]),
            json!(["a.example.com", "b.example.com"]),
        )
        .around(gateway.clone()),
        refs(
            "names a listener twice",
            json!([listener("https"), listener("https")]),
            json!([listener("https"), listener("http")]),
        ),
        refs(
            "with and without a listener",
            json!([{"name": "public"}, listener("https")]),
            json!([{"name": "other"}, listener("https")]),
        ),
    ]
}
