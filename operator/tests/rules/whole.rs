//! The rules on the name, and on what concerns several sections.

use serde_json::{Value, json};

use super::case::{Case, case};

/// A system of a real channel.
pub(super) fn real() -> Value {
    json!({"channels": {
        "simulator": false,
        "wechat": {"enabled": true},
        "callbackBaseUrl": "https://pay.example.com",
    }})
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "at most 30 characters",
            "metadata.name",
            "a".repeat(31),
            "a".repeat(30),
        ),
        case("must start with a letter", "metadata.name", "1a", "a1"),
        case(
            "switch on a channel",
            "channels.wechat.enabled",
            false,
            true,
        )
        .around(real()),
        case(
            "must know where to call back",
            "channels.callbackBaseUrl",
            Value::Null,
            "https://pay.example.com",
        )
        .around(real()),
        case(
            "too small for the replicas",
            "mysql.maxConnections",
            279,
            280,
        ),
        case("too small for the replicas", "orders.replicas", 23, 22),
        case("orders cannot be removed", "orders", Value::Null, json!({}))
            .before(json!({"orders": {}})),
        case("before the data has moved", "paused", false, true)
            .around(json!({"mysql": {"external": {"host": "new", "secretName": "s"}}}))
            .before(json!({"mysql": {"external": {"host": "old"}}})),
        case("once none is open", "paused", false, true)
            .around(json!({"transactionCoordinator": {"external": {"host": "new"}}}))
            .before(json!({"transactionCoordinator": {"external": {"host": "old"}}})),
    ]
}
