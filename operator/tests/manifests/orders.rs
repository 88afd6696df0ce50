//! The order service, what it may read, and what an edit of it restarts.

use crds::orders::{ExternalOrders, Orders};
use payment_operator::kinds::Kind;
use payment_operator::validate::named_secrets;
use serde_json::json;

use super::{changed, example, find, manifests};

#[test]
fn the_order_service_reads_its_own_password_and_nothing_else() {
    let manifests = manifests(&example("demo"));
    let pod = &find(&manifests, Kind::Deployment, "demo-orders")["spec"]["template"]["spec"];
    let secrets: Vec<&str> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|volume| volume["secret"]["secretName"].as_str())
        .collect();
    assert_eq!(secrets, ["demo-orders"]);
    assert_eq!(pod["containers"][0]["args"][0], "orders");
}

#[test]
fn only_named_namespaces_reach_the_order_service() {
    let mut object = example("demo");
    let orders = object.spec.orders.as_mut().unwrap();
    orders.client_namespaces = vec!["shop".to_owned()];
    let manifests = manifests(&object);
    let policy = &find(&manifests, Kind::NetworkPolicy, "demo-orders")["spec"];
    let rules = policy["ingress"].as_array().unwrap().iter();
    let rules = rules.filter(|rule| rule["ports"][0]["port"] == 8080);
    let from: Vec<_> = rules.map(|rule| &rule["from"]).collect();
    let own = &from[0][0]["podSelector"]["matchLabels"];
    assert_eq!(own["app.kubernetes.io/component"], "worker");
    let shop = json!([{"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]},
    ]}}]);
    assert_eq!(from[1..], [&shop]);
}

#[test]
fn an_order_service_of_your_own_takes_its_place() {
    let mut object = example("demo");
    let external = ExternalOrders {
        url: "https://orders.example.com/shop".to_owned(),
    };
    object.spec.orders = Some(Orders {
        external: Some(external),
        ..Orders::default()
    });
    let manifests = manifests(&object);
    assert!(manifests.iter().all(|it| it.name != "demo-orders"));
    let mysql = find(&manifests, Kind::ConfigMap, "demo-mysql");
    assert!(!mysql.to_string().contains("ORDERS_PASSWORD"));
    let config = find(&manifests, Kind::ConfigMap, "demo-runtime")["data"]["config.yaml"]
        .as_str()
        .unwrap();
    let config = contract::RuntimeConfig::parse(config).unwrap();
    let url = config.confirmation.unwrap().orders_url;
    assert_eq!(url, "https://orders.example.com/shop");
    assert_eq!(config.orders, None);
}

#[test]
fn in_an_existing_database_its_password_stands_in_the_named_secret() {
    let mut object = example("production");
    object.spec.orders = Some(Orders::default());
    assert!(named_secrets(&object.spec).contains("payment-database"));
    let manifests = manifests(&object);
    let pod = &find(&manifests, Kind::Deployment, "production-orders")["spec"]["template"]["spec"];
    let mut volumes = pod["volumes"].as_array().unwrap().iter();
    let password = volumes.find(|it| it["name"] == "orders").unwrap();
    assert_eq!(password["secret"]["secretName"], "payment-database");
    assert_eq!(password["secret"]["items"][0]["key"], "orders-password");
}

#[test]
fn an_edit_restarts_who_reads_it() {
    let tries = changed(|o| o.spec.orders.as_mut().unwrap().max_tries = 5);
    assert_eq!(tries, ["demo-worker"]);
    let buckets = changed(|o| o.spec.orders.as_mut().unwrap().stock_buckets = 2);
    assert_eq!(buckets, ["demo-orders"]);
}

#[test]
fn without_orders_nothing_is_confirmed() {
    let mut object = example("demo");
    object.spec.orders = None;
    let manifests = manifests(&object);
    assert!(manifests.iter().all(|it| it.name != "demo-orders"));
    let config = find(&manifests, Kind::ConfigMap, "demo-runtime").to_string();
    assert!(!config.contains("confirmation"), "{config}");
    let alerts = find(&manifests, Kind::PrometheusRule, "demo-alerts").to_string();
    assert!(!alerts.contains("Confirmations"), "{alerts}");
}
