//! What can go wrong on demand.
//!
//! Each fault is one row of [`TABLE`] and takes effect at exactly one [`Point`] of the program.
//! Arming is by name; a fault without `count` and `probability` fires once. A probability is drawn
//! from a generator seeded by the caller, so a run can be repeated. By default a fault concerns the
//! operations of its point ([`Point::concerns`]): those that change something for answers, so that
//! a poller in the background does not use up a shot meant for a new charge. `operation` (or
//! `"any"`), `outTradeNo` and `caller` narrow or widen that.
//!
//! Not here: what a fault does to an answer (`wechat`, `alipay`, `delivery`).

mod table;

use std::net::IpAddr;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::{Channel, locked};

pub(crate) use table::{Entry, Fault, TABLE};

/// Entries armed at a time.
const ARMED_MAX: usize = 256;

/// Where in the program a fault takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Point {
    /// After the request was authenticated, before anything happens.
    Before,
    /// Inside the operation.
    Inside,
    /// Everything has happened; the answer is replaced, delayed or lost.
    Answer,
    /// The answer is right, its signature is not.
    Signature,
    /// When a bill file is made.
    Bill,
    /// When a callback is scheduled.
    Callback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    Create,
    Query,
    Close,
    Cancel,
    Refund,
    RefundQuery,
    Bill,
    Download,
    Callback,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OperationFilter {
    /// The operations of the fault's point.
    #[default]
    Default,
    Any,
    Create,
    Query,
    Close,
    Cancel,
    Refund,
    RefundQuery,
    Bill,
    Download,
}

/// One request or callback, as far as faults look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub channel: Channel,
    pub operation: Operation,
    pub out_trade_no: Option<&'a str>,
    /// Absent where nobody called: at a callback, or an order that the payer's app hands in.
    pub caller: Option<IpAddr>,
}

/// The body of `POST /faults`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Arm {
    pub name: String,
    pub channel: Option<Channel>,
    pub count: Option<u64>,
    pub probability: Option<f64>,
    pub seed: Option<u64>,
    #[serde(default)]
    pub operation: OperationFilter,
    pub out_trade_no: Option<String>,
    /// The address a request comes from.
    pub caller: Option<IpAddr>,
    pub seconds: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ArmError {
    #[error("no fault is called {0}; GET /faults lists them")]
    Unknown(String),
    #[error("{name} exists on {only} only")]
    OtherChannel { name: &'static str, only: Channel },
    #[error("probability must be between 0 and 1")]
    Probability,
    #[error("count must be at least 1 and seconds at most 86400")]
    Range,
    #[error("{ARMED_MAX} faults are armed already; DELETE /faults")]
    Full,
}

/// An armed fault as `GET /faults` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArmedView {
    pub name: &'static str,
    pub channel: Option<Channel>,
    pub operation: OperationFilter,
    pub out_trade_no: Option<String>,
    pub caller: Option<IpAddr>,
    /// Shots left; absent means without end.
    pub remaining: Option<u64>,
    pub probability: Option<f64>,
    pub seed: Option<u64>,
    pub seconds: Option<u64>,
    pub fired: u64,
}

struct Armed {
    entry: &'static Entry,
    view: ArmedView,
    random: StdRng,
}

/// What a fault that fired carries along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fired {
    pub fault: Fault,
    pub seconds: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Faults {
    armed: Mutex<Vec<Armed>>,
}

impl Faults {
    pub(crate) fn arm(&self, arm: Arm) -> Result<ArmedView, ArmError> {
        let armed = Armed::new(arm)?;
        let view = armed.view.clone();
        let mut all = locked(&self.armed);
        all.retain(|armed| armed.view.remaining != Some(0));
        if all.len() >= ARMED_MAX {
            return Err(ArmError::Full);
        }
        all.push(armed);
        Ok(view)
    }

    pub(crate) fn clear(&self) {
        locked(&self.armed).clear();
    }

    pub(crate) fn armed(&self) -> Vec<ArmedView> {
        let all = locked(&self.armed);
        all.iter()
            .filter(|armed| armed.view.remaining != Some(0))
            .map(|a| a.view.clone())
            .collect()
    }

    /// Whether `fault` strikes here; uses up a shot if so.
    pub(crate) fn strikes(&self, fault: Fault, site: &Site<'_>) -> Option<Fired> {
        self.first(site, |entry| entry.fault == fault)
    }

    /// The first armed fault of `point` that strikes here.
    pub(crate) fn at(&self, point: Point, site: &Site<'_>) -> Option<Fired> {
        self.first(site, |entry| entry.point == point)
    }

    fn first(&self, site: &Site<'_>, wanted: impl Fn(&Entry) -> bool) -> Option<Fired> {
        let fired = locked(&self.armed)
            .iter_mut()
            .find_map(|armed| (wanted(armed.entry) && armed.fires(site)).then(|| armed.shot()));
        if let Some((name, _)) = fired {
            tracing::info!(fault = name, channel = %site.channel, operation = ?site.operation,
                out_trade_no = site.out_trade_no, "fault struck");
        }
        fired.map(|(_, fired)| fired)
    }
}

