//! The rules on what several sections have.

use serde_json::json;

use super::case::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [names(), resources(), storage(), scaling(), hosts(), texts()].concat()
}

fn names() -> Vec<Case> {
    let external = json!({"mysql": {"external": {"host": "db"}}});
    let namespaces = |words, refused: &[&str]| {
        case(
            words,
            "orders.clientNamespaces",
            json!(refused),
            json!(["shop", "till"]),
        )
    };
    vec![
        case(
            "the name of an object",
            "mysql.external.secretName",
            "Database",
            "database",
        )
        .around(external),
        case(
            "the name of an object",
            "redis.storage.storageClassName",
            "fast..ssd",
            "fast.ssd",
        ),
        namespaces("the list names a namespace twice", &["shop", "shop"]),
        namespaces("the name of a namespace has only", &["shop", "Till"]),
    ]
}

fn resources() -> Vec<Case> {
    vec![
        case(
            "limits.cpu must not be smaller",
            "payment.resources.limits.cpu",
            "99m",
            "100m",
        )
        .around(json!({"payment": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}})),
        case(
            "limits.memory must not be smaller",
            "payment.resources.limits.memory",
            "95Mi",
            "96Mi",
        )
        .around(json!({"payment": {"resources": {"requests": {"cpu": "1", "memory": "96Mi"}}}})),
        case(
            "requests.cpu must be more than 0",
            "mysql.resources.requests.cpu",
            "0",
            "1m",
        ),
        case(
            "requests.memory is in bytes",
            "mysql.resources.requests.memory",
            "256m",
            "256Mi",
        ),
        case(
            "limits.memory is in bytes",
            "transactionCoordinator.resources.limits.memory",
            "512m",
            "512Mi",
        ),
    ]
}

fn storage() -> Vec<Case> {
    vec![
        case(
            "a volume stays in its class",
            "mysql.storage.storageClassName",
            "slow",
            "fast-ssd",
        )
        .before(json!({})),
        case("may only grow", "mysql.storage.size", "19Gi", "21Gi").before(json!({})),
        case(
            "must be a positive quantity",
            "mysql.storage.size",
            "0",
            "20Gi",
        ),
        case(
            "storage.size is in bytes",
            "mysql.storage.size",
            "20",
            "100Mi",
        ),
    ]
}

fn scaling() -> Vec<Case> {
    let limited = |limit| json!({"callback": {"resources": {"limits": limit, "requests": {"cpu": "1", "memory": "1Gi"}}}});
    vec![
        case(
            "must not be larger than autoscaling.maxReplicas",
            "payment.autoscaling.minReplicas",
            11,
            10,
        ),
        case(
            "in the first quiet moment",
            "payment.autoscaling.scaleDown.stabilizationSeconds",
            0,
            1,
        )
        .around(json!({"payment": {"autoscaling": {"scaleDown": {"percent": 100}}}})),
        case(
            "autoscaling.cpuUtilizationPercent of requests.cpu",
            "callback.autoscaling.cpuUtilizationPercent",
            151,
            150,
        )
        .around(limited(json!({"cpu": "1500m"}))),
        case(
            "autoscaling.memoryUtilizationPercent of requests.memory",
            "callback.autoscaling.memoryUtilizationPercent",
            201,
            200,
        )
        .around(limited(json!({"memory": "2Gi"}))),
    ]
}

fn hosts() -> Vec<Case> {
    let host = |words, refused: &str, accepted: &str| {
        case(words, "mysql.external.host", refused, accepted)
            .around(json!({"mysql": {"external": {"secretName": "s"}}}))
    };
    vec![
        host("remove the scheme", "mysql://db", "db"),
        host("must not carry a port", "db:3306", "fd00::1"),
        host("must be a DNS name", "db..svc", "db.svc"),
        host("must be a DNS name", "db host", "10.0.0.1"),
    ]
}

fn texts() -> Vec<Case> {
    let schedule = |words, refused: &str, accepted: &str| {
        case(words, "reconciliation.schedule", refused, accepted)
    };
    vec![
        case(
            "needs a tag or a digest",
            "payment.image",
            "runtime",
            "runtime:1",
        ),
        case("tagged latest", "mysql.image", "mysql:latest", "mysql:9"),
        case(
            "neither a scheme nor spaces",
            "redis.image",
            "https://registry.example/redis:8",
            "registry.example/redis:8",
        ),
        schedule("needs five fields", "0 * * *", "0 * * * *"),
        schedule("may have digits", "@ * * * *", "7 * * * *"),
        schedule("has minutes 0-59", "60 * * * *", "59 * * * *"),
        schedule(
            "has minutes 0-59",
            "0 8-24 * * *",
            "0 8-23 * jan,FEB mon-fri",
        ),
        schedule("at least five minutes", "*/4 * * * *", "*/5 * * * *"),
        schedule("at least five minutes", "* * * * *", "7,37 * * * *"),
        case(
            "at most two decimals",
            "reconciliation.secondPersonAbove",
            "1.005",
            "1.05",
        ),
        case(
            "a rate is a percentage",
            "reconciliation.feeRates.wechat",
            "0.6",
            "0.6%",
        ),
    ]
}
