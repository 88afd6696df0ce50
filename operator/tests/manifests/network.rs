//! Who may talk to whom.

use std::collections::BTreeSet;

use crds::{PaymentSystem, reconciliation::Notify, stores::ExternalMysql};
use payment_operator::{
    build::{
        Manifest,
        labels::{self, component},
        network::{self, Edge, End},
    },
    kinds::Kind,
};
use serde_json::{Value, json};

use super::{changed, example, find, manifests, valid};

fn policies(manifests: &[Manifest]) -> Vec<&Manifest> {
    let policies = manifests.iter();
    policies
        .filter(|it| it.kind == Kind::NetworkPolicy)
        .collect()
}

fn edges(object: &PaymentSystem) -> Vec<Edge> {
    network::edges(&valid(object))
}

/// Ports on which a component of the system reaches another one.
fn ports(edges: &[Edge], from: &str, to: &str) -> Vec<u16> {
    let between = edges
        .iter()
        .filter(|edge| edge.from.is(from) && edge.to.is(to));
    let ports = between.flat_map(|edge| edge.ports.iter().map(|port| port.number));
    ports.collect()
}

/// Where a component may go beside its own system and the resolver.
fn outside(edges: &[Edge], from: &str) -> Vec<(End, Vec<u16>)> {
    let away = edges.iter().filter(|edge| {
        edge.from.is(from) && !matches!(edge.to, End::Own(_)) && edge.why != "names are resolved"
    });
    let ends = away.map(|edge| {
        let ports = edge.ports.iter().map(|port| port.number);
        (edge.to.clone(), ports.collect())
    });
    ends.collect()
}

/// A label selector's answer, for what the operator writes.
fn selects(selector: &Value, pod: &Value) -> bool {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    labels
        .map(|(key, value)| pod[key] == *value)
        .chain(expressions.map(|expression| {
            assert_eq!(expression["operator"], "In");
            let values = expression["values"].as_array().unwrap();
            values.contains(&pod[expression["key"].as_str().unwrap()])
        }))
        .all(|matches| matches)
}

/// Labels of the pods of all workloads, by workload.
fn pods(manifests: &[Manifest]) -> Vec<(String, Value)> {
    let templates = manifests.iter().filter_map(|manifest| {
        let pointers = ["/spec/template", "/spec/jobTemplate/spec/template"];
        let mut found = pointers.iter().filter_map(|it| manifest.value.pointer(it));
        let template = found.next()?;
        Some((
            manifest.name.clone(),
            template["metadata"]["labels"].clone(),
        ))
    });
    templates.collect()
}

#[test]
fn every_pod_is_closed_and_has_a_policy_of_its_own() {
    for name in ["demo", "production"] {
        let manifests = manifests(&example(name));
        let policies = policies(&manifests);
        for (workload, pod) in pods(&manifests) {
            let selecting = policies
                .iter()
                .filter(|it| selects(&it.value["spec"]["podSelector"], &pod));
            let names: Vec<&str> = selecting.map(|it| it.name.as_str()).collect();
            let component = pod[labels::COMPONENT].as_str().unwrap();
            let own = format!("{name}-{component}");
            assert_eq!(names, [own, format!("{name}-all")], "{workload}");
        }
    }
}

#[test]
fn no_policy_selects_pods_of_somebody_else() {
    let manifests = manifests(&example("demo"));
    let strangers = [
        json!({}),
        json!({"app": "shop"}),
        json!({labels::INSTANCE: "demo", labels::COMPONENT: "mysql", labels::MANAGED_BY: "Helm"}),
        labels::all("other", component::MYSQL),
    ];
    for policy in policies(&manifests) {
        let spec = &policy.value["spec"];
        assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
        let selector = &spec["podSelector"];
        for stranger in &strangers {
            assert!(!selects(selector, stranger), "{} {stranger}", policy.name);
        }
    }
}

#[test]
fn stores_and_coordinator_of_two_systems_are_apart() {
    let manifests = manifests(&example("demo"));
    for store in ["mysql", "redis", "coordinator", "orders"] {
        let policy = find(&manifests, Kind::NetworkPolicy, &format!("demo-{store}"));
        let rules = policy["spec"]["ingress"].as_array().unwrap();
        let peers = rules
            .iter()
            .flat_map(|rule| rule["from"].as_array().unwrap());
        for peer in peers {
            for component in [component::WORKER, component::PAYMENT, component::ROTATION] {
                let other = labels::all("other", component);
                assert!(!selects(&peer["podSelector"], &other), "{store}: {peer}");
            }
        }
    }
}