impl Armed {
    fn new(arm: Arm) -> Result<Self, ArmError> {
        let Some(entry) = TABLE.iter().find(|entry| entry.name == arm.name) else {
            return Err(ArmError::Unknown(arm.name));
        };
        if let (Some(only), Some(channel)) = (entry.only, arm.channel)
            && only != channel
        {
            return Err(ArmError::OtherChannel {
                name: entry.name,
                only,
            });
        }
        if arm.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(ArmError::Probability);
        }
        if arm.count == Some(0) || arm.seconds.is_some_and(|seconds| seconds > 86_400) {
            return Err(ArmError::Range);
        }
        let remaining = arm.count.or(if arm.probability.is_some() {
            None
        } else {
            Some(1)
        });
        let view = ArmedView {
            name: entry.name,
            channel: arm.channel.or(entry.only),
            operation: arm.operation,
            out_trade_no: arm.out_trade_no,
            caller: arm.caller,
            remaining,
            probability: arm.probability,
            seed: arm.seed,
            seconds: arm.seconds,
            fired: 0,
        };
        Ok(Self {
            entry,
            view,
            random: StdRng::seed_from_u64(arm.seed.unwrap_or_default()),
        })
    }

    fn fires(&mut self, site: &Site<'_>) -> bool {
        let view = &self.view;
        view.remaining != Some(0)
            && view.channel.is_none_or(|channel| channel == site.channel)
            && view
                .out_trade_no
                .as_deref()
                .is_none_or(|number| Some(number) == site.out_trade_no)
            && view
                .caller
                .is_none_or(|address| Some(address) == site.caller)
            && self.entry.concerns(view.operation, site.operation)
            && view
                .probability
                .is_none_or(|probability| self.random.random_bool(probability))
    }

    fn shot(&mut self) -> (&'static str, Fired) {
        self.view.remaining = self.view.remaining.map(|left| left.saturating_sub(1));
        self.view.fired += 1;
        (
            self.entry.name,
            Fired {
                fault: self.entry.fault,
                seconds: self.view.seconds,
            },
        )
    }
}

impl Entry {
    fn concerns(&self, filter: OperationFilter, operation: Operation) -> bool {
        match filter {
            OperationFilter::Default => self.point.concerns(operation),
            OperationFilter::Any => true,
            OperationFilter::Create => operation == Operation::Create,
            OperationFilter::Query => operation == Operation::Query,
            OperationFilter::Close => operation == Operation::Close,
            OperationFilter::Cancel => operation == Operation::Cancel,
            OperationFilter::Refund => operation == Operation::Refund,
            OperationFilter::RefundQuery => operation == Operation::RefundQuery,
            OperationFilter::Bill => operation == Operation::Bill,
            OperationFilter::Download => operation == Operation::Download,
        }
    }
}

impl Point {
    /// Which operations a fault of this point concerns unless told otherwise.
    const fn concerns(self, operation: Operation) -> bool {
        match self {
            Self::Before | Self::Answer | Self::Signature => {
                matches!(
                    operation,
                    Operation::Create | Operation::Close | Operation::Cancel | Operation::Refund
                )
            }
            Self::Inside | Self::Bill | Self::Callback => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn arm(json: &str) -> Arm {
        serde_json::from_str(json).unwrap()
    }

    const CREATE: Site<'static> = Site {
        channel: Channel::Wechat,
        operation: Operation::Create,
        out_trade_no: Some("A1"),
        caller: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn without_count_or_probability_a_fault_fires_once() {
        let faults = Faults::default();
        faults.arm(arm(r#"{"name":"drop-answer"}"#)).unwrap();
        assert!(faults.at(Point::Answer, &CREATE).is_some());
        assert!(faults.at(Point::Answer, &CREATE).is_none());
        assert!(faults.armed().is_empty());
    }

    #[test]
    fn a_query_does_not_use_up_a_shot_meant_for_a_change() {
        let faults = Faults::default();
        let query = Site {
            operation: Operation::Query,
            ..CREATE
        };
        faults.arm(arm(r#"{"name":"error-500"}"#)).unwrap();
        assert!(faults.at(Point::Answer, &query).is_none());
        faults.clear();
        faults
            .arm(arm(r#"{"name":"error-500","operation":"any"}"#))
            .unwrap();
        assert!(faults.at(Point::Answer, &query).is_some());
    }

    #[test]
    fn filters_hold() {
        let faults = Faults::default();
        faults
            .arm(arm(r#"{"name":"error-500","channel":"alipay"}"#))
            .unwrap();
        faults
            .arm(arm(r#"{"name":"error-500","outTradeNo":"B2"}"#))
            .unwrap();
        assert!(faults.strikes(Fault::Error500, &CREATE).is_none());
        assert!(
            faults
                .strikes(
                    Fault::Error500,
                    &Site {
                        out_trade_no: Some("B2"),
                        ..CREATE
                    }
                )
                .is_some()
        );
        assert!(
            faults
                .arm(arm(r#"{"name":"accepted-202","channel":"alipay"}"#))
                .is_err()
        );
        assert!(faults.arm(arm(r#"{"name":"nonsense"}"#)).is_err());
        assert!(
            faults
                .arm(arm(r#"{"name":"error-500","probability":1.5}"#))
                .is_err()
        );
    }

    #[test]
    fn a_caller_is_told_from_another() {
        let faults = Faults::default();
        let other = Site {
            caller: Some(IpAddr::V4(Ipv4Addr::new(10, 42, 0, 7))),
            ..CREATE
        };
        let callback = Site {
            caller: None,
            ..CREATE
        };
        faults
            .arm(arm(r#"{"name":"error-500","caller":"10.42.0.7"}"#))
            .unwrap();
        assert!(faults.strikes(Fault::Error500, &CREATE).is_none());
        assert!(faults.strikes(Fault::Error500, &callback).is_none());
        assert!(faults.strikes(Fault::Error500, &other).is_some());
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let run = || -> Vec<bool> {
            let faults = Faults::default();
            faults
                .arm(arm(r#"{"name":"error-500","probability":0.5,"seed":7}"#))
                .unwrap();
            (0..64)
                .map(|_| faults.at(Point::Answer, &CREATE).is_some())
                .collect()
        };
        assert_eq!(run(), run());
        assert!(run().contains(&true) && run().contains(&false));
    }
}
