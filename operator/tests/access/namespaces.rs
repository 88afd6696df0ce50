//! An operator of some namespaces lives there and nowhere else.

use std::{sync::Arc, time::Duration};

use crds::PaymentSystem;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use payment_operator::{
    install::{self, Installation},
    kinds::Kind,
};
use serde_json::json;

use crate::{
    grants::granted,
    questions::Questions,
    support::{
        cluster::{Cluster, NAMESPACE, demo},
        kubelet::Kubelet,
        optional,
        process::{self, Operator},
        world::{History, Objects, World},
    },
};

const SECOND: &str = "second-team";
const UNWATCHED: &str = "unwatched";
const LIMIT: Duration = Duration::from_mins(2);
/// Long enough for a busy computer to renew it.
const LEASE_SECONDS: u32 = 60;

/// What belongs to the cluster and not to a namespace.
const CLUSTER_KINDS: [&str; 5] = [
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

fn installation() -> Installation {
    Installation {
        watch_namespaces: vec![NAMESPACE.to_owned(), SECOND.to_owned()],
        ..process::installation()
    }
}

#[test]
fn nothing_of_the_installation_belongs_to_the_cluster() {
    let yaml = install::yaml(&installation()).unwrap();
    for kind in CLUSTER_KINDS {
        assert!(!yaml.contains(&format!("kind: {kind}\n")), "{kind}");
    }
    for namespace in [NAMESPACE, SECOND] {
        let grants = granted(&yaml);
        let here = |grant: &&crate::Grant| grant.namespace.as_deref() == Some(namespace);
        assert!(grants.iter().filter(here).count() > 50, "{namespace}");
    }
}

async fn wants(cluster: &Cluster, namespace: &str, name: &str) {
    let mut object = demo(&json!({}));
    object["metadata"] = json!({"name": name, "namespace": namespace});
    let systems = Api::<PaymentSystem>::namespaced(cluster.client.clone(), namespace);
    let (parameters, patch) = (PatchParams::apply("test"), Patch::Apply(&object));
    systems.patch(name, &parameters, &patch).await.unwrap();
}

async fn is_ready(history: &History, name: &str) {
    let key = ("PaymentSystem", name.to_owned());
    let ready = |objects: &Objects| {
        let conditions = objects
            .get(&key)
            .map(|system| system["status"]["conditions"].clone());
        let conditions = conditions.and_then(|all| all.as_array().cloned());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    assert!(history.until(LIMIT, ready).await, "{name} is not ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systems_of_the_namespaces_come_up_and_others_are_left_alone() {
    let questions = Questions::listen(process::USER).await;
    let cluster = Cluster::bare(&questions.arguments()).await;
    for namespace in [process::NAMESPACE, SECOND, UNWATCHED] {
        cluster.namespace(namespace).await;
    }
    let installation = installation();
    process::install(&cluster, &installation).await;
    let world = World::record(cluster.client.clone()).await;
    let kubelet = |namespace: &str| {
        let history = world.history(namespace);
        Kubelet::start(cluster.client.clone(), namespace, Arc::clone(&history))
    };
    let _kubelets = [NAMESPACE, SECOND].map(kubelet);
    for (namespace, name) in [
        (UNWATCHED, "stranger"),
        (NAMESPACE, "demo"),
        (NAMESPACE, "other"),
        (SECOND, "demo"),
    ] {
        wants(&cluster, namespace, name).await;
    }
    let lease = (cluster.port(), LEASE_SECONDS);
    let namespaces = &installation.watch_namespaces;
    let mut operator = Operator::start_in(&cluster, "operator-a", lease, namespaces).await;
    operator.until_ready(&cluster).await;
    for (namespace, name) in [(NAMESPACE, "demo"), (NAMESPACE, "other"), (SECOND, "demo")] {
        is_ready(&world.history(namespace), name).await;
    }
    a_kind_comes_and_goes(&cluster, &operator).await;

    let left_alone = world.history(UNWATCHED).objects();
    let kinds: Vec<_> = left_alone.keys().collect();
    assert_eq!(kinds, [&("PaymentSystem", "stranger".to_owned())]);
    let stranger = left_alone.values().next().unwrap();
    assert_eq!(stranger["status"]["observedGeneration"], -1, "{stranger}");
    let watched = [NAMESPACE, SECOND, process::NAMESPACE];
    for question in questions.asked() {
        assert!(
            watched.contains(&question.namespace.as_str()),
            "{question:?}"
        );
    }
    operator.signal("TERM");
    assert_eq!(operator.end(&cluster).await, Some(0));
}

/// A kind that is installed later is made use of, and its end is noticed; nothing fails for it.
async fn a_kind_comes_and_goes(cluster: &Cluster, operator: &Operator) {
    let rules = Kind::PrometheusRule.entry();
    optional::define(cluster, rules).await;
    optional::served(cluster, rules).await;
    cluster.exists(Kind::PrometheusRule, "demo-alerts").await;
    optional::withdraw(cluster, rules).await;
    operator
        .says(cluster, "PrometheusRule is no longer installed")
        .await;
    optional::define(cluster, rules).await;
    optional::served(cluster, rules).await;
    cluster.exists(Kind::PrometheusRule, "demo-alerts").await;
}
