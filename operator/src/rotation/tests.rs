//! Rotations in a model of the world around the Secrets: stores that restart, pods that are
//! replaced one by one, Jobs that run twice, an operator that stops anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crds::{PaymentSystem, PaymentSystemSpec, credentials::Credentials, orders::Orders};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::{
    build::{common, labels},
    cache::Live,
    validate::{Settings, validate},
};

const MYSQL: [(&str, &str); 3] = [
    ("demo-mysql", "password"),
    ("demo-mysql", "coordinator-password"),
    ("demo-orders", "password"),
];
const REDIS: (&str, &str) = ("demo-redis", "password");
const PODS: usize = 2;

/// A key of a Secret.
type Key = (&'static str, &'static str);

struct Pod {
    hash: String,
    /// What it read when it started.
    passwords: Vec<(Key, String)>,
}

#[derive(Default)]
struct Workload {
    template: String,
    pods: Vec<Pod>,
}

struct World {
    system: ValidSystem,
    secrets: BTreeMap<String, Value>,
    /// Name to component, phase and Secret; whether it has completed.
    jobs: BTreeMap<String, (Value, bool)>,
    workloads: BTreeMap<(Kind, String), Workload>,
    accepted: BTreeMap<Key, BTreeSet<String>>,
    version: u64,
}

fn valid(rotation: Option<&str>) -> ValidSystem {
    let mut object = PaymentSystem::new("demo", PaymentSystemSpec::default());
    object.metadata.namespace = Some("payment".to_owned());
    object.spec.channels.simulator = true;
    object.spec.orders = Some(Orders::default());
    object.spec.credentials = rotation.map(|rotation| Credentials {
        rotation: rotation.to_owned(),
    });
    let settings = Settings {
        runtime_image: Some("runtime:1".to_owned()),
        simulator_image: Some("simulator:1".to_owned()),
        ..Settings::default()
    };
    validate(&object, &settings).unwrap()
}

fn reads(consumer: &str) -> Vec<Key> {
    match consumer {
        "demo-coordinator" => vec![MYSQL[1]],
        "demo-orders" => vec![MYSQL[2]],
        _ => vec![MYSQL[0], REDIS],
    }
}

impl World {
    /// A system at rest whose Secrets know nothing of rotations.
    fn new() -> Self {
        let system = valid(None);
        let mut world = Self {
            secrets: BTreeMap::new(),
            jobs: BTreeMap::new(),
            workloads: BTreeMap::new(),
            accepted: BTreeMap::new(),
            version: 1,
            system,
        };
        world.make_secrets();
        world.restart_stores();
        world.apply();
        for (key, workload) in &mut world.workloads {
            for _ in 0..PODS {
                let hash = workload.template.clone();
                let passwords = read(&world.secrets, &key.1);
                workload.pods.push(Pod { hash, passwords });
            }
        }
        world
    }

    fn make_secrets(&mut self) {
        let needed = credentials::needed(&self.system).into_iter();
        for secret in needed.filter(|secret| secret.rotates()) {
            let manifest = secret.manifest(&self.system).unwrap();
            self.secrets.insert(secret.name("demo"), manifest);
        }
    }

    fn ask(&mut self, rotation: &str) {
        self.system = valid(Some(rotation));
    }

    fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        let mut put = |kind: Kind, name: &str, value: Value| {
            let object: DynamicObject = serde_json::from_value(value).unwrap();
            let live = Arc::new(Live::new(kind, object));
            observed.objects.insert((kind, name.to_owned()), live);
        };
        for (name, secret) in &self.secrets {
            let mut secret = secret.clone();
            secret["metadata"]["resourceVersion"] = json!(self.version.to_string());
            put(Kind::Secret, name, secret);
        }
        for (name, (job, completed)) in &self.jobs {
            let mut job = job.clone();
            let status = if *completed { "True" } else { "False" };
            job["status"] = json!({"conditions": [{"type": "Complete", "status": status}]});
            put(Kind::Job, name, job);
        }
        for ((kind, name), workload) in &self.workloads {
            let updated = workload.pods.iter();
            let updated = updated.filter(|pod| pod.hash == workload.template).count();
            let all = workload.pods.len();
            let value = json!({
                "metadata": {"name": name, "generation": 1},
                "spec": {"replicas": PODS, "template": {"metadata": {"annotations": {
                    labels::CREDENTIALS_HASH: workload.template,
                }}}},
                "status": {
                    "observedGeneration": 1, "replicas": all, "readyReplicas": all,
                    "updatedReplicas": updated,
                },
            });
            put(*kind, name, value);
        }
        observed
    }

    fn consumers(&self) -> Vec<Consumer> {
        super::consumers(&self.system, &self.observed())
    }

    /// One write, if one is due; refused if the Secret is not as it was looked at.
    fn write(&mut self) -> bool {
        let observed = self.observed();
        let Step::Write(write) = next(&self.system, &observed) else {
            return false;
        };
        let all = held(&self.system, &observed);
        let held = all
            .iter()
            .find(|held| held.secret == write.secret())
            .unwrap();
        let operations = write.operations(&self.system, &observed, held).unwrap();
        self.version += 1;
        let secret = self.secrets.get_mut(&held.name).unwrap();
        for operation in &operations {
            apply(secret, operation);
        }
        true
    }

    /// What the operator applies beside: templates and Jobs.
    fn apply(&mut self) {
        for consumer in self.consumers() {
            let workload = self.workloads.entry((consumer.kind, consumer.name));
            workload.or_default().template = consumer.hash;
        }
        let wanted = build::rotation::manifests(&self.system, &self.observed());
        self.jobs
            .retain(|name, _| wanted.iter().any(|job| job.name == *name));
        for job in wanted {
            self.jobs.entry(job.name).or_insert((job.value, false));
        }
    }

    /// Runs a Job, perhaps one that has run before.
    fn run_job(&mut self, nth: usize) -> bool {
        if self.jobs.is_empty() {
            return false;
        }
        let nth = nth % self.jobs.len();
        let (job, completed) = self.jobs.values_mut().nth(nth).unwrap();
        let new = !*completed;
        *completed = true;
        let pod = &job["spec"]["template"]["spec"];
        let accepts = pod["containers"][0]["args"].to_string().contains("accept");
        let volumes = pod["volumes"].as_array().unwrap();
        let secret = volumes
            .iter()
            .find(|volume| volume["name"] == "passwords")
            .unwrap();
        let secret = secret["secret"]["secretName"].as_str().unwrap();
        let data = self.secrets[secret]["data"].clone();
        for (key, accepted) in &mut self.accepted {
            if key.0 != secret {
                continue;
            }
            let next = data[format!("next-{}", key.1)].as_str();
            if accepts {
                accepted.extend(next.map(str::to_owned));
            } else if data[format!("retired-{}", key.1)].is_string() {
                *accepted = BTreeSet::from([data[key.1].as_str().unwrap().to_owned()]);
            }
        }
        new
    }

    /// Stores accept what stands in their Secrets when they start.
    fn restart_stores(&mut self) {
        self.accepted = self.after_restart();
    }

    fn after_restart(&self) -> BTreeMap<Key, BTreeSet<String>> {
        let all = MYSQL.into_iter().chain([REDIS]);
        let accepted = |(secret, key): Key| {
            let data = &self.secrets[secret]["data"];
            ["", "next-", "previous-"]
                .iter()
                .filter_map(|prefix| data[format!("{prefix}{key}")].as_str())
                .map(str::to_owned)
                .collect()
        };
        all.map(|key| (key, accepted(key))).collect()
    }

    /// Replaces one pod of a former template.
    fn roll(&mut self) -> bool {
        for ((_, name), workload) in &mut self.workloads {
            let old = workload.pods.iter_mut();
            if let Some(pod) = old.into_iter().find(|pod| pod.hash != workload.template) {
                pod.hash.clone_from(&workload.template);
                pod.passwords = read(&self.secrets, name);
                return true;
            }
        }
        false
    }

    /// Everybody is let in: those that run, those that start now, also after a restart of a store.
    fn check(&self) {
        for accepted in [&self.accepted, &self.after_restart()] {
            for ((_, name), workload) in &self.workloads {
                for (key, password) in workload.pods.iter().flat_map(|pod| &pod.passwords) {
                    assert!(accepted[key].contains(password), "{name} {key:?}");
                }
            }
            for (key, accepted) in accepted {
                let now = self.secrets[key.0]["data"][key.1].as_str().unwrap();
                assert!(accepted.contains(now), "{key:?}");
            }
        }
    }

    fn store_hash(&self) -> String {
        let keys = MYSQL.into_iter().chain([REDIS]);
        common::store_credentials_digest(&self.observed(), keys)
    }

    fn value(&self, (secret, key): Key) -> String {
        self.secrets[secret]["data"][key]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Lets everybody work until nothing is left to do.
    fn finish(&mut self) {
        for _ in 0..200 {
            let wrote = self.write();
            self.check();
            self.apply();
            let jobs = self.jobs.len();
            let ran = (0..jobs).filter(|nth| self.run_job(*nth)).count();
            let rolled = self.roll();
            self.check();
            if !wrote && !rolled && ran == 0 {
                return;
            }
        }
        panic!("never ends: {:?}", next(&self.system, &self.observed()));
    }

    fn is_done(&self, rotation: &str) {
        let observed = self.observed();
        assert_eq!(next(&self.system, &observed), Step::Rest);
        assert_eq!(condition(&self.system, &observed), None);
        assert_eq!(reached(&self.system, &observed).as_deref(), Some(rotation));
        for (key, accepted) in &self.accepted {
            assert_eq!(*accepted, BTreeSet::from([self.value(*key)]), "{key:?}");
        }
        let data = json!(self.secrets).to_string();
        for prefix in ["next-", "previous-", "retired-"] {
            assert!(!data.contains(&format!("\"{prefix}")), "{data}");
        }
        assert!(self.jobs.is_empty());
    }
}