#[test]
fn stores_go_nowhere() {
    let manifests = manifests(&example("demo"));
    for store in ["demo-mysql", "demo-redis", "demo-all"] {
        let policy = find(&manifests, Kind::NetworkPolicy, store);
        assert!(policy["spec"].get("egress").is_none(), "{store}");
    }
    let all = find(&manifests, Kind::NetworkPolicy, "demo-all");
    assert!(all["spec"].get("ingress").is_none());
}

#[test]
fn each_component_reaches_what_it_works_with() {
    let edges = edges(&example("demo"));
    for paying in [
        "payment",
        "callback",
        "worker",
        "reconciliation",
        "reconciliation-run",
    ] {
        assert_eq!(ports(&edges, paying, "mysql"), [3306], "{paying}");
        assert_eq!(ports(&edges, paying, "redis"), [6379], "{paying}");
        assert_eq!(
            ports(&edges, paying, "channel-simulator"),
            [8080],
            "{paying}"
        );
        assert_eq!(outside(&edges, paying), [], "{paying}");
    }
    for confirming in ["worker", "orders", "payment", "callback", "reconciliation"] {
        assert_eq!(
            ports(&edges, confirming, "coordinator"),
            [8091],
            "{confirming}"
        );
    }
    for writing in ["coordinator", "orders", "migration", "rotation"] {
        assert_eq!(ports(&edges, writing, "mysql"), [3306], "{writing}");
    }
    assert_eq!(ports(&edges, "rotation", "redis"), [6379]);
    assert_eq!(ports(&edges, "worker", "orders"), [8080]);
    assert_eq!(ports(&edges, "channel-simulator", "callback"), [8080]);
    let none: [u16; 0] = [];
    assert_eq!(ports(&edges, "payment", "orders"), none);
    assert_eq!(ports(&edges, "orders", "redis"), none);
    assert_eq!(ports(&edges, "channel-simulator", "mysql"), none);
}

#[test]
fn what_a_specification_names_is_reached() {
    let edges = edges(&example("production"));
    let within = |namespace: &str| (End::Namespaces(vec![namespace.to_owned()]), vec![]);
    let database = [within("databases"), (End::Anyone, vec![3306])];
    assert_eq!(outside(&edges, "migration"), database);
    assert_eq!(outside(&edges, "coordinator"), database);
    let worker = outside(&edges, "worker");
    for way in [
        within("shop"),
        (End::Anyone, vec![8080]),
        (End::Internet, vec![443]),
    ] {
        assert!(worker.contains(&way), "{way:?}");
    }
    let run = outside(&edges, "reconciliation-run");
    assert!(run.contains(&(End::Anyone, vec![443])), "the webhook");
    let callback = outside(&edges, "callback");
    assert!(!callback.contains(&(End::Anyone, vec![443])));
}

#[test]
fn an_address_in_the_specification_is_the_only_one() {
    let mut object = example("demo");
    object.spec.mysql.external = Some(ExternalMysql {
        host: "10.9.8.7".to_owned(),
        port: 3307,
        secret_name: "database".to_owned(),
        ..ExternalMysql::default()
    });
    object.spec.reconciliation.notify = Some(Notify {
        url: "http://hooks.shop.svc/differences".to_owned(),
        ..Notify::default()
    });
    let edges = edges(&object);
    let database = (End::Addresses(vec!["10.9.8.7/32".to_owned()]), vec![3307]);
    assert_eq!(outside(&edges, "payment"), std::slice::from_ref(&database));
    let shop = End::Namespaces(vec!["shop".to_owned()]);
    let hook = [(shop, vec![]), (End::Anyone, vec![80])];
    let run = [&[database][..], &hook].concat();
    assert_eq!(outside(&edges, "reconciliation-run"), run);
    let rotation = outside(&edges, "rotation");
    assert_eq!(rotation, [], "passwords in somebody's database are theirs");
}

