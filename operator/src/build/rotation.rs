//! The Jobs of a rotation: one per Secret and phase, which talks to the stores.
//!
//! Guarantees: a Job mounts only the values it works with, and its name carries their digest, so
//! that one that has completed has done so for these values.

use contract::{
    Role,
    names::rotation::{ACCEPT, DIRECTORY, DISCARD, MYSQL, ORDERS, REDIS},
};
use serde_json::{Value, json};

use super::{
    Manifest, Stage, common, labels, names,
    pod::{self, RuntimePod},
};
use crate::{
    credentials::Generated,
    kinds::Kind,
    observe::Observed,
    rotation::{self, Held, Phase},
    validate::ValidSystem,
};

/// The Jobs that are to run now. Those that have done their part are deleted.
pub fn manifests(system: &ValidSystem, observed: &Observed) -> Vec<Manifest> {
    let at_work = rotation::at_work(system, observed);
    at_work
        .iter()
        .filter_map(|held| job(system, observed, held))
        .collect()
}

/// The Job of a Secret in its present phase, if it has one.
pub fn job(system: &ValidSystem, observed: &Observed, held: &Held) -> Option<Manifest> {
    let folder = match held.secret {
        Generated::Mysql => MYSQL,
        Generated::Orders => ORDERS,
        Generated::Redis => REDIS,
        Generated::Coordinator | Generated::Simulator => return None,
    };
    let phase = match held.phase() {
        Phase::Settled | Phase::Swapped => return None,
        Phase::Announced => ACCEPT,
        Phase::Retired => DISCARD,
    };
    let keys = held.keys_at_work();
    let consumed = keys.iter().map(|key| (held.name.as_str(), key.as_str()));
    let pod = RuntimePod {
        component: labels::component::ROTATION,
        image: &system.runtime_image,
        args: pod::arguments(Role::Rotate, &[phase.to_owned()]),
        resources: &system.spec.reconciliation.resources,
        annotations: json!({
            labels::CREDENTIALS_HASH: common::credentials_digest(observed, consumed),
        }),
        stores: false,
        channel_keys: None,
        files: pod::authorities(system),
        certificate: None,
        serves: false,
    };
    let mut template = pod::pod_template(system, pod);
    template["spec"]["restartPolicy"] = json!("Never");
    mount(&mut template, held, folder, &keys);
    let name = format!(
        "{}{}",
        names::rotation_prefix(&system.name),
        &common::digest(&template)[..10]
    );
    let identity = (Kind::Job, name, labels::component::ROTATION);
    let body = json!({"spec": {"backoffLimit": 6, "template": template}});
    Some(common::owned(system, identity, Stage::Coordinator, body))
}

/// A key that is not there yet holds the pod back, so that it never sees an older Secret.
fn mount(template: &mut Value, held: &Held, folder: &str, keys: &[String]) {
    let items: Vec<Value> = keys
        .iter()
        .map(|key| json!({"key": key, "path": key}))
        .collect();
    let volume = json!({
        "name": "passwords",
        "secret": {"secretName": held.name, "defaultMode": 0o440, "items": items},
    });
    let directory = format!("{DIRECTORY}/{folder}");
    let mount = json!({"name": "passwords", "mountPath": directory, "readOnly": true});
    common::add(template, "/spec/volumes", volume);
    common::add(template, "/spec/containers/0/volumeMounts", mount);
}
