//! The channel simulator, where `channels.simulator` asks for it.

use contract::{
    SimulatorConfig,
    names::{CHANNEL_CREDENTIALS_DIRECTORY, CONFIG_DIRECTORY, CONFIG_FILE, channel_key},
    ports,
};
use serde_json::{Value, json};

use super::{
    BuildError, Manifest, Stage,
    common::{self, Pod},
    labels::{self, component::SIMULATOR},
    names,
};
use crate::{kinds::Kind, observe::Observed, validate::ValidSystem};

const USER: u32 = 65_532;
const ADMIN: &str = "admin";

pub fn manifests(system: &ValidSystem, observed: &Observed) -> Result<Vec<Manifest>, BuildError> {
    let Some(image) = &system.simulator_image else {
        return Ok(Vec::new());
    };
    let name = names::simulator(&system.name);
    let config = SimulatorConfig {
        keys_directory: Some(CHANNEL_CREDENTIALS_DIRECTORY.into()),
        ..SimulatorConfig::default()
    };
    let yaml = config.to_yaml().map_err(|source| BuildError::Render {
        what: "the channel simulator",
        source,
    })?;
    let service_ports = [
        (ports::HTTP_NAME, ports::SIMULATOR, ports::HTTP_NAME),
        (ADMIN, ports::SIMULATOR_ADMIN, ADMIN),
    ];
    let identity = (Kind::ConfigMap, name.clone(), SIMULATOR);
    Ok(vec![
        common::service(system, name, SIMULATOR, &service_ports),
        common::owned(
            system,
            identity,
            Stage::Stores,
            json!({"data": {CONFIG_FILE: yaml}}),
        ),
        deployment(system, observed, (image, &yaml)),
    ])
}

fn deployment(system: &ValidSystem, observed: &Observed, (image, yaml): (&str, &str)) -> Manifest {
    let name = names::simulator(&system.name);
    // For whom it plays the channels. Like them it goes on while that merchant changes keys, which
    // is done on its admin port.
    let merchant = [channel_key::WECHAT_APP_ID, channel_key::ALIPAY_APP_ID];
    let consumed = merchant.into_iter().map(|key| (name.as_str(), key));
    let pod = Pod {
        component: SIMULATOR,
        user: USER,
        grace_seconds: 10,
        annotations: json!({
            labels::CONFIG_HASH: common::digest(&yaml),
            labels::CREDENTIALS_HASH: common::credentials_digest(observed, consumed),
        }),
        init_containers: Value::Null,
        container: container(image),
        volumes: json!([
            {"name": "config", "configMap": {"name": name}},
            {"name": "keys", "secret": {"secretName": name, "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {}},
        ]),
    };
    let spec = json!({
        "replicas": 1,
        // The simulator's book is in its memory: two at once would disagree.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels::selector(&system.name, SIMULATOR)},
        "template": common::pod_template(system, pod),
    });
    common::owned(
        system,
        (Kind::Deployment, name, SIMULATOR),
        Stage::Stores,
        json!({"spec": spec}),
    )
}

fn container(image: &str) -> Value {
    json!({
        "name": "simulator",
        "image": image,
        "args": ["--config", format!("{CONFIG_DIRECTORY}/{CONFIG_FILE}")],
        "ports": [
            {"name": ports::HTTP_NAME, "containerPort": ports::SIMULATOR, "protocol": "TCP"},
            {"name": ADMIN, "containerPort": ports::SIMULATOR_ADMIN, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "25m", "memory": "32Mi"}},
        "securityContext": common::container_security(),
        "startupProbe": common::tcp_probe(ports::HTTP_NAME, 120),
        "readinessProbe": common::tcp_probe(ports::HTTP_NAME, 3),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": true},
            {"name": "keys", "mountPath": CHANNEL_CREDENTIALS_DIRECTORY, "readOnly": true},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    })
}
