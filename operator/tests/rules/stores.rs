//! The rules on the database, the cache and the transaction coordinator.

use serde_json::{Value, json};

use super::case::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [mysql(), redis(), coordinator(), jvm()].concat()
}

fn mysql() -> Vec<Case> {
    let external = json!({"host": "db", "secretName": "s"});
    let image = |refused: &str, accepted: &str, before: &str| {
        case("cannot be downgraded", "mysql.image", refused, accepted)
            .before(json!({"mysql": {"image": before}}))
    };
    vec![
        case(
            "mysql.external cannot be added or removed",
            "mysql.external",
            external.clone(),
            Value::Null,
        )
        .before(json!({})),
        case(
            "no effect on an external database",
            "mysql.retention",
            "Delete",
            "Retain",
        )
        .around(json!({"mysql": {"external": external.clone()}})),
        case(
            "mysql.tls is for the managed database",
            "mysql.tls",
            json!({"certificateRef": {"name": "mysql-tls"}}),
            Value::Null,
        )
        .around(json!({"mysql": {"external": external}})),
        case("at least 8Mi", "mysql.innodbBufferPoolSize", "1Mi", "8Mi"),
        case(
            "must be smaller than mysql.resources.limits.memory",
            "mysql.innodbBufferPoolSize",
            "512Mi",
            "511Mi",
        )
        .around(json!({"mysql": {"resources": {"limits": {"memory": "512Mi"}}}})),
        image("mysql:9.6", "mysql:9.7.1", "mysql:9.7"),
        image("mysql:9.9", "mysql:9.11", "mysql:9.10"),
        image("mysql:8", "mysql:9", "mysql:9.7"),
        image(
            "registry.example:5000/mysql:8.4.6-oracle",
            "registry.example:5000/mysql:10.0-oracle",
            "mysql:9.7",
        ),
        case(
            "cannot be upgraded to 9 in one step",
            "mysql.image",
            "mysql:9.7",
            "mysql:8.4",
        )
        .before(json!({"mysql": {"image": "mysql:8.0.36"}})),
    ]
}

fn redis() -> Vec<Case> {
    vec![
        case(
            "no effect on an external cache",
            "redis.retention",
            "Delete",
            "Retain",
        )
        .around(json!({"redis": {"external": {"host": "cache"}}})),
        case(
            "redis.tls is for the managed cache",
            "redis.tls",
            json!({"certificateRef": {"name": "redis-tls"}}),
            Value::Null,
        )
        .around(json!({"redis": {"external": {"host": "cache"}}})),
        case(
            "redis.maxmemory must be smaller",
            "redis.maxmemory",
            "1gb",
            "1g",
        )
        .around(json!({"redis": {"resources": {"limits": {"memory": "1Gi"}}}})),
        case(
            "at least twice redis.maxmemory",
            "redis.storage.size",
            "2047Mi",
            "2Gi",
        ),
        case(
            "an older server cannot read",
            "redis.image",
            "redis:7.4-alpine",
            "redis:8.2",
        )
        .before(json!({"redis": {"image": "redis:8"}})),
    ]
}

fn coordinator() -> Vec<Case> {
    let limited = json!({"transactionCoordinator": {"resources": {"limits": {"memory": "1Gi"}}}});
    let image = |image| {
        case(
            "rolls back branches in the wrong order",
            "transactionCoordinator.image",
            image,
            "apache/seata-server:2.1.0",
        )
    };
    vec![
        case(
            "transactionGroup cannot be changed",
            "transactionCoordinator.transactionGroup",
            "other",
            "payment-tx-group",
        )
        .before(json!({})),
        case(
            "transactionCoordinator.external cannot be added or removed",
            "transactionCoordinator.external",
            json!({"host": "tc"}),
            Value::Null,
        )
        .before(json!({})),
        case(
            "no effect on an external coordinator",
            "transactionCoordinator.clientNamespaces",
            json!(["shop"]),
            Value::Null,
        )
        .around(json!({"transactionCoordinator": {"external": {"host": "tc"}}})),
        case(
            "heap must be smaller",
            "transactionCoordinator.heap",
            "1g",
            "1023m",
        )
        .around(limited),
        image("apache/seata-server:2.0.0"),
        image("mirror.example/seata:2.0-jdk17"),
    ]
}

fn jvm() -> Vec<Case> {
    let options = |words, refused: &[&str], accepted: &[&str]| {
        case(
            words,
            "transactionCoordinator.jvmOptions",
            json!(refused),
            json!(accepted),
        )
    };
    vec![
        options("must start with '-'", &["verbose"], &["-verbose:gc"]),
        options("set the heap by", &["-Xmx1g"], &["-Xss1m"]),
        options(
            "a share of the memory",
            &["-XX:MaxRAMPercentage=50"],
            &["-XX:MaxMetaspaceSize=128m"],
        ),
        options(
            "with two collectors",
            &["-XX:+UseG1GC"],
            &["-XX:-UseSerialGC", "-XX:+UseG1GC"],
        ),
        options("remove -jar", &["-jar"], &["-server"]),
    ]
}
