//! `why`: the one object that blocks a system, since when, what its pods and events say, and what
//! to do.
//!
//! Only reads. What blocks is the operator's own word (its conditions); what is read here beside
//! it is the evidence.

mod evidence;
mod render;

use clap::Args;
use k8s_openapi::{
    api::core::v1::{Event, Pod},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};
use payment_operator::{build::labels, kinds::Kind};

use crate::{
    Screen,
    cluster::{Cluster, LIST_MAX},
    failure::{Failure, Verdict, request},
    status::view::{self, State, System},
};
use evidence::{Evidence, Object};

#[derive(Args)]
pub(crate) struct Why {
    /// The system; without it, the only one of the namespace
    name: Option<String>,
}

impl Why {
    pub(crate) async fn run(self, cluster: Cluster, screen: Screen) -> Result<Verdict, Failure> {
        let object = cluster.system(self.name.as_deref()).await?;
        let system = view::system(&object);
        let why = if system.state == State::Ready {
            evidence::nothing(&system)
        } else {
            look(&cluster, &system).await?
        };
        let now = Timestamp::now();
        screen.show(&why, |why, paint| render::why(why, paint, now))?;
        Ok(Verdict::fine_if(why.blocked_by.is_none()))
    }
}

async fn look(cluster: &Cluster, system: &System) -> Result<evidence::Why, Failure> {
    let object = evidence::blocking(system);
    let Some(kind) = Kind::of(&object.kind) else {
        return Ok(evidence::explain(system, object, &Evidence::default()));
    };
    let live = live(cluster, kind, &object).await?;
    let pods = pods(cluster, live.as_ref(), kind, system).await?;
    let events = events(cluster).await?;
    let evidence = Evidence {
        exists: live.is_some(),
        pods,
        events,
    };
    Ok(evidence::explain(system, object, &evidence))
}

async fn live(
    cluster: &Cluster,
    kind: Kind,
    object: &Object,
) -> Result<Option<DynamicObject>, Failure> {
    let api = Api::<DynamicObject>::namespaced_with(
        cluster.client.clone(),
        &cluster.namespace,
        &kind.entry().resource(),
    );
    // Of a Secret only the name is said; nothing of it is read.
    if kind == Kind::Secret {
        return Ok(None);
    }
    let what = format!("cannot read {} {}", object.kind, object.name);
    api.get_opt(&object.name).await.map_err(request(what))
}

/// The pods of a workload, found by the labels it carries itself.
async fn pods(
    cluster: &Cluster,
    live: Option<&DynamicObject>,
    kind: Kind,
    system: &System,
) -> Result<Vec<Pod>, Failure> {
    let labels = live.and_then(|live| live.metadata.labels.as_ref());
    let component = labels.and_then(|labels| labels.get(labels::COMPONENT));
    let runs_pods = matches!(kind, Kind::StatefulSet | Kind::Deployment | Kind::Job);
    let (Some(component), true) = (component, runs_pods) else {
        return Ok(Vec::new());
    };
    let selector = format!(
        "{}={},{}={component}",
        labels::INSTANCE,
        system.name,
        labels::COMPONENT
    );
    let parameters = ListParams::default().labels(&selector).limit(LIST_MAX);
    let what = format!("cannot list pods in namespace {}", cluster.namespace);
    let list = cluster.api::<Pod>().list(&parameters).await;
    Ok(list.map_err(request(what))?.items)
}

async fn events(cluster: &Cluster) -> Result<Vec<Event>, Failure> {
    let parameters = ListParams::default().fields("type=Warning").limit(LIST_MAX);
    let what = format!("cannot list events in namespace {}", cluster.namespace);
    let list = cluster.api::<Event>().list(&parameters).await;
    Ok(list.map_err(request(what))?.items)
}
