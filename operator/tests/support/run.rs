//! One scenario, once: its steps, and waiting for what they lead to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crds::PaymentSystem;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    kubelet::Kubelet,
    operator::{Operator, Point},
    scenario::{CHANNEL_KEYS, CHANNEL_SECRET, SYSTEM, Scenario, Step, system},
    state::{State, differences, state},
    world::{History, Objects, World, kinds},
};

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);
/// Nothing more happens when nothing has happened for so long.
pub const QUIET: Duration = Duration::from_secs(2);
/// Passes that may write: workloads are rolled one after the other.
const ATTEMPTS: usize = 20;
/// Passes in a row that do not write once a system has converged.
const SILENT_PASSES: usize = 3;

static NEXT: AtomicUsize = AtomicUsize::new(1);

/// A namespace with a system, its operator, and all that happens there.
pub struct Run<'a> {
    world: &'a World,
    pub scenario: &'a Scenario,
    pub namespace: String,
    pub history: Arc<History>,
    pub operator: Operator,
    kubelet: Kubelet,
}

impl<'a> Run<'a> {
    pub async fn start(world: &'a World, operators: &Client, scenario: &'a Scenario) -> Self {
        let namespace = format!("crash-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut object = Namespace::default();
        object.metadata.name = Some(namespace.clone());
        let api = Api::<Namespace>::all(world.client.clone());
        api.create(&PostParams::default(), &object).await.unwrap();
        channel_secret(&world.client, &namespace).await;
        let history = world.history(&namespace);
        Self {
            world,
            scenario,
            operator: Operator::start(operators.clone(), &namespace, None),
            kubelet: Kubelet::start(world.client.clone(), &namespace, Arc::clone(&history)),
            history,
            namespace,
        }
    }

    fn systems(&self) -> Api<PaymentSystem> {
        Api::namespaced(self.world.client.clone(), &self.namespace)
    }

    /// Brings the system to where the scenario begins and arms the operator. Returns the version
    /// of the cluster at that time.
    pub async fn prepare(&self, points: &[Point]) -> Result<u64, String> {
        if let Some(before) = &self.scenario.before {
            self.apply(before).await?;
            self.until_ready("the system before").await?;
            self.settle().await?;
        }
        let start = self.history.events().last().map_or(0, |last| last.version);
        if !self.scenario.upgrades() {
            self.operator.arm(points);
        }
        Ok(start)
    }

    /// Takes all steps; unless told not to wait, each once the one before works.
    pub async fn perform(&self, points: &[Point], wait: bool) -> Result<(), String> {
        for step in &self.scenario.steps {
            match step {
                Step::Apply(sections) => {
                    self.apply(sections).await?;
                    if wait {
                        self.until_ready("the change").await?;
                    } else {
                        self.history.quiet(QUIET).await;
                    }
                }
                Step::Begin(sections) => self.apply(sections).await?,
                Step::EditSecret { secret, key, value } => {
                    let api = Api::<DynamicObject>::namespaced_with(
                        self.world.client.clone(),
                        &self.namespace,
                        &payment_operator::kinds::Kind::Secret.entry().resource(),
                    );
                    let patch = Patch::Merge(json!({"stringData": {*key: value}}));
                    let edited = api.patch(secret, &PatchParams::default(), &patch).await;
                    edited.map_err(|error| format!("editing {secret}: {error}"))?;
                }
                Step::Upgrade => self.operator.upgrade(points).await,
                Step::Delete => self.delete().await?,
            }
        }
        Ok(())
    }

    pub async fn apply(&self, sections: &Value) -> Result<(), String> {
        let parameters = PatchParams::apply("test").force().validation_strict();
        let object = system(&self.namespace, sections);
        let applied = self
            .systems()
            .patch(SYSTEM, &parameters, &Patch::Apply(&object))
            .await;
        let applied = applied.map_err(|error| format!("applying the system: {error}"))?;
        let version = applied.metadata.generation;
        let shown = self.history.until(LIMIT, |objects| {
            system_in(objects)
                .is_some_and(|object| object["metadata"]["generation"].as_i64() >= version)
        });
        if shown.await {
            Ok(())
        } else {
            Err("the recorder does not follow".to_owned())
        }
    }

    async fn delete(&self) -> Result<(), String> {
        let deleted = self
            .systems()
            .delete(SYSTEM, &DeleteParams::default())
            .await;
        deleted.map_err(|error| format!("deleting the system: {error}"))?;
        let gone = self
            .history
            .until(LIMIT, |objects| system_in(objects).is_none())
            .await;
        if gone {
            Ok(())
        } else {
            Err("the system does not go away".to_owned())
        }
    }

    /// Waits until the present specification is reported as reached.
    pub async fn until_ready(&self, what: &str) -> Result<(), String> {
        if self.history.until(LIMIT, is_as_specified).await {
            return Ok(());
        }
        let status = system_in(&self.history.objects()).map(|object| object["status"].clone());
        Err(format!("{what} is not ready: {status:?}"))
    }

    /// The present state, to be compared with that of other runs.
    pub fn state(&self) -> State {
        self.state_of(&self.history.objects())
    }

    fn state_of(&self, objects: &Objects) -> State {
        // What is left when a system comes back is made anew or taken over, as it happens.
        let generations = !self.scenario.deletes();
        state(objects, &self.namespace, generations)
    }

    /// How the present state differs from what it is to be.
    pub fn differences(&self, expected: &State) -> Vec<String> {
        self.differ(&self.history.objects(), expected)
    }

    fn differ(&self, objects: &Objects, expected: &State) -> Vec<String> {
        if self.scenario.open_end {
            return leftovers(objects);
        }
        differences(expected, &self.state_of(objects))
    }

    /// Waits until the state is as expected.
    pub async fn converge(&self, expected: &State) -> Result<(), String> {
        let found = |objects: &Objects| self.differ(objects, expected);
        if self
            .history
            .until(LIMIT, |objects| found(objects).is_empty())
            .await
        {
            return Ok(());
        }
        let differences = found(&self.history.objects());
        Err(format!("does not converge: {}", differences.join("; ")))
    }

    /// Makes passes until some in a row write nothing. After the first of them only the status may
    /// still be written: it is told at a pace, so it may come late.
    pub async fn settle(&self) -> Result<(), String> {
        if system_in(&self.history.objects()).is_none() {
            self.history.quiet(Duration::from_millis(500)).await;
            return Ok(());
        }
        // The pass that saw the last workload become ready may still be to come.
        self.history.quiet(Duration::from_millis(500)).await;
        let (mut attempts, mut silent) = (0, 0);
        while silent < SILENT_PASSES {
            let written = self.silent_pass().await?;
            if written.is_empty() {
                silent += 1;
                continue;
            }
            if silent > 0 && !written.iter().all(|request| tells(request)) {
                return Err(format!("a pass at rest wrote {written:?}"));
            }
            (attempts, silent) = (attempts + 1, 0);
            if attempts > ATTEMPTS {
                return Err(format!("passes never stop writing: {written:?}"));
            }
        }
        Ok(())
    }

    /// Causes a pass; returns what it wrote.
    pub async fn silent_pass(&self) -> Result<Vec<String>, String> {
        let idle = async {
            // A pass that has begun already may write, and is not the one to be caused.
            while !self.operator.is_idle() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(LIMIT, idle).await.is_err() {
            return Err("passes never end".to_owned());
        }
        let (writes, passes) = (self.operator.writes().len(), self.operator.passes());
        let patch = json!({"metadata": {"annotations": {"pass": passes.to_string()}}});
        let touched = self
            .systems()
            .patch(SYSTEM, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        touched.map_err(|error| format!("touching the system: {error}"))?;
        let finished = async {
            while self.operator.passes() == passes {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(LIMIT, finished).await.is_err() {
            return Err("no pass follows a change".to_owned());
        }
        Ok(self.operator.writes().split_off(writes))
    }

    /// Leaves nothing but an empty namespace.
    pub async fn clean(self) {
        drop(self.operator);
        drop(self.kubelet);
        for (_, resource) in kinds().into_iter().rev() {
            let api = Api::<DynamicObject>::namespaced_with(
                self.world.client.clone(),
                &self.namespace,
                &resource,
            );
            let deleted = api
                .delete_collection(&DeleteParams::background(), &ListParams::default())
                .await;
            deleted.map(drop).unwrap();
        }
        self.world.forget(&self.namespace);
    }
}

/// Whether the present specification is reported as working, or as stopped where it says so.
pub fn is_as_specified(objects: &Objects) -> bool {
    let Some(object) = system_in(objects) else {
        return false;
    };
    let (generation, status) = (&object["metadata"]["generation"], &object["status"]);
    let conditions = status["conditions"].as_array();
    let rotation = |side: &Value| side["credentials"]["rotation"].clone();
    let wanted = if object["spec"]["stopped"] == true {
        "Stopped"
    } else {
        "Ready"
    };
    status["observedGeneration"] == *generation
        && rotation(&object["spec"]) == rotation(status)
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == wanted && condition["status"] == "True")
}

/// What a user provides before there is a system.
pub async fn channel_secret(client: &Client, namespace: &str) {
    let keys: BTreeMap<&str, &str> = CHANNEL_KEYS.map(|key| (key, "a value")).into();
    let secret = json!({"metadata": {"name": CHANNEL_SECRET}, "stringData": keys});
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &secret).await.unwrap();
}

/// What should have gone with a system that was deleted.
fn leftovers(objects: &Objects) -> Vec<String> {
    let data = ["Secret", "PersistentVolumeClaim"];
    let left = objects.iter().filter(|((kind, _), object)| {
        !data.contains(kind) || object["metadata"]["ownerReferences"].is_array()
    });
    left.map(|((kind, name), _)| format!("{kind} {name} is left"))
        .collect()
}

/// Whether a request says how the system is, and changes nothing else.
fn tells(request: &str) -> bool {
    request.contains("/status?") || request.contains("/events?")
}

fn system_in(objects: &Objects) -> Option<&Value> {
    let found = objects.get(&("PaymentSystem", SYSTEM.to_owned()));
    found.map(AsRef::as_ref)
}
