//! `status`: one screen about a system, or one line for each of many; waits for it to be ready, or
//! stopped.

mod render;
pub(crate) mod view;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use crds::PaymentSystem;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    Screen,
    cluster::{Cluster, LIST_MAX},
    failure::{Failure, Verdict, request},
    screen,
};
use view::{Overview, State, System};

#[derive(Args)]
pub(crate) struct Status {
    /// The system; without it, all of the namespace
    name: Option<String>,
    /// The systems of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "wait"])]
    all_namespaces: bool,
    /// Follow the system until it is ready as specified, or stopped
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "ready", require_equals = true)]
    wait: Option<For>,
    /// How long to wait, such as 90s, 5m or 1h
    #[arg(long, value_parser = duration, default_value = "5m", value_name = "DURATION")]
    timeout: Duration,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum For {
    Ready,
    Stopped,
}

impl For {
    fn holds(self, system: &System) -> bool {
        match self {
            Self::Ready => system.ready,
            Self::Stopped => system.state == State::Stopped,
        }
    }
}

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Stopped => "stopped",
        })
    }
}

/// A duration as kubectl takes it: `90s`, `5m`, `1h`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no duration: write 90s, 5m or 1h");
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * factor))
}

impl Status {
    pub(crate) async fn run(self, cluster: Cluster, screen: Screen) -> Result<Verdict, Failure> {
        if let Some(wait) = self.wait {
            return self.follow(wait, &cluster, screen).await;
        }
        let now = Timestamp::now();
        if let Some(name) = &self.name {
            let object = cluster.system(Some(name)).await?;
            return show(&object, screen, now);
        }
        let (api, place) = if self.all_namespaces {
            let api = Api::<PaymentSystem>::all(cluster.client.clone());
            (api, "the cluster".to_owned())
        } else {
            let place = format!("namespace {}", cluster.namespace);
            (cluster.systems(), place)
        };
        let parameters = ListParams::default().limit(LIST_MAX);
        let list = api.list(&parameters).await;
        let list = list.map_err(request(format!("cannot list PaymentSystems in {place}")))?;
        let systems: Vec<System> = list.items.iter().map(view::system).collect();
        // Programs get a list whenever they name no system.
        let alone = screen.is_text() && !self.all_namespaces;
        if let ([only], true) = (list.items.as_slice(), alone) {
            return show(only, screen, now);
        }
        let overview = Overview { place, systems };
        let ready = overview.systems.iter().all(|system| system.ready);
        screen.show(&overview, |overview, paint| {
            render::overview(overview, paint, now)
        })?;
        Ok(Verdict::fine_if(ready))
    }

    async fn follow(
        &self,
        wait: For,
        cluster: &Cluster,
        screen: Screen,
    ) -> Result<Verdict, Failure> {
        let object = cluster.system(self.name.as_deref()).await?;
        let name = object.name_any();
        let mut progress = Progress::begin();
        let reached = cluster
            .follow(&name, self.timeout, |object: &PaymentSystem| {
                let system = view::system(object);
                for line in progress.news(&system, screen) {
                    screen.progress(&line);
                }
                wait.holds(&system).then(|| object.clone())
            })
            .await?;
        if let Some(object) = reached {
            show(&object, screen, Timestamp::now())?;
            return Ok(Verdict::Fine);
        }
        let limit = i64::try_from(self.timeout.as_secs()).unwrap_or(i64::MAX);
        screen.progress(&format!(
            "{name} is not {wait} after {}: `kubectl paysys why {name}` says why",
            screen::seconds(limit)
        ));
        let object = cluster.system(Some(&name)).await?;
        show(&object, screen, Timestamp::now())?;
        Ok(Verdict::Trouble)
    }
}

fn show(object: &PaymentSystem, screen: Screen, now: Timestamp) -> Result<Verdict, Failure> {
    let system = view::system(object);
    screen.show(&system, |system, paint| render::system(system, paint, now))?;
    Ok(Verdict::fine_if(system.ready))
}

/// What was already told of a wait.
struct Progress {
    begun: Instant,
    told: BTreeMap<String, String>,
}

impl Progress {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            told: BTreeMap::new(),
        }
    }

    /// A line for each condition that says something new.
    fn news(&mut self, system: &System, screen: Screen) -> Vec<String> {
        let after = i64::try_from(self.begun.elapsed().as_secs()).unwrap_or(i64::MAX);
        let mut lines = Vec::new();
        for condition in &system.conditions {
            let said = format!("{} {}", condition.holds, condition.message);
            let before = self.told.insert(condition.kind.clone(), said.clone());
            if before.as_ref() != Some(&said) {
                lines.push(render::progress(after, condition, screen.progress_paint()));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_kubectl() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h", 3_600), ("7", 7)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds));
        }
        for text in ["", "m", "5d", "-1s", "1h30m"] {
            let error = duration(text).unwrap_err();
            assert!(error.ends_with("write 90s, 5m or 1h"), "{error}");
        }
    }
}
