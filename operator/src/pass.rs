//! One pass over a system: look, decide, write, report.
//!
//! Guarantees: any step may have failed last time, so each pass does all of them; what was decided
//! is reported even when writing fails. Nothing branches on why the pass is made, and at rest it
//! makes no request.
//!
//! Not here: when passes are made (`controller`). What they write is in `write`, what they say in
//! `tell`.

mod tell;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crds::{PaymentSystem, PaymentSystemStatus};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    core::DeserializeGuard,
    runtime::{controller::Action, events::Recorder, reflector::Store},
};

use crate::{
    acceptance::{self, Accepted},
    apply::{ApplyError, REFUSED_FOR, Refusal},
    build::BuildError,
    cache::{Cache, SystemKey},
    gates::{Gates, gates},
    keys::KeyError,
    leader::Leadership,
    metrics::Metrics,
    observe::{self, Observed},
    report::{Outcome, Said},
    rollout,
    traffic::{self, Work},
    validate::{Settings, ValidSystem, named_secrets, validate},
    watches::Watches,
};

/// How often a system is looked at without a cause. A pass at rest makes no request.
const RESYNC: Duration = Duration::from_mins(10);
/// How often pods are asked while a service is rolled.
const LOOK: Duration = Duration::from_secs(2);
/// When a system is looked at again of which something changed while it was written.
const AGAIN: Duration = Duration::from_secs(1);

/// What every pass needs.
pub(crate) struct Context {
    pub(crate) client: Client,
    /// The systems there are.
    pub(crate) systems: Store<DeserializeGuard<PaymentSystem>>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) watches: Watches,
    pub(crate) recorder: Recorder,
    pub(crate) leadership: Leadership,
    pub(crate) memory: Mutex<HashMap<SystemKey, Memory>>,
}

/// What is remembered of a system between passes. Losing it costs a request, never correctness.
#[derive(Default)]
pub(crate) struct Memory {
    told: Option<Told>,
    pub(crate) failures: u32,
    /// What the API server did not do, by the name of the claim.
    refused: BTreeMap<String, Refusal>,
    /// What the pods of a rolling service had done when the rollout was first looked at.
    work: BTreeMap<String, Work>,
}

/// The status that was written last: the truth until the watch shows it.
struct Told {
    /// Of the object it was written for.
    uid: String,
    /// The version it made.
    version: u64,
    status: PaymentSystemStatus,
    at: Instant,
}

/// What a pass wrote.
struct Written {
    /// Nothing had changed meanwhile.
    current: bool,
    plan: rollout::Plan,
}

impl Written {
    fn nothing(current: bool) -> Self {
        Self {
            current,
            plan: rollout::Plan::default(),
        }
    }
}

/// What was seen of services that are being rolled.
#[derive(Default)]
struct Watching {
    /// Why the rollout is taken back.
    refusal: Option<String>,
    rolling: bool,
}

