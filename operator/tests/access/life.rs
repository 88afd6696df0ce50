//! A life of a system in which everything happens that the operator has rights for.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use payment_operator::{install::Installation, kinds::Kind, leader::LEASE};
use serde_json::{Value, json};

use crate::{
    questions::Questions,
    support::{
        cluster::{Cluster, NAMESPACE},
        kubelet::Kubelet,
        optional,
        process::{self, Operator},
        run,
        scenario::{self, NEW_IMAGE, SYSTEM},
        world::{self, History, Objects, World},
    },
};

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);
/// Renewed every twelve seconds, and lost after thirty without.
const LEASE_SECONDS: u32 = 40;

pub struct Life {
    cluster: Cluster,
    history: Arc<History>,
    /// Where the operator looks; none: everywhere.
    namespaces: Vec<String>,
    _world: World,
    _kubelet: Kubelet,
}

impl Life {
    /// A cluster with everything the operator can make use of, and its installation.
    pub async fn begin(
        installation: &Installation,
        questions: &Questions,
        arguments: &[&str],
    ) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<String> = questions.arguments().into_iter().chain(arguments).collect();
        let cluster = Cluster::bare(&arguments).await;
        let namespaces = installation.watch_namespaces.clone();
        if !namespaces.is_empty() {
            cluster.namespace(process::NAMESPACE).await;
        }
        process::install(&cluster, installation).await;
        optional::install(&cluster).await;
        scenario::growing_volumes(&cluster.client).await;
        run::channel_secret(&cluster.client, NAMESPACE).await;
        let optional = optional::kinds().map(|entry| (entry.name, entry.resource()));
        let kinds = world::kinds().into_iter().chain(optional).collect();
        let world = World::record_kinds(cluster.client.clone(), kinds).await;
        let history = world.history(NAMESPACE);
        let kubelet = Kubelet::start(cluster.client.clone(), NAMESPACE, Arc::clone(&history));
        Self {
            cluster,
            history,
            namespaces,
            _world: world,
            _kubelet: kubelet,
        }
    }

    async fn operator(&self, pod: &str) -> Operator {
        let cluster = &self.cluster;
        Operator::start_in(
            cluster,
            pod,
            (cluster.port(), LEASE_SECONDS),
            &self.namespaces,
        )
        .await
    }

    /// From the first apply to the last.
    pub async fn live(&self, questions: &Questions) {
        let mut operator = self.operator("operator-a").await;
        for sections in changes() {
            self.apply(&sections).await;
        }
        for (kind, name) in [
            (Kind::StatefulSet, "demo-mysql"),
            (Kind::NetworkPolicy, "demo-coordinator"),
        ] {
            self.an_owner_is_taken_away(kind, name).await;
        }
        self.a_renewal_is_refused(questions).await;
        operator.signal("TERM");
        assert_eq!(operator.end(&self.cluster).await, Some(0));
        let _second = self.operator("operator-b").await;
        let kept = json!({"redis": {"retention": "Retain"}});
        self.apply(&grown(&kept)).await;
        self.delete().await;
        self.apply(&json!({})).await;
    }

    /// Applies a specification and waits until it works. What is reported as ready before it was
    /// carried out leaves rights unused: the next change comes too early.
    async fn apply(&self, sections: &Value) {
        let object = scenario::system(NAMESPACE, sections);
        let applied = self.cluster.apply(&object).await.unwrap();
        let version = applied.metadata.generation;
        let works = |objects: &Objects| {
            let system = objects.get(&("PaymentSystem", SYSTEM.to_owned()));
            system.is_some_and(|system| system["metadata"]["generation"].as_i64() >= version)
                && run::is_as_specified(objects)
        };
        if !self.history.until(LIMIT, works).await {
            let system = self.cluster.systems().get(SYSTEM).await.unwrap();
            panic!("{sections} does not work: {:?}", system.status);
        }
    }

    async fn delete(&self) {
        let parameters = DeleteParams::default();
        let deleted = self.cluster.systems().delete(SYSTEM, &parameters).await;
        deleted.unwrap();
        let gone = |objects: &Objects| {
            let mut left = objects.keys();
            left.all(|(kind, _)| ["Secret", "PersistentVolumeClaim"].contains(kind))
        };
        assert!(self.history.until(LIMIT, gone).await, "is not collected");
    }

    /// Somebody edits an object so that it would outlive the system.
    async fn an_owner_is_taken_away(&self, kind: Kind, name: &str) {
        let none = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
        let parameters = PatchParams::default();
        let api = self.cluster.api(kind);
        api.patch(name, &parameters, &none).await.unwrap();
        let owned = async |cluster: &Cluster| {
            let object = cluster.get(kind, name).await.unwrap();
            object["metadata"]["ownerReferences"].is_array()
        };
        self.cluster.until("the owner to return", owned).await;
    }

    /// The API server refuses the lease for a moment: what became of it is looked up.
    async fn a_renewal_is_refused(&self, questions: &Questions) {
        let policy = "nobody-renews";
        for (kind, spec) in refusal(policy) {
            let parameters = PatchParams::apply("test");
            let object = json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind,
                "metadata": {"name": policy},
                "spec": spec,
            });
            let (api, patch) = (self.policies(kind), Patch::Apply(object));
            api.patch(policy, &parameters, &patch).await.unwrap();
        }
        self.cluster
            .until("the lease to be looked at", async |_: &Cluster| {
                let asked = questions.asked();
                asked
                    .iter()
                    .any(|q| q.resource == "leases" && q.verb == "get")
            })
            .await;
        for (kind, _) in refusal(policy).into_iter().rev() {
            let (api, parameters) = (self.policies(kind), DeleteParams::default());
            api.delete(policy, &parameters).await.unwrap();
        }
        let refused = self.renewed().await;
        self.cluster
            .until("a renewal", async |_: &Cluster| {
                self.renewed().await != refused
            })
            .await;
    }

    /// When the lease was renewed.
    async fn renewed(&self) -> Option<MicroTime> {
        let client = self.cluster.client.clone();
        let leases = Api::<Lease>::namespaced(client, process::NAMESPACE);
        leases.get(LEASE).await.unwrap().spec?.renew_time
    }

    fn policies(&self, kind: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        Api::all_with(self.cluster.client.clone(), &ApiResource::from_gvk(&gvk))
    }
}

