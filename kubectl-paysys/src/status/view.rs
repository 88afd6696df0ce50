//! What a status says, ready to be shown to people and programs.
//!
//! Pure. The names of the fields are those of `-o json`: part of the API.

use crds::{
    PaymentSystem,
    status::{Component, LastReconciliation},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition as Reported, jiff::Timestamp};
use kube::ResourceExt;
use payment_operator::{gates::condition as part, report};
use serde::Serialize;

/// Whether the books need a person; it does not take part in `Ready`.
const BOOKS: &str = "ReconciliationClean";

/// Conditions in the order in which the parts start.
const ORDER: [&str; 16] = [
    part::CHANNELS,
    part::DATABASE,
    part::CACHE,
    part::SIMULATOR,
    part::COORDINATOR,
    part::SCHEMA,
    part::RECONCILIATION_SECRETS,
    part::PAYMENT_CERTIFICATE,
    part::CALLBACK_CERTIFICATE,
    part::PAYMENT,
    part::CALLBACK,
    part::WORKER,
    part::RECONCILIATION,
    part::ORDERS,
    part::SCHEDULE,
    BOOKS,
];

/// What a system does, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum State {
    Ready,
    /// Waiting helps.
    Waiting,
    /// Somebody must act.
    Stalled,
    Paused,
    /// No pod runs, as specified.
    Stopped,
    /// The operator has not seen the present specification.
    Unseen,
    Deleting,
}

impl State {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Waiting => "Waiting",
            Self::Stalled => "Stalled",
            Self::Paused => "Paused",
            Self::Stopped => "Stopped",
            Self::Unseen => "Unseen",
            Self::Deleting => "Deleting",
        }
    }
}

/// Many systems.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Overview {
    #[serde(skip)]
    pub(crate) place: String,
    pub(crate) systems: Vec<System>,
}

/// One system.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct System {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) state: State,
    /// Ready as specified, by the operator's own word about the present specification.
    pub(crate) ready: bool,
    pub(crate) paused: bool,
    /// Since when `Ready` says what it says.
    pub(crate) since: Option<Timestamp>,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) version: Option<String>,
    pub(crate) payment: Option<String>,
    pub(crate) callback: Option<String>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) components: Vec<Component>,
    pub(crate) last_reconciliation: Option<LastReconciliation>,
    /// What somebody should do; absent if nothing.
    pub(crate) next: Option<String>,
}

/// How far one part is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) holds: bool,
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Condition {
    fn of(reported: &Reported) -> Self {
        Self {
            kind: reported.type_.clone(),
            holds: reported.status == "True",
            since: reported.last_transition_time.0,
            reason: reported.reason.clone(),
            message: reported.message.clone(),
        }
    }
}

/// What is to be shown of a system.
pub(crate) fn system(object: &PaymentSystem) -> System {
    let status = object.status.clone().unwrap_or_default();
    let all: Vec<Condition> = status.conditions.iter().map(Condition::of).collect();
    let summary = find(&all, report::READY).cloned();
    let state = state(object, &all);
    let next = next(object, state, &all);
    let mut conditions: Vec<Condition> = all
        .into_iter()
        .filter(|condition| {
            ![
                report::READY,
                report::RECONCILING,
                report::STALLED,
                report::PAUSED,
                report::STOPPED,
            ]
            .contains(&condition.kind.as_str())
        })
        .collect();
    conditions.sort_by_key(|condition| {
        let place = ORDER.iter().position(|known| *known == condition.kind);
        place.unwrap_or(ORDER.len())
    });
    let ready = seen(object) && summary.as_ref().is_some_and(|summary| summary.holds);
    System {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        state,
        ready,
        paused: object.spec.paused,
        since: summary.as_ref().map(|summary| summary.since),
        reason: summary
            .as_ref()
            .map(|summary| summary.reason.clone())
            .unwrap_or_default(),
        message: summary.map(|summary| summary.message).unwrap_or_default(),
        version: status.version,
        payment: status.payment,
        callback: status.callback,
        conditions,
        components: status.components,
        last_reconciliation: status.last_reconciliation,
        next,
    }
}

pub(crate) fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// Whether the status speaks of the present specification.
pub(crate) fn seen(object: &PaymentSystem) -> bool {
    let observed = object.status.as_ref().map(|s| s.observed_generation);
    observed.is_some() && observed == object.metadata.generation
}

fn state(object: &PaymentSystem, conditions: &[Condition]) -> State {
    let holds = |kind| find(conditions, kind).is_some_and(|condition| condition.holds);
    if object.metadata.deletion_timestamp.is_some() {
        State::Deleting
    } else if !seen(object) {
        State::Unseen
    } else if object.spec.paused {
        State::Paused
    } else if holds(report::STOPPED) {
        State::Stopped
    } else if holds(report::READY) {
        State::Ready
    } else if holds(report::STALLED) {
        State::Stalled
    } else {
        State::Waiting
    }
}

