//! What the pods of a service say of their own work, read from their metrics.
//!
//! Guarantees: reading is bounded in time and size; a pod that does not answer is left out. Read
//! only while a service is rolled (`acceptance`).

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use contract::metrics;
use futures::{StreamExt as _, stream};
use http::Uri;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const LONGEST: usize = 1 << 20;
const AT_ONCE: usize = 8;

/// How often something was tried, and how often it went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratio {
    pub bad: u64,
    pub all: u64,
}

impl Ratio {
    const fn plus(self, other: Self) -> Self {
        Self {
            bad: self.bad.saturating_add(other.bad),
            all: self.all.saturating_add(other.all),
        }
    }

    /// What was added since `before`. A process that has started anew counts from zero.
    const fn since(self, before: Self) -> Self {
        if self.all < before.all {
            return self;
        }
        Self {
            bad: self.bad.saturating_sub(before.bad),
            all: self.all - before.all,
        }
    }
}

/// What one or several pods have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Requests to the API; bad: answered with 5xx.
    pub requests: Ratio,
    /// Calls to the channels; bad: without a verified answer.
    pub channel_calls: Ratio,
    /// Notifications from the channels; bad: refused or failed.
    pub callbacks: Ratio,
}

impl Work {
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.plus(other.requests),
            channel_calls: self.channel_calls.plus(other.channel_calls),
            callbacks: self.callbacks.plus(other.callbacks),
        }
    }

    /// What was done since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests.since(before.requests),
            channel_calls: self.channel_calls.since(before.channel_calls),
            callbacks: self.callbacks.since(before.callbacks),
        }
    }
}

/// Where the metrics of a pod are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub pod: String,
    pub ip: IpAddr,
    pub port: u16,
}

impl Address {
    /// `None` until the pod has an address.
    pub fn of(pod: &Value) -> Option<Self> {
        Some(Self {
            pod: pod["metadata"]["name"].as_str()?.to_owned(),
            ip: pod["status"]["podIP"].as_str()?.parse().ok()?,
            port: pod["status"]["managementPort"].as_u64()?.try_into().ok()?,
        })
    }

    fn uri(&self) -> Option<Uri> {
        let host = match self.ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let uri = format!("http://{host}:{}/actuator/prometheus", self.port);
        uri.parse().ok()
    }
}

/// Reads pods, by name. Those that do not answer are missing.
pub async fn read(pods: Vec<Address>) -> BTreeMap<String, Work> {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    stream::iter(pods)
        .map(|pod| {
            let client = client.clone();
            async move { Some((pod.pod.clone(), read_one(&client, &pod).await?)) }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}

async fn read_one(
    client: &Client<HttpConnector, Empty<&'static [u8]>>,
    pod: &Address,
) -> Option<Work> {
    let text = tokio::time::timeout(ANSWER_WITHIN, async {
        let answer = client.get(pod.uri()?).await.ok()?;
        let body = Limited::new(answer.into_body(), LONGEST);
        Some(body.collect().await.ok()?.to_bytes())
    });
    let bytes = text.await.ok()??;
    Some(work(std::str::from_utf8(&bytes).ok()?))
}

/// Adds up the counters of one exposition in Prometheus' text format.
fn work(text: &str) -> Work {
    let mut work = Work::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let Ok(count) = value.parse::<u64>() else {
            continue;
        };
        let label = |name: &str| value_of(labels, name).unwrap_or_default();
        if name.strip_suffix("_count") == Some(metrics::API_DURATION) {
            add(&mut work.requests, count, label("status").starts_with('5'));
        } else if name == metrics::CHANNEL_REQUESTS {
            let unknown = label("outcome") == "unknown";
            add(&mut work.channel_calls, count, unknown);
        } else if name == metrics::CALLBACKS {
            let bad = ["rejected", "failed"].contains(&label("result"));
            add(&mut work.callbacks, count, bad);
        }
    }
    work
}

const fn add(ratio: &mut Ratio, count: u64, bad: bool) {
    *ratio = ratio.plus(Ratio {
        bad: if bad { count } else { 0 },
        all: count,
    });
}

fn value_of<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}=\"");
    let mut rest = labels;
    loop {
        let at = rest.find(&start)?;
        let whole = at == 0 || rest[..at].ends_with(',');
        rest = &rest[at + start.len()..];
        if whole {
            return rest.split_once('"').map(|(value, _)| value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_a_runtime_are_added_up() {
        let text = "# HELP payment_api_request_duration_seconds Seconds\n\
            payment_api_request_duration_seconds_sum{method=\"POST\",route=\"/v1/payments\",status=\"201\"} 1.5\n\
            payment_api_request_duration_seconds_count{method=\"POST\",route=\"/v1/payments\",status=\"201\"} 90\n\
            payment_api_request_duration_seconds_count{method=\"POST\",route=\"/v1/payments\",status=\"503\"} 10\n\
            payment_channel_requests_total{channel=\"wechat\",operation=\"query\",outcome=\"unknown\"} 4\n\
            payment_channel_requests_total{channel=\"wechat\",operation=\"query\",outcome=\"done\"} 16\n\
            payment_callbacks_total{channel=\"alipay\",result=\"accepted\"} 7\n\
            payment_callbacks_total{channel=\"alipay\",result=\"rejected\"} 1\n\
            payment_open_payments{state=\"CREATED\"} 3\n\
            # EOF\n";
        let ratio = |bad, all| Ratio { bad, all };
        assert_eq!(
            work(text),
            Work {
                requests: ratio(10, 100),
                channel_calls: ratio(4, 20),
                callbacks: ratio(1, 8),
            }
        );
    }

    #[test]
    fn a_process_that_started_anew_counts_from_zero() {
        let ratio = |bad, all| Ratio { bad, all };
        assert_eq!(ratio(5, 50).since(ratio(1, 20)), ratio(4, 30));
        assert_eq!(ratio(2, 5).since(ratio(1, 20)), ratio(2, 5));
    }
}
