//! The services: one Deployment per role, all from one image and one configuration file, the
//! migration that precedes them, and what keeps them up: autoscaling and disruption budgets.

use contract::{Role, RuntimeConfig, names::CONFIG_FILE, ports};
use crds::resources::{Autoscaling, Resources};
use serde_json::json;

use super::{
    BuildError, Manifest, Stage, common, config, labels, names,
    pod::{RuntimePod, arguments, channel_keys, credentials_hash, files, pod_template},
};
use crate::{gates, kinds::Kind, observe::Observed, rotation::Consumer, validate::ValidSystem};

/// Services whose new pods are watched at work before the next old one goes (`acceptance`).
pub const PROVED: [&str; 3] = [
    labels::component::PAYMENT,
    labels::component::CALLBACK,
    labels::component::WORKER,
];
/// How long a new pod works beside the old ones.
const PROVING_SECONDS: i32 = 10;
/// A rollout without progress for so long has failed.
pub const PROGRESS_SECONDS: i32 = 300;

/// One service.
struct Service<'a> {
    role: Role,
    component: &'static str,
    name: String,
    replicas: i32,
    autoscaling: Option<&'a Autoscaling>,
    resources: &'a Resources,
    ports: Vec<(&'static str, u16, &'static str)>,
    /// Secret with the certificate it shows.
    certificate: Option<&'a str>,
}

fn services(system: &ValidSystem) -> Vec<Service<'_>> {
    let spec = &system.spec;
    let (payment, callback) = (&spec.payment, &spec.callback);
    let mut services = vec![
        Service {
            role: Role::Api,
            component: labels::component::PAYMENT,
            name: names::payment(&system.name),
            replicas: payment.replicas,
            autoscaling: payment.autoscaling.enabled.then_some(&payment.autoscaling),
            resources: &payment.resources,
            ports: vec![
                (ports::HTTP_NAME, ports::HTTP, ports::HTTP_NAME),
                ("http-payment", ports::PAYMENT_SERVICE, ports::HTTP_NAME),
                (
                    ports::MANAGEMENT_NAME,
                    ports::PAYMENT_SERVICE_MANAGEMENT,
                    ports::MANAGEMENT_NAME,
                ),
            ],
            certificate: system.certificate(Role::Api),
        },
        Service {
            role: Role::Callback,
            component: labels::component::CALLBACK,
            name: names::callback(&system.name),
            replicas: callback.replicas,
            autoscaling: callback
                .autoscaling
                .enabled
                .then_some(&callback.autoscaling),
            resources: &callback.resources,
            ports: vec![
                (ports::HTTP_NAME, ports::CALLBACK_SERVICE, ports::HTTP_NAME),
                (
                    ports::MANAGEMENT_NAME,
                    ports::CALLBACK_SERVICE_MANAGEMENT,
                    ports::MANAGEMENT_NAME,
                ),
            ],
            certificate: system.certificate(Role::Callback),
        },
        Service {
            role: Role::Worker,
            component: labels::component::WORKER,
            name: names::worker(&system.name),
            replicas: payment.workers.replicas,
            autoscaling: None,
            resources: &payment.workers.resources,
            ports: vec![(
                ports::MANAGEMENT_NAME,
                ports::MANAGEMENT,
                ports::MANAGEMENT_NAME,
            )],
            certificate: None,
        },
        Service {
            role: Role::Reconcile,
            component: labels::component::RECONCILIATION,
            name: names::reconciliation(&system.name),
            replicas: 1,
            autoscaling: None,
            resources: &spec.reconciliation.resources,
            ports: vec![
                (
                    ports::HTTP_NAME,
                    ports::RECONCILIATION_SERVICE,
                    ports::HTTP_NAME,
                ),
                (
                    ports::MANAGEMENT_NAME,
                    ports::RECONCILIATION_SERVICE_MANAGEMENT,
                    ports::MANAGEMENT_NAME,
                ),
            ],
            certificate: None,
        },
    ];
    services.extend(system.orders().map(|orders| Service {
        role: Role::Orders,
        component: labels::component::ORDERS,
        name: names::orders(&system.name),
        replicas: orders.replicas,
        autoscaling: None,
        resources: &orders.resources,
        ports: vec![
            (ports::HTTP_NAME, ports::ORDERS_SERVICE, ports::HTTP_NAME),
            (
                ports::MANAGEMENT_NAME,
                ports::ORDERS_SERVICE_MANAGEMENT,
                ports::MANAGEMENT_NAME,
            ),
        ],
        certificate: None,
    }));
    services
}