fn read(secrets: &BTreeMap<String, Value>, consumer: &str) -> Vec<(Key, String)> {
    let keys = reads(consumer).into_iter();
    keys.map(|key| {
        (
            key,
            secrets[key.0]["data"][key.1].as_str().unwrap().to_owned(),
        )
    })
    .collect()
}

/// As the API server applies an operation of a JSON patch.
fn apply(object: &mut Value, operation: &Value) {
    let path = operation["path"].as_str().unwrap();
    if path == "/metadata/resourceVersion" {
        return;
    }
    let take = |object: &mut Value, path: &str| {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.remove(&name.replace("~1", "/")).unwrap()
    };
    let value = match operation["op"].as_str().unwrap() {
        "add" => operation["value"].clone(),
        "copy" => object
            .pointer(operation["from"].as_str().unwrap())
            .unwrap()
            .clone(),
        "move" => take(object, operation["from"].as_str().unwrap()),
        "remove" => {
            take(object, path);
            return;
        }
        other => panic!("{other}"),
    };
    let (parent, name) = path.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[name.replace("~1", "/")] = value;
}

#[test]
fn nothing_is_asked_for_and_nothing_is_done() {
    let mut world = World::new();
    assert!(!world.write());
    assert!(world.jobs.is_empty());
    assert_eq!(condition(&world.system, &world.observed()), None);
    assert_eq!(reached(&world.system, &world.observed()), None);
}

#[test]
fn fresh_credentials_belong_to_the_rotation_that_is_asked_for() {
    let mut world = World::new();
    world.ask("one");
    world.make_secrets();
    let observed = world.observed();
    assert_eq!(next(&world.system, &observed), Step::Rest);
    assert_eq!(reached(&world.system, &observed).as_deref(), Some("one"));
}

#[test]
fn every_step_of_a_rotation() {
    let mut world = World::new();
    let keys = MYSQL
        .into_iter()
        .chain([REDIS, ("demo-coordinator", "secret-key")]);
    let before: Vec<(Key, String)> = keys.map(|key| (key, world.value(key))).collect();
    let hash = world.store_hash();
    world.ask("one");
    let mut seen = Vec::new();
    for _ in 0..40 {
        let observed = world.observed();
        let reason = condition(&world.system, &observed).map(|(reason, message)| {
            assert!(message.starts_with("rotation one: "), "{message}");
            reason
        });
        if seen.last() != Some(&reason) {
            seen.push(reason);
        }
        if !world.write() {
            world.apply();
            let jobs = world.jobs.len();
            let ran = (0..jobs).filter(|nth| world.run_job(*nth)).count();
            if ran == 0 {
                world.roll();
            }
        }
        world.check();
        assert_eq!(world.store_hash(), hash, "no store restarts");
    }
    let seen: Vec<&str> = seen.into_iter().flatten().collect();
    let expected = [
        "ChangingSecret",
        "AcceptingNext",
        "ChangingSecret",
        "RollingServices",
        "ChangingSecret",
        "DiscardingFormer",
        "ChangingSecret",
    ];
    assert_eq!(seen, expected);
    world.is_done("one");
    for (key, value) in before {
        assert_ne!(world.value(key), value, "{key:?}");
    }
}