/// What somebody should do next.
fn next(object: &PaymentSystem, state: State, conditions: &[Condition]) -> Option<String> {
    let name = object.name_any();
    let books = find(conditions, BOOKS).filter(|books| !books.holds);
    match state {
        State::Unseen => Some(
            "the operator has not looked at the present specification: if that lasts, see that it \
             runs (`kubectl get deployment -A -l app.kubernetes.io/name=payment-operator`)"
                .to_owned(),
        ),
        State::Paused => Some(format!(
            "`kubectl paysys resume {name}` when the operator may change things again"
        )),
        State::Stopped => Some(format!("`kubectl paysys start {name}` starts it again")),
        State::Stalled => Some(format!(
            "waiting does not help; `kubectl paysys why {name}` shows the object, its pods and \
             events"
        )),
        State::Waiting => Some(format!(
            "wait, or `kubectl paysys why {name}` if it takes long"
        )),
        State::Ready => books.map(|books| books.message.clone()),
        State::Deleting => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crds::PaymentSystemSpec;
    use serde_json::json;

    use super::*;

    /// A system with these conditions: type, status, reason, message.
    pub(crate) fn object(conditions: &[(&str, &str, &str, &str)]) -> PaymentSystem {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason, message)| {
                json!({
                    "type": kind, "status": status, "reason": reason, "message": message,
                    "lastTransitionTime": "2026-11-22T10:00:00Z", "observedGeneration": 1,
                })
            })
            .collect();
        let mut object = PaymentSystem::new("demo", PaymentSystemSpec::default());
        object.metadata.namespace = Some("payment".to_owned());
        object.metadata.generation = Some(1);
        let status = json!({
            "observedGeneration": 1, "conditions": conditions, "version": "1.0",
            "payment": "3/3", "callback": "3/3",
            "components": [
                {"name": "demo-mysql", "kind": "StatefulSet", "ready": "1/1", "image": "mysql:9.7"},
                {"name": "demo-payment", "kind": "Deployment", "ready": "3/3", "image": "registry.example/payment-runtime:1.0"},
            ],
            "lastReconciliation": {
                "finishedAt": "2026-11-22T02:10:00Z", "from": "2026-11-19", "to": "2026-11-21",
                "matched": 42, "openDifferences": 2, "proofHolds": true,
            },
        });
        object.status = Some(serde_json::from_value(status).unwrap());
        object
    }

    #[test]
    fn each_state_has_its_word_and_its_next_action() {
        type Change = fn(&mut PaymentSystem);
        let ready = ("Ready", "True", "Available", "all parts are ready");
        let not_ready = ("Ready", "False", "WaitingForDatabase", "waiting");
        let stalled = ("Stalled", "True", "ImagePullBackOff", "waiting");
        let unclean = (BOOKS, "False", "DifferencesOpen", "2 differences are open");
        let keep: Change = |_| ();
        let stopped = [
            ("Ready", "False", "Stopped", "no pod runs"),
            ("Stopped", "True", "Stopped", "no pod runs"),
        ];
        let cases: [(&[_], Change, State, bool, bool); 8] = [
            (&stopped, keep, State::Stopped, false, true),
            (&[ready], keep, State::Ready, true, false),
            (&[ready, unclean], keep, State::Ready, true, true),
            (&[not_ready], keep, State::Waiting, false, true),
            (&[not_ready, stalled], keep, State::Stalled, false, true),
            (
                &[ready],
                |o| o.spec.paused = true,
                State::Paused,
                true,
                true,
            ),
            (
                &[ready],
                |o| o.metadata.generation = Some(2),
                State::Unseen,
                false,
                true,
            ),
            (&[ready], |o| o.status = None, State::Unseen, false, true),
        ];
        for (conditions, change, state, is_ready, acts) in cases {
            let mut object = object(conditions);
            change(&mut object);
            let system = system(&object);
            assert_eq!((system.state, system.ready), (state, is_ready));
            assert_eq!(system.next.is_some(), acts, "{:?}", system.next);
        }
    }

    #[test]
    fn parts_stand_in_the_order_in_which_they_start() {
        let object = object(&[
            (BOOKS, "True", "Clean", ""),
            (part::PAYMENT, "True", "Available", ""),
            ("SomethingNew", "True", "Available", ""),
            ("Ready", "True", "Available", ""),
            (part::DATABASE, "True", "Available", ""),
        ]);
        let kinds: Vec<String> = system(&object)
            .conditions
            .into_iter()
            .map(|condition| condition.kind)
            .collect();
        assert_eq!(
            kinds,
            [part::DATABASE, part::PAYMENT, BOOKS, "SomethingNew"]
        );
    }
}