/// The services, and with which credentials their pods are to be made.
pub fn consumers(system: &ValidSystem, observed: &Observed) -> Vec<Consumer> {
    services(system)
        .into_iter()
        .map(|service| Consumer {
            kind: Kind::Deployment,
            hash: credentials_hash(system, observed, service.role),
            name: service.name,
            component: service.component,
        })
        .collect()
}

pub fn manifests(system: &ValidSystem, observed: &Observed) -> Result<Vec<Manifest>, BuildError> {
    let runtime = config::runtime(system);
    let image = gates::rolled_image(system, observed);
    let migration = Manifest {
        name: migration_name(system, observed),
        ..migration(system)
    };
    let mut manifests = vec![configuration(system, &runtime)?];
    // The schema only goes forward.
    manifests.extend((!system.gone_back).then_some(migration));
    for service in services(system) {
        manifests.push(address(system, &service));
        manifests.push(deployment(system, observed, (&runtime, &image), &service));
        manifests.extend(
            service
                .autoscaling
                .map(|scaling| autoscaler(system, &service, scaling)),
        );
        manifests.extend(disruption_budget(system, &service));
    }
    Ok(manifests)
}

/// Names of ports stay what they are; what is spoken there is said beside them.
fn address(system: &ValidSystem, service: &Service<'_>) -> Manifest {
    let name = service.name.clone();
    let mut address = common::service(system, name, service.component, &service.ports);
    let ports = address.value["spec"]["ports"].as_array_mut();
    for port in ports
        .filter(|_| service.certificate.is_some())
        .into_iter()
        .flatten()
    {
        if port["targetPort"] == ports::HTTP_NAME {
            port["appProtocol"] = json!("https");
        }
    }
    address
}

fn configuration(system: &ValidSystem, runtime: &RuntimeConfig) -> Result<Manifest, BuildError> {
    let yaml = runtime.to_yaml().map_err(|source| BuildError::Render {
        what: "the payment runtime",
        source,
    })?;
    let identity = (
        Kind::ConfigMap,
        names::runtime(&system.name),
        labels::component::RUNTIME,
    );
    Ok(common::owned(
        system,
        identity,
        Stage::Stores,
        json!({"data": {CONFIG_FILE: yaml}}),
    ))
}

