//! What a pass says: the status, events, and how long it took.

use std::time::{Duration, Instant};

use crds::{PaymentSystem, PaymentSystemStatus};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::Event,
};
use serde_json::json;
use tracing::{info, warn};

use super::{Context, PassError, Told};
use crate::{
    FIELD_MANAGER,
    cache::{SystemKey, version},
    events,
    observe::Observed,
    report::{self, Outcome},
    rollout,
};

/// Progress is told no more often. What a person or a program waits for is told at once.
const PACE: Duration = Duration::from_secs(2);

impl Context {
    /// An event for every workload of which pods are restarted now.
    pub(super) async fn tell_restarts(&self, object: &PaymentSystem, plan: &rollout::Plan) {
        for restart in &plan.restarts {
            info!(
                kind = restart.kind.name(),
                name = restart.name,
                reason = restart.reason,
                "rolling"
            );
            let event = events::restart(restart, object.namespace());
            self.publish(object, &event).await;
        }
    }

    /// Writes the status if it differs, and an event if the change is worth one. Returns false if
    /// it must be tried again: the object has changed meanwhile, or it is only progress and was
    /// told just now.
    pub(super) async fn report(
        &self,
        key: &SystemKey,
        object: &PaymentSystem,
        observed: &Observed,
        outcome: &Outcome<'_>,
    ) -> Result<bool, PassError> {
        let status = report::status(object, observed, outcome, Timestamp::now());
        self.measure(key, object, &status);
        if object.status.as_ref() == Some(&status) {
            return Ok(true);
        }
        let before = object.status.as_ref();
        if before.is_some_and(|before| report::is_progress(before, &status))
            && self.told_just_now(key)
        {
            return Ok(false);
        }
        let api = Api::<PaymentSystem>::namespaced(self.client.clone(), &key.0);
        let patch = json!({
            "apiVersion": PaymentSystem::api_version(&()),
            "kind": PaymentSystem::kind(&()),
            "metadata": {"name": key.1, "uid": object.metadata.uid},
            "status": status,
        });
        self.metrics.write_of("status", "PaymentSystem");
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let written = match api
            .patch_status(&key.1, &parameters, &Patch::Apply(&patch))
            .await
        {
            Ok(written) => written,
            Err(kube::Error::Api(error)) if error.is_not_found() => return Ok(true),
            Err(kube::Error::Api(error)) if error.is_conflict() => return Ok(false),
            Err(error) => return Err(PassError::Report(Box::new(error))),
        };
        for event in events::on_change(object, &status) {
            self.publish(object, &event).await;
        }
        self.memory().entry(key.clone()).or_default().told = Some(Told {
            uid: object.uid().unwrap_or_default(),
            version: version(written.metadata.resource_version.as_deref()),
            status,
            at: Instant::now(),
        });
        Ok(true)
    }

    /// Whether a status was written just now.
    fn told_just_now(&self, key: &SystemKey) -> bool {
        let memory = self.memory();
        let told = memory.get(key).and_then(|memory| memory.told.as_ref());
        told.is_some_and(|told| told.at.elapsed() < PACE)
    }

    async fn publish(&self, object: &PaymentSystem, event: &Event) {
        self.metrics.write_of("create", "Event");
        if let Err(error) = self.recorder.publish(event, &object.object_ref(&())).await {
            warn!(%error, "cannot publish an event");
        }
    }

    /// Times how long a system takes to be ready as specified. An edit that leaves it ready takes
    /// as long as the pass.
    fn measure(&self, key: &SystemKey, object: &PaymentSystem, status: &PaymentSystemStatus) {
        let before = object.status.as_ref();
        let observed = before.map(|status| status.observed_generation);
        let now = Instant::now();
        if observed != object.metadata.generation {
            self.metrics.seen(key, false, now);
        }
        self.metrics.seen(key, report::is_settled(status), now);
    }

    /// The object with the status this operator wrote last, if the watch has not shown it yet.
    pub(super) fn with_latest_status(
        &self,
        key: &SystemKey,
        object: &PaymentSystem,
    ) -> PaymentSystem {
        let mut object = object.clone();
        let seen = version(object.metadata.resource_version.as_deref());
        let memory = self.memory();
        let told = memory.get(key).and_then(|memory| memory.told.as_ref());
        if let Some(told) = told
            && Some(&told.uid) == object.metadata.uid.as_ref()
            && told.version > seen
        {
            object.status = Some(told.status.clone());
        }
        object
    }
}
