//! Events on the PaymentSystem: one per change that a person wants to know of.

use crds::{PaymentSystem, PaymentSystemStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use crate::{
    report::{MESSAGE_MAX, READY, STALLED, STOPPED, cut, find, holds},
    rollout::Restart,
    rotation,
};

/// The events a change of status is worth.
pub fn on_change(object: &PaymentSystem, status: &PaymentSystemStatus) -> Vec<Event> {
    let before = object.status.clone().unwrap_or_default();
    let all = [
        of_readiness(&before, status),
        of_stop(&before, status),
        of_rotation(&before, status),
    ];
    all.into_iter().flatten().collect()
}

/// The system became ready, stopped being ready, or cannot go on.
fn of_readiness(before: &PaymentSystemStatus, status: &PaymentSystemStatus) -> Option<Event> {
    let (old, new) = (find(before, READY), find(status, READY)?);
    let was_ready = old.is_some_and(|condition| condition.status == "True");
    let is_ready = new.status == "True";
    let stalled = find(status, STALLED);
    let type_ = match (was_ready, is_ready, stalled) {
        (false, true, _) => EventType::Normal,
        (true, false, _) if find(status, STOPPED).is_some() => EventType::Normal,
        (true, false, _) => EventType::Warning,
        (false, false, Some(stalled))
            if find(before, STALLED).is_none_or(|old| old.reason != stalled.reason) =>
        {
            EventType::Warning
        }
        _ => return None,
    };
    Some(event(type_, &new.reason, &new.message))
}

/// The last pod of a system that was to be stopped is gone.
fn of_stop(before: &PaymentSystemStatus, status: &PaymentSystemStatus) -> Option<Event> {
    let new = find(status, STOPPED)?;
    (holds(status, STOPPED) && !holds(before, STOPPED))
        .then(|| event(EventType::Normal, &new.reason, &new.message))
}

/// A rotation of the credentials began, goes on, fails, or is done.
fn of_rotation(before: &PaymentSystemStatus, status: &PaymentSystemStatus) -> Option<Event> {
    let old = find(before, rotation::CONDITION);
    let Some(new) = find(status, rotation::CONDITION) else {
        let done = status.credentials.as_ref().filter(|_| old.is_some())?;
        let message = format!("rotation {} is done", done.rotation);
        return Some(event(EventType::Normal, "CredentialsRotated", &message));
    };
    if old.is_some_and(|old| old.reason == new.reason) {
        return None;
    }
    let type_ = if new.reason == rotation::FAILED {
        EventType::Warning
    } else {
        EventType::Normal
    };
    Some(event(type_, &new.reason, &new.message))
}

fn event(type_: EventType, reason: &str, message: &str) -> Event {
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(cut(message, MESSAGE_MAX)),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

/// Pods are restarted, and why.
pub fn restart(restart: &Restart, namespace: Option<String>) -> Event {
    Event {
        type_: EventType::Normal,
        reason: "Rolling".to_owned(),
        note: Some(cut(&restart.to_string(), MESSAGE_MAX)),
        action: "Roll".to_owned(),
        // Events that differ in their note alone would be counted as one.
        secondary: Some(ObjectReference {
            kind: Some(restart.kind.name().to_owned()),
            name: Some(restart.name.clone()),
            namespace,
            ..ObjectReference::default()
        }),
    }
}
