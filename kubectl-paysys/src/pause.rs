//! `pause` and `resume`: one field of the specification, and the operator's word that it saw it.
//!
//! Guarantees: idempotent (a system that already is as asked is not written); nothing else of the
//! specification is touched.

use std::time::Duration;

use clap::Args;
use crds::PaymentSystem;
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
pub(crate) struct Pause {
    /// The system; without it, the only one of the namespace
    name: Option<String>,
    /// How long to wait for the operator to see it
    #[arg(long, value_parser = duration, default_value = "1m", value_name = "DURATION")]
    timeout: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    namespace: String,
    name: String,
    paused: bool,
    /// Whether this command changed it.
    changed: bool,
    /// Whether the operator has said that it knows.
    observed: bool,
}

impl Pause {
    pub(crate) async fn run(
        self,
        cluster: Cluster,
        screen: Screen,
        paused: bool,
    ) -> Result<Verdict, Failure> {
        let object = cluster.system(self.name.as_deref()).await?;
        let name = object.name_any();
        let changed = object.spec.paused != paused;
        if changed {
            write(&cluster, &name, paused).await?;
        }
        let observed = cluster
            .follow(&name, self.timeout, |object: &PaymentSystem| {
                (view::seen(object) && object.spec.paused == paused).then_some(())
            })
            .await?
            .is_some();
        let outcome = Outcome {
            namespace: cluster.namespace,
            name,
            paused,
            changed,
            observed,
        };
        screen.show(&outcome, render)?;
        Ok(Verdict::fine_if(observed))
    }
}

async fn write(cluster: &Cluster, name: &str, paused: bool) -> Result<(), Failure> {
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"spec": {"paused": paused}}));
    let result = cluster.systems().patch(name, &parameters, &patch).await;
    let verb = if paused { "pause" } else { "resume" };
    let what = format!(
        "cannot {verb} PaymentSystem {name} in namespace {}",
        cluster.namespace
    );
    result.map(drop).map_err(request(what))
}

fn render(outcome: &Outcome, paint: Paint) -> String {
    let name = paint.strong(&format!("{}/{}", outcome.namespace, outcome.name));
    let word = match (outcome.changed, outcome.paused) {
        (true, true) => "is paused",
        (false, true) => "was paused already",
        (true, false) => "is resumed",
        (false, false) => "was not paused",
    };
    let meaning = if outcome.paused {
        "  The operator changes nothing of it: it repairs nothing and rolls nothing out.\n  \
           Everything that runs goes on: services, autoscaling, scheduled reconciliation.\n"
    } else {
        "  The operator keeps it as specified: what was edited meanwhile is rolled out now.\n"
    };
    let observed = if outcome.observed {
        "  The operator has seen it.\n".to_owned()
    } else {
        paint.bad(
            "  The operator has not seen it yet: see that it runs\n  \
             (`kubectl get deployment -A -l app.kubernetes.io/name=payment-operator`).\n",
        )
    };
    format!("{name} {word}.\n{meaning}{observed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_means() {
        let mut text = String::new();
        for (paused, changed, observed) in [
            (true, true, true),
            (true, false, true),
            (false, true, true),
            (false, false, false),
        ] {
            let outcome = Outcome {
                namespace: "payment".to_owned(),
                name: "demo".to_owned(),
                paused,
                changed,
                observed,
            };
            text.push_str(&render(&outcome, Paint::Plain));
        }
        insta::assert_snapshot!("outcomes", text);
    }
}