/// Whoever does something next, in any order: nobody is ever refused, and in the end all is done.
#[test]
fn from_every_state_that_can_be_reached_a_rotation_ends() {
    for seed in 0..60_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = move |limit: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % limit
        };
        let mut world = World::new();
        let hash = world.store_hash();
        world.ask("one");
        let mut last = "one";
        for _ in 0..below(60) {
            match below(12) {
                0..=3 => drop(world.write()),
                4..=6 => world.apply(),
                7..=8 => drop(world.run_job(below(4))),
                9 => drop(world.roll()),
                10 => world.restart_stores(),
                _ => {
                    last = ["one", "two"][below(2)];
                    world.ask(last);
                }
            }
            world.check();
        }
        world.finish();
        world.is_done(last);
        assert_eq!(world.store_hash(), hash, "seed {seed}: no store restarts");
    }
}

#[test]
fn what_has_begun_ends_also_when_it_is_no_longer_asked_for() {
    let mut world = World::new();
    world.ask("one");
    assert!(world.write() && world.write());
    world.system = valid(None);
    world.finish();
    assert_eq!(next(&world.system, &world.observed()), Step::Rest);
    let data = json!(world.secrets).to_string();
    assert!(
        !data.contains("\"next-") && !data.contains("\"previous-"),
        "{data}"
    );
}

#[test]
fn an_edit_by_hand_restarts_the_store_also_back_to_a_former_value() {
    let mut world = World::new();
    let (first, at_first) = (world.value(REDIS), world.store_hash());
    world.ask("one");
    world.finish();
    let second = world.value(REDIS);
    let mut hashes = BTreeSet::from([world.store_hash()]);
    assert_eq!(hashes, BTreeSet::from([at_first]));
    for value in [first.as_str(), "b3RoZXI="] {
        world.secrets.get_mut(REDIS.0).unwrap()["data"][REDIS.1] = json!(value);
        assert!(hashes.insert(world.store_hash()), "{value}");
    }
    world.secrets.get_mut(REDIS.0).unwrap()["data"][REDIS.1] = json!(second);
    assert!(
        !hashes.insert(world.store_hash()),
        "as the rotation left it"
    );
}

#[test]
fn a_pod_that_ends_slowly_keeps_its_password() {
    let mut world = World::new();
    world.ask("one");
    for _ in 0..20 {
        if matches!(next(&world.system, &world.observed()), Step::Roll(_)) {
            break;
        }
        world.write();
        world.apply();
        for nth in 0..world.jobs.len() {
            world.run_job(nth);
        }
    }
    world.apply();
    while world.roll() {}
    let mut observed = world.observed();
    assert!(matches!(
        next(&world.system, &observed),
        Step::Write(Write::Retire(_))
    ));
    let pod = json!({
        "metadata": {
            "name": "demo-payment-old",
            "labels": labels::all("demo", component::PAYMENT),
            "annotations": {labels::CREDENTIALS_HASH: "another", "other": "thing"},
        },
        "status": {"phase": "Running"},
    });
    let object: DynamicObject = serde_json::from_value(pod).unwrap();
    let live = Arc::new(Live::new(Kind::Pod, object));
    observed
        .objects
        .insert((Kind::Pod, "demo-payment-old".to_owned()), live);
    let step = next(&world.system, &observed);
    assert_eq!(
        step,
        Step::Roll("the end of pod demo-payment-old".to_owned())
    );
}

#[test]
fn a_job_that_has_failed_says_what_to_do() {
    let mut world = World::new();
    world.ask("one");
    while world.write() {}
    world.apply();
    let mut observed = world.observed();
    let name = world.jobs.keys().next().unwrap();
    let failed = json!({
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Failed", "status": "True"}]},
    });
    let object: DynamicObject = serde_json::from_value(failed).unwrap();
    let live = Arc::new(Live::new(Kind::Job, object));
    observed.objects.insert((Kind::Job, name.clone()), live);
    let (reason, message) = condition(&world.system, &observed).unwrap();
    assert_eq!(reason, FAILED);
    assert!(
        message.contains(&format!("kubectl logs job/{name}")),
        "{message}"
    );
}

#[test]
fn no_value_is_part_of_a_job() {
    let mut world = World::new();
    world.ask("one");
    while world.write() {}
    world.apply();
    assert_eq!(world.jobs.len(), 3);
    let jobs: Vec<&Value> = world.jobs.values().map(|(job, _)| job).collect();
    let text = json!(jobs).to_string();
    for secret in world.secrets.values() {
        for value in secret["data"].as_object().unwrap().values() {
            let value = value.as_str().unwrap();
            assert!(!text.contains(value));
        }
    }
}
