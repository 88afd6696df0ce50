//! The scheduled comparison with the channels' bills: when it runs, what it may correct, and who
//! is asked about the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{resources::Resources, rules};

/// Scheduled comparison of our records with the channels' bills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::RECONCILIATION))]
pub struct Reconciliation {
    /// When runs start, in cron format with five fields, Beijing time. A run that is due while
    /// another one works is skipped.
    #[schemars(length(max = 100), extend("x-kubernetes-validations" = rules::CRON))]
    pub schedule: String,
    /// Finished days that each run compares.
    #[schemars(range(min = 1, max = 90))]
    pub days: i32,
    /// Rows read at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub batch_size: i32,
    /// Comparisons done side by side.
    #[schemars(range(min = 1, max = 64))]
    pub workers: i32,
    /// Time after which a run is stopped, in milliseconds.
    #[schemars(range(min = 10_000, max = 86_400_000))]
    pub timeout_milliseconds: i64,
    /// Open differences that are tolerated; one more makes the alert fire.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub difference_threshold: i64,
    /// A second schedule, for one thorough run per day.
    pub daily_run: DailyRun,
    /// `true` starts no new runs.
    pub suspend: bool,
    /// What a run may put right without a person.
    pub corrections: Corrections,
    /// A resolution by hand of more than this many yuan needs a second person, such as `1000.00`.
    #[schemars(length(max = 15), extend("x-kubernetes-validations" = rules::AMOUNT))]
    pub second_person_above: String,
    /// Rows near midnight, which may stand on the bill of the day beside theirs.
    pub late_rows: LateRows,
    /// The channels' fees by contract, against which the fees on the bills are checked.
    pub fee_rates: FeeRates,
    /// A webhook that is told of differences. Left out: nobody is told; the alerts stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Key of a Secret in this namespace that says who may resolve differences on the web page
    /// and over the API: one `name:sha256-hex-of-token` per line. Left out: nobody may. Changes
    /// take effect by a rolling restart of the reconciliation service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people_secret_ref: Option<SecretKeyRef>,
    /// Compute resources of a run, and of the service that serves reports.
    pub resources: Resources,
}

impl Default for Reconciliation {
    fn default() -> Self {
        Self {
            schedule: "0/30 * * * *".to_owned(),
            days: 7,
            batch_size: 1000,
            workers: 5,
            timeout_milliseconds: 600_000,
            difference_threshold: 0,
            daily_run: DailyRun::default(),
            suspend: false,
            corrections: Corrections::default(),
            second_person_above: "1000.00".to_owned(),
            late_rows: LateRows::default(),
            fee_rates: FeeRates::default(),
            notify: None,
            people_secret_ref: None,
            resources: Resources::requesting("25m", "64Mi"),
        }
    }
}

/// One thorough run per day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DailyRun {
    /// `true` starts the daily run.
    pub enabled: bool,
    /// When it starts, in cron format with five fields, Beijing time.
    #[schemars(length(max = 100), extend("x-kubernetes-validations" = [rules::CRON, rules::DAILY].concat()))]
    pub schedule: String,
}

impl Default for DailyRun {
    fn default() -> Self {
        Self {
            enabled: false,
            schedule: "0 2 * * *".to_owned(),
        }
    }
}

/// Corrections without a person, within bounds per channel and Beijing day. What is beyond them
/// waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::CORRECTIONS))]
pub struct Corrections {
    /// `false` leaves every difference to a person.
    pub enabled: bool,
    /// Most corrections per channel and day.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub daily_count: i32,
    /// Most yuan corrected per channel and day, such as `10000.00`.
    #[schemars(length(max = 15), extend("x-kubernetes-validations" = rules::AMOUNT))]
    pub daily_amount: String,
}

impl Default for Corrections {
    fn default() -> Self {
        Self {
            enabled: true,
            daily_count: 100,
            daily_amount: "100000.00".to_owned(),
        }
    }
}

/// Rows near midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LateRows {
    /// How near to midnight, before or after, in minutes.
    #[schemars(range(min = 0, max = 720))]
    pub minutes_around_midnight: i32,
    /// Days that such a row waits for its other side before it counts as a difference.
    #[schemars(range(min = 0, max = 30))]
    pub wait_days: i32,
}

impl Default for LateRows {
    fn default() -> Self {
        Self {
            minutes_around_midnight: 60,
            wait_days: 3,
        }
    }
}

/// The channels' fees by contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FeeRates {
    /// WeChat Pay's part of each amount, such as `0.6%`. Left out: its fees are not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), extend("x-kubernetes-validations" = rules::RATE))]
    pub wechat: Option<String>,
    /// Alipay's part of each amount, such as `0.38%`. Left out: its fees are not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), extend("x-kubernetes-validations" = rules::RATE))]
    pub alipay: Option<String>,
}

/// A webhook, signed as Standard Webhooks says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::NOTIFY))]
pub struct Notify {
    /// Address that messages are posted to: https, or http to a Service of this cluster
    /// (`http://name.namespace.svc/…`).
    #[schemars(length(min = 1, max = 500))]
    pub url: String,
    /// Key of a Secret in this namespace with the signing secret, `whsec_` and base64.
    pub secret_ref: SecretKeyRef,
}

/// One key of a Secret in this namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub key: String,
}