#[test]
fn ways_in_are_narrowed_by_name() {
    let who = |object: &PaymentSystem, policy: &str, port: u16| -> Value {
        let manifests = manifests(object);
        let policy = find(&manifests, Kind::NetworkPolicy, policy);
        let rules = policy["spec"]["ingress"].as_array().unwrap().iter();
        let rules = rules.filter(|rule| rule["ports"][0]["port"] == port);
        rules.map(|rule| rule.get("from").cloned()).collect()
    };
    let mut object = example("demo");
    assert_eq!(who(&object, "demo-payment", 8080), json!([null]));
    assert_eq!(who(&object, "demo-callback", 8080)[0], json!(null));
    let metrics = who(&object, "demo-payment", 8081);
    assert_eq!(metrics[0][0]["namespaceSelector"], json!({}));
    let operator = &metrics[1][0]["namespaceSelector"]["matchLabels"];
    assert_eq!(operator["kubernetes.io/metadata.name"], "payment-system");
    object.spec.network.client_namespaces = vec!["shop".to_owned()];
    object.spec.network.monitoring_namespaces = vec!["watch".to_owned()];
    let named = |name: &str| {
        json!([{"namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [name]},
        ]}}])
    };
    assert_eq!(who(&object, "demo-payment", 8080), json!([named("shop")]));
    assert_eq!(who(&object, "demo-callback", 8080)[0], json!(null));
    assert_eq!(who(&object, "demo-orders", 8081), json!([named("watch")]));
    assert_eq!(
        who(&object, "demo-coordinator", 9898),
        json!([named("watch")])
    );
}

#[test]
fn channels_are_reached_where_they_are() {
    let mut object = example("production");
    let to = |object: &PaymentSystem| outside(&edges(object), "callback");
    assert!(to(&object).contains(&(End::Internet, vec![443])));
    "https://proxy.internal:8443".clone_into(&mut object.spec.channels.wechat.base_url);
    let proxy = (End::Anyone, vec![8443]);
    assert!(to(&object).contains(&proxy));
    object.spec.network.egress_cidrs = vec!["203.0.113.0/24".to_owned()];
    let named = |port| {
        (
            End::Addresses(vec!["203.0.113.0/24".to_owned()]),
            vec![port],
        )
    };
    let callback = to(&object);
    assert!(callback.contains(&named(8443)) && callback.contains(&named(443)));
    assert!(!callback.contains(&proxy), "{callback:?}");
}

#[test]
fn without_policies_there_is_none() {
    let mut object = example("demo");
    object.spec.network.policies = false;
    assert!(policies(&manifests(&object)).is_empty());
}

#[test]
fn no_pod_restarts_for_it() {
    let edits: [fn(&mut PaymentSystem); 3] = [
        |o| o.spec.network.policies = false,
        |o| o.spec.network.client_namespaces = vec!["shop".to_owned()],
        |o| o.spec.network.monitoring_namespaces = vec!["watch".to_owned()],
    ];
    for edit in edits {
        assert_eq!(changed(edit), Vec::<String>::new());
    }
}

#[test]
fn every_edge_says_what_for() {
    for name in ["demo", "production"] {
        let edges = edges(&example(name));
        assert!(edges.iter().all(|edge| !edge.why.is_empty()));
        let texts: BTreeSet<String> = edges.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), edges.len(), "an edge of {name} stands twice");
    }
}

/// `WRITE_DOCS=1` writes them.
#[test]
fn the_documented_edges_are_the_ones_that_are_made() {
    let path = format!("{}/../docs/network.md", env!("CARGO_MANIFEST_DIR"));
    let mut documented = std::fs::read_to_string(&path).unwrap();
    let before = documented.clone();
    for name in ["demo", "production"] {
        let edges = edges(&example(name)).into_iter();
        let rows: Vec<String> = edges.map(|edge| edge.to_string()).collect();
        let start = format!("<!-- edges of {name} -->\n");
        let from = documented.find(&start).unwrap() + start.len();
        let length = documented[from..].find("\n<!-- end -->").unwrap();
        let head = "| from | to | port | what for |\n|---|---|---|---|\n";
        let table = format!("{head}{}", rows.join("\n"));
        documented.replace_range(from..from + length, &table);
    }
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &documented).unwrap();
    } else {
        assert_eq!(before, documented, "run make generate");
    }
}