/// `replicas` stays unset while an autoscaler owns it: applying a number would undo each scaling.
fn deployment(
    system: &ValidSystem,
    observed: &Observed,
    (runtime, image): (&RuntimeConfig, &str),
    service: &Service<'_>,
) -> Manifest {
    let annotations = json!({
        labels::CONFIG_HASH: config::digest(runtime, service.role),
        labels::CREDENTIALS_HASH: credentials_hash(system, observed, service.role),
    });
    let pod = RuntimePod {
        component: service.component,
        image,
        args: arguments(service.role, &[]),
        resources: service.resources,
        annotations,
        stores: service.role != Role::Orders,
        channel_keys: (service.role != Role::Orders).then(|| channel_keys(system, observed)),
        files: files(system, service.role),
        certificate: service.certificate,
        serves: true,
    };
    let mut template = pod_template(system, pod);
    template["spec"]["topologySpreadConstraints"] = common::spread(system, service.component);
    template["spec"]["affinity"] = common::anti_affinity(system, service.component);
    let mut spec = json!({
        "selector": {"matchLabels": labels::selector(&system.name, service.component)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": template,
    });
    if PROVED.contains(&service.component) {
        spec["minReadySeconds"] = json!(PROVING_SECONDS);
        spec["progressDeadlineSeconds"] = json!(PROGRESS_SECONDS);
    }
    if service.autoscaling.is_none() {
        spec["replicas"] = json!(service.replicas);
    }
    let identity = (Kind::Deployment, service.name.clone(), service.component);
    Manifest {
        first_replicas: service.autoscaling.map(|scaling| scaling.min_replicas),
        ..common::owned(system, identity, Stage::Services, json!({"spec": spec}))
    }
}

fn autoscaler(system: &ValidSystem, service: &Service<'_>, scaling: &Autoscaling) -> Manifest {
    let (up, down) = (&scaling.scale_up, &scaling.scale_down);
    let metric = |name: &str, percent: i32| {
        json!({"type": "Resource", "resource": {
            "name": name,
            "target": {"type": "Utilization", "averageUtilization": percent},
        }})
    };
    let policy = |kind: &str, value: i32, period: i32| json!({"type": kind, "value": value, "periodSeconds": period});
    let spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name},
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [
            metric("cpu", scaling.cpu_utilization_percent),
            metric("memory", scaling.memory_utilization_percent),
        ],
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [
                    policy("Percent", up.percent, up.period_seconds),
                    policy("Pods", up.pods, up.period_seconds),
                ],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": down.stabilization_seconds,
                "selectPolicy": "Max",
                "policies": [policy("Percent", down.percent, down.period_seconds)],
            },
        },
    });
    let identity = (
        Kind::HorizontalPodAutoscaler,
        service.name.clone(),
        service.component,
    );
    common::owned(system, identity, Stage::Services, json!({"spec": spec}))
}

/// None at one replica: it would only hold back node drains.
fn disruption_budget(system: &ValidSystem, service: &Service<'_>) -> Option<Manifest> {
    let fewest = service
        .autoscaling
        .map_or(service.replicas, |scaling| scaling.min_replicas);
    let identity = (
        Kind::PodDisruptionBudget,
        service.name.clone(),
        service.component,
    );
    let spec = json!({
        "maxUnavailable": 1,
        "selector": {"matchLabels": labels::selector(&system.name, service.component)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    });
    (fewest > 1).then(|| common::owned(system, identity, Stage::Stores, json!({"spec": spec})))
}

/// One Job per image and pod: a Job cannot be changed, so its name carries a digest of what it
/// runs, and one that has run is never run again.
fn migration(system: &ValidSystem) -> Manifest {
    let resources = &system.spec.reconciliation.resources;
    let pod = RuntimePod {
        component: labels::component::MIGRATION,
        image: &system.runtime_image,
        args: arguments(Role::Migrate, &[]),
        resources,
        annotations: json!({}),
        stores: true,
        channel_keys: None,
        files: files(system, Role::Migrate),
        certificate: None,
        serves: false,
    };
    let mut template = pod_template(system, pod);
    template["spec"]["restartPolicy"] = json!("Never");
    let name = format!(
        "{}{}",
        names::migration_prefix(&system.name),
        &common::digest(&template)[..10]
    );
    let identity = (Kind::Job, name, labels::component::MIGRATION);
    let body = json!({"spec": {"backoffLimit": 6, "template": template}});
    common::owned(system, identity, Stage::Migration, body)
}

/// Name of the Job that brings the schema up to what the specified image needs.
pub fn migration_name(system: &ValidSystem, observed: &Observed) -> String {
    let prefix = names::migration_prefix(&system.name);
    let mut jobs = observed.objects.keys();
    let made = jobs.find(|(kind, name)| *kind == Kind::Job && name.starts_with(&prefix));
    made.filter(|_| system.keeps_rendering)
        .map_or_else(|| migration(system).name, |(_, name)| name.clone())
}