/// A policy that refuses renewals, and its binding.
fn refusal(policy: &str) -> [(&'static str, Value); 2] {
    let leases = json!({
        "apiGroups": ["coordination.k8s.io"],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["leases"],
    });
    [
        (
            "ValidatingAdmissionPolicy",
            json!({
                "matchConstraints": {
                    "resourceRules": [leases],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": process::NAMESPACE}},
                },
                "validations": [{"expression": "false", "message": "not now", "reason": "Invalid"}],
            }),
        ),
        (
            "ValidatingAdmissionPolicyBinding",
            json!({"policyName": policy, "validationActions": ["Deny"]}),
        ),
    ]
}

/// Every feature is switched on, edited and switched off again.
fn changes() -> Vec<Value> {
    let daily = json!({"dailyRun": {"enabled": true}});
    let ingress = json!({"ingress": {"host": "pay.example.com", "tlsSecretName": "certificate"}});
    let gateway = json!({"gateway": {
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
        "hostnames": ["pay.example.com"],
    }});
    let alone = json!({"replicas": 1, "autoscaling": {"enabled": false}});
    vec![
        json!({
            "channels": {"simulator": true, "alipay": null, "callbackBaseUrl": null},
            "orders": {},
            "reconciliation": daily,
        }),
        json!({"orders": {}, "reconciliation": daily, "expose": ingress}),
        json!({
            "orders": {},
            "reconciliation": daily,
            "expose": gateway,
            "mysql": {"storage": {"size": "40Gi"}, "maxConnections": 321},
            "credentials": {"rotation": "first"},
        }),
        grown(&json!({
            "credentials": {"rotation": "first"},
            "monitoring": {"enabled": false},
            "network": {"policies": false},
            "payment": {"image": NEW_IMAGE, "replicas": 1, "autoscaling": {"enabled": false}},
            "callback": alone,
        })),
        grown(&json!({"credentials": {"rotation": "first"}})),
    ]
}

/// What cannot be taken back from a living system, and more.
fn grown(sections: &Value) -> Value {
    let mut all = json!({
        "orders": {},
        "mysql": {"storage": {"size": "40Gi"}},
    });
    let (all_sections, more) = (all.as_object_mut().unwrap(), sections.as_object().unwrap());
    all_sections.extend(more.clone());
    all
}
