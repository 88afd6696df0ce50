//! `pause`, `resume`, `stop`, `start`: one field of the specification, and the operator's word that
//! it saw it.
//!
//! Guarantees: idempotent (a system that already is as asked is not written); nothing else of the
//! specification is touched.
//!
//! Deliberately not here: waiting until the last pod is gone, or the first payment is taken
//! (`status --wait`).

use std::time::Duration;

use clap::Args;
use crds::{PaymentSystem, PaymentSystemSpec};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Screen,
    cluster::Cluster,
    failure::{Failure, Verdict, request},
    screen::Paint,
    status::{duration, view},
};

/// Who changed the specification, as `managedFields` shows it.
pub(crate) const MANAGER: &str = "kubectl-paysys";

#[derive(Args)]
pub(crate) struct Switch {
    /// The system; without it, the only one of the namespace
    name: Option<String>,
    /// How long to wait for the operator to see it
    #[arg(long, value_parser = duration, default_value = "1m", value_name = "DURATION")]
    timeout: Duration,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Pause,
    Resume,
    Stop,
    Start,
}

impl Act {
    const fn verb(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
            Self::Start => "start",
        }
    }

    /// The field of the specification, and what it is to be.
    const fn wish(self) -> (&'static str, bool) {
        match self {
            Self::Pause => ("paused", true),
            Self::Resume => ("paused", false),
            Self::Stop => ("stopped", true),
            Self::Start => ("stopped", false),
        }
    }

    const fn holds(self, spec: &PaymentSystemSpec) -> bool {
        match self {
            Self::Pause => spec.paused,
            Self::Resume => !spec.paused,
            Self::Stop => spec.stopped,
            Self::Start => !spec.stopped,
        }
    }

    /// What is true of the system now: if this command changed it, and if it was so before.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Pause => ("is paused", "was paused already"),
            Self::Resume => ("is resumed", "was not paused"),
            Self::Stop => ("is to stop", "was to stop already"),
            Self::Start => ("is to start", "was not stopped"),
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Pause => {
                "  The operator changes nothing of it: it repairs nothing and rolls nothing out.\n  \
                   Everything that runs goes on: services, autoscaling, scheduled reconciliation.\n"
            }
            Self::Resume => {
                "  The operator keeps it as specified: what was edited meanwhile is rolled out now.\n"
            }
            Self::Stop => {
                "  Its pods end, services first and stores last; volumes and configuration stay.\n  \
                   No payment is taken until it is started again.\n"
            }
            Self::Start => {
                "  Its pods start as those of a new system: stores, coordinator, services.\n"
            }
        }
    }

    /// How to follow what takes longer than this command.
    const fn follow(self) -> Option<&'static str> {
        match self {
            Self::Pause | Self::Resume => None,
            Self::Stop => Some("--wait=stopped"),
            Self::Start => Some("--wait"),
        }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field that programs read"
)]
struct Outcome {
    #[serde(skip)]
    act: Act,
    namespace: String,
    name: String,
    paused: bool,
    stopped: bool,
    /// Whether this command changed it.
    changed: bool,
    /// Whether the operator has said that it knows.
    observed: bool,
}

impl Switch {
    pub(crate) async fn run(
        self,
        cluster: Cluster,
        screen: Screen,
        act: Act,
    ) -> Result<Verdict, Failure> {
        let object = cluster.system(self.name.as_deref()).await?;
        let name = object.name_any();
        let changed = !act.holds(&object.spec);
        let object = if changed {
            write(&cluster, &name, act).await?
        } else {
            object
        };
        let observed = cluster
            .follow(&name, self.timeout, |object: &PaymentSystem| {
                (view::seen(object) && act.holds(&object.spec)).then_some(())
            })
            .await?
            .is_some();
        let outcome = Outcome {
            act,
            namespace: cluster.namespace,
            name,
            paused: object.spec.paused,
            stopped: object.spec.stopped,
            changed,
            observed,
        };
        screen.show(&outcome, render)?;
        Ok(Verdict::fine_if(observed))
    }
}

async fn write(cluster: &Cluster, name: &str, act: Act) -> Result<PaymentSystem, Failure> {
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let (field, value) = act.wish();
    let patch = Patch::Merge(json!({"spec": {field: value}}));
    let result = cluster.systems().patch(name, &parameters, &patch).await;
    let what = format!(
        "cannot {} PaymentSystem {name} in namespace {}",
        act.verb(),
        cluster.namespace
    );
    result.map_err(request(what))
}

fn render(outcome: &Outcome, paint: Paint) -> String {
    let title = paint.strong(&format!("{}/{}", outcome.namespace, outcome.name));
    let (changed, before) = outcome.act.words();
    let (word, meaning) = if outcome.changed {
        (changed, outcome.act.meaning())
    } else {
        (before, "")
    };
    let seen = if outcome.observed {
        format!("  The operator has seen it.\n{}", next(outcome, paint))
    } else {
        paint.bad(
            "  The operator has not seen it yet: see that it runs\n  \
             (`kubectl get deployment -A -l app.kubernetes.io/name=payment-operator`).\n",
        )
    };
    format!("{title} {word}.\n{meaning}{seen}")
}

/// What there is to do about what takes longer than this command.
fn next(outcome: &Outcome, paint: Paint) -> String {
    let name = &outcome.name;
    match outcome.act.follow().filter(|_| outcome.changed) {
        Some(_) if outcome.paused => paint.bad(&format!(
            "  It is paused, so nothing of it happens before `kubectl paysys resume {name}`.\n"
        )),
        Some(wait) => format!("  `kubectl paysys status {name} {wait}` follows it.\n"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_means() {
        let mut text = String::new();
        let mut say = |act, paused, changed, observed| {
            let outcome = Outcome {
                act,
                namespace: "payment".to_owned(),
                name: "demo".to_owned(),
                paused,
                stopped: act == Act::Stop,
                changed,
                observed,
            };
            text.push_str(&render(&outcome, Paint::Plain));
        };
        say(Act::Pause, true, true, true);
        say(Act::Pause, true, false, true);
        say(Act::Resume, false, true, true);
        say(Act::Resume, false, false, false);
        say(Act::Stop, false, true, true);
        say(Act::Stop, true, true, true);
        say(Act::Stop, false, false, true);
        say(Act::Stop, false, true, false);
        say(Act::Start, false, true, true);
        say(Act::Start, false, false, true);
        insta::assert_snapshot!("outcomes", text);
    }
}