/// Why a pass did not finish. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error("cannot make credentials")]
    Credentials(#[source] KeyError),
    #[error("cannot build the manifests")]
    Build(#[source] BuildError),
    #[error("cannot apply the manifests")]
    Apply(#[source] ApplyError),
    #[error("cannot report the status")]
    Report(#[source] Box<kube::Error>),
}

impl PassError {
    /// Condition reason and metric label. Part of the API: never reword.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "CredentialsFailed",
            Self::Build(error) => error.reason(),
            Self::Apply(error) => error.reason(),
            Self::Report(_) => "ReportFailed",
        }
    }
}

/// The whole chain of an error in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Context {
    pub(crate) fn memory(&self) -> MutexGuard<'_, HashMap<SystemKey, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, key: &SystemKey) {
        self.memory().remove(key);
        self.metrics.forget(key);
        self.watches.name_secrets(key, &BTreeSet::new());
    }

    /// Forgets every system that is no longer there: nobody tells of one that was deleted while a
    /// watch was away.
    pub(crate) fn forget_all_but(&self, is_there: impl Fn(&SystemKey) -> bool) {
        let mut known = self.metrics.known();
        known.extend(self.watches.users());
        known.extend(self.memory().keys().cloned());
        for key in known.iter().filter(|key| !is_there(key)) {
            self.forget(key);
        }
    }

    /// One pass: look, decide, write, report. Any step may have failed last time, so each pass
    /// does all of them; what was decided is reported even when writing fails.
    pub(crate) async fn reconcile(
        &self,
        key: &SystemKey,
        object: &PaymentSystem,
    ) -> Result<Action, PassError> {
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let object = &self.with_latest_status(key, object);
        let accepted = self.accepted(key, object);
        let back = acceptance::gone_back(object, &self.settings, accepted.as_ref());
        let (built, settings) = back
            .as_ref()
            .map_or((object, &self.settings), |(object, settings)| {
                (object, settings)
            });
        let secrets = named_secrets(&built.spec);
        self.watches.name_secrets(key, &secrets);
        let system = match validate(built, settings) {
            Ok(system) => ValidSystem {
                gone_back: back.is_some(),
                restart_reasons: accepted
                    .map(|accepted| accepted.restart_reasons)
                    .unwrap_or_default(),
                ..system
            },
            Err(invalid) => {
                let outcome = Outcome::Invalid(&invalid);
                let observed = Observed::read(&self.cache, key, BTreeMap::new());
                let reported = self.report(key, object, &observed, &outcome).await?;
                self.metrics.pass(invalid.reason());
                return Ok(if reported {
                    Action::await_change()
                } else {
                    Action::requeue(AGAIN)
                });
            }
        };
        // What is read of them meanwhile is for the next pass: nothing is ready because of a
        // Secret that nothing was built from yet.
        let Some(named) = observe::named_secrets(&self.cache, &key.0, &secrets) else {
            // A new operator knows no more than that. Who looks at them asks for the next pass.
            return Ok(Action::await_change());
        };
        let read = || Observed::read(&self.cache, key, named.clone());
        let written = if object.spec.paused {
            Ok(Written::nothing(true))
        } else {
            self.write(key, &system, &read).await
        };
        let observed = read();
        let mut gates = gates(&system, &observed);
        let watching = if back.is_none() && !object.spec.paused {
            self.watch_rollout(key, &system, &observed).await
        } else {
            Watching::default()
        };
        let said = Said {
            refusals: self.refused(key).into_values().collect(),
            ..self.said(object, &system, &written, watching.refusal)
        };
        said.note(&mut gates);
        let outcome = outcome(&system, &gates, &written, &said);
        let reported = self.report(key, object, &observed, &outcome).await?;
        let written = written?;
        self.tell_restarts(object, &written.plan).await;
        let current = written.current && reported;
        self.metrics.pass("done");
        self.memory().entry(key.clone()).or_default().failures = 0;
        Ok(Action::requeue(match (current, watching.rolling) {
            (false, _) => AGAIN,
            (true, true) => LOOK,
            (true, false) if !said.refusals.is_empty() => REFUSED_FOR,
            (true, false) => RESYNC,
        }))
    }

    /// What the API server did not do when it was asked last.
    fn refused(&self, key: &SystemKey) -> BTreeMap<String, Refusal> {
        let memory = self.memory();
        let refused = memory.get(key).map(|memory| memory.refused.clone());
        refused.unwrap_or_default()
    }

    /// The specification that was accepted, where the present one was taken back.
    fn accepted(&self, key: &SystemKey, object: &PaymentSystem) -> Option<Accepted> {
        acceptance::refused(object, &self.settings)?;
        let observed = Observed::read(&self.cache, key, BTreeMap::new());
        acceptance::accepted(&observed, &key.1)
    }

    /// Looks at the pods of services that are being rolled.
    async fn watch_rollout(
        &self,
        key: &SystemKey,
        system: &ValidSystem,
        observed: &Observed,
    ) -> Watching {
        let rolling = acceptance::undecided(system, observed);
        let services = acceptance::watched(&rolling, observed);
        if services.is_empty() {
            if let Some(memory) = self.memory().get_mut(key) {
                memory.work.clear();
            }
            return Watching {
                refusal: acceptance::stuck(&rolling, observed),
                rolling: false,
            };
        }
        let pods = services
            .iter()
            .flat_map(|pods| pods.new.iter().chain(&pods.old));
        let work = traffic::read(pods.cloned().collect()).await;
        let before = {
            let mut memory = self.memory();
            let before = &mut memory.entry(key.clone()).or_default().work;
            for (pod, work) in &work {
                before.entry(pod.clone()).or_insert(*work);
            }
            before.clone()
        };
        let judged = services
            .iter()
            .find_map(|pods| acceptance::judge(pods, &work, &before));
        Watching {
            refusal: judged.or_else(|| acceptance::stuck(&rolling, observed)),
            rolling: true,
        }
    }

    fn said(
        &self,
        object: &PaymentSystem,
        system: &ValidSystem,
        written: &Result<Written, PassError>,
        refusal: Option<String>,
    ) -> Said {
        let before = object.status.as_ref();
        let refusal = refusal.map(|message| (message, Timestamp::now().to_string()));
        let plan = written.as_ref().map(|written| &written.plan).ok();
        Said {
            rollout: acceptance::status(object, &self.settings, refusal),
            rendering: rollout::rendering(
                system,
                before.and_then(|status| status.rendering.clone()),
                plan,
            ),
            refusals: Vec::new(),
            waiting: plan.map(|plan| plan.waiting.clone()).unwrap_or_default(),
            kept: plan.map(|plan| plan.kept.clone()).unwrap_or_default(),
            generation: system.generation,
        }
    }
}

fn outcome<'a>(
    system: &'a ValidSystem,
    gates: &'a Gates,
    written: &Result<Written, PassError>,
    said: &'a Said,
) -> Outcome<'a> {
    match written {
        Ok(_) => Outcome::Done {
            system,
            gates,
            said,
        },
        Err(error) => Outcome::Failed {
            system,
            gates,
            said,
            reason: error.reason(),
            message: chain(error),
        },
    }
}
