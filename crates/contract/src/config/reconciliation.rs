//! What reconciliation is told: which days it compares, what it may put right by itself, and whom
//! it asks about the rest.
//!
//! Guarantees: left out, every field has the default of the PaymentSystem resource; a value that
//! cannot work is refused by name.
//!
//! Deliberately not here: what is a difference, and which of them can be corrected.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A rule: whether it holds, the field it is about, and what is wrong if it does not.
pub(super) type Rule = (bool, &'static str, &'static str);

const HALF_A_DAY_MINUTES: u32 = 720;
const PPM: u32 = 1_000_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reconciliation {
    /// Finished days that a run looks back.
    pub days: u32,
    pub batch_size: u32,
    pub workers: u32,
    pub timeout_milliseconds: u64,
    /// More open differences than this make the alert fire.
    pub difference_threshold: u64,
    pub corrections: Corrections,
    /// A resolution by hand of more than this needs a second person. Minor units, not negative.
    pub second_person_above_minor: i64,
    pub late_rows: LateRows,
    pub fee_rates: FeeRates,
    /// Absent: nobody is told of differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Who may act on the web page and over the API: one `name:sha256-hex-of-token` per line.
    /// Only the process that serves them reads it. Absent: nobody may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people_file: Option<PathBuf>,
}

impl Default for Reconciliation {
    fn default() -> Self {
        Self {
            days: 7,
            batch_size: 1000,
            workers: 5,
            timeout_milliseconds: 600_000,
            difference_threshold: 0,
            corrections: Corrections::default(),
            second_person_above_minor: 100_000,
            late_rows: LateRows::default(),
            fee_rates: FeeRates::default(),
            notify: None,
            people_file: None,
        }
    }
}

/// Corrections without a person: at most so many, and of so much, per channel and Beijing day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Corrections {
    pub enabled: bool,
    pub daily_count: u32,
    /// Minor units.
    pub daily_amount_minor: i64,
}

impl Default for Corrections {
    fn default() -> Self {
        Self {
            enabled: true,
            daily_count: 100,
            daily_amount_minor: 10_000_000,
        }
    }
}

/// Rows near midnight, which may stand on the bill of the day beside theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LateRows {
    /// How near to midnight, before or after.
    pub minutes_around_midnight: u32,
    /// Days that such a row waits for its other side before it counts as a difference.
    pub wait_days: u32,
}

impl Default for LateRows {
    fn default() -> Self {
        Self {
            minutes_around_midnight: 60,
            wait_days: 3,
        }
    }
}

/// The channels' fees by contract. A channel without a rate has its fees booked unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FeeRates {
    /// Millionths of the amount: 6000 is 0.6 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wechat_ppm: Option<u32>,
    /// Millionths of the amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alipay_ppm: Option<u32>,
    /// A fee may be off by this, in hundred-thousandths of a yuan: 1000 is one fen.
    pub tolerance_1e5: u64,
}

impl Default for FeeRates {
    fn default() -> Self {
        Self {
            wechat_ppm: None,
            alipay_ppm: None,
            tolerance_1e5: 1000,
        }
    }
}

/// A webhook that is told of differences, signed as Standard Webhooks says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notify {
    pub url: String,
    /// Holds the signing secret, `whsec_` and base64.
    pub secret_file: PathBuf,
}

impl Reconciliation {
    pub(super) fn rules(&self) -> Vec<Rule> {
        let mut rules = vec![
            (self.days > 0, "reconciliation.days", "must be at least 1"),
            (
                self.second_person_above_minor >= 0,
                "reconciliation.secondPersonAboveMinor",
                "must not be negative",
            ),
            (
                self.late_rows.minutes_around_midnight <= HALF_A_DAY_MINUTES,
                "reconciliation.lateRows.minutesAroundMidnight",
                "must be at most 720, half a day",
            ),
        ];
        rules.extend(self.corrections.rules());
        rules.extend(self.fee_rates.rules());
        rules.extend(self.file_rules());
        rules
    }

    fn file_rules(&self) -> [Rule; 3] {
        let notify = self.notify.as_ref();
        [
            (
                notify.is_none_or(|to| web_address(&to.url)),
                "reconciliation.notify.url",
                "must be an address that starts with https:// or http://, without spaces",
            ),
            (
                notify.is_none_or(|to| !to.secret_file.as_os_str().is_empty()),
                "reconciliation.notify.secretFile",
                "must name the file with the signing secret",
            ),
            (
                self.people_file
                    .as_ref()
                    .is_none_or(|file| !file.as_os_str().is_empty()),
                "reconciliation.peopleFile",
                "must name the file with those who may act; leave it out if nobody may",
            ),
        ]
    }
}

impl Corrections {
    fn rules(&self) -> [Rule; 2] {
        [
            (
                !self.enabled || self.daily_count > 0,
                "reconciliation.corrections.dailyCount",
                "must be at least 1; to correct nothing, set enabled to false",
            ),
            (
                // A cap that is not used may be zero, but no amount is negative.
                self.daily_amount_minor > 0 || !self.enabled && self.daily_amount_minor == 0,
                "reconciliation.corrections.dailyAmountMinor",
                "must be at least 1; to correct nothing, set enabled to false",
            ),
        ]
    }
}

impl FeeRates {
    fn rules(&self) -> [Rule; 2] {
        const PROBLEM: &str = "must be below 1000000: a fee is a part of the amount";
        let part = |rate: Option<u32>| rate.is_none_or(|ppm| ppm < PPM);
        [
            (
                part(self.wechat_ppm),
                "reconciliation.feeRates.wechatPpm",
                PROBLEM,
            ),
            (
                part(self.alipay_ppm),
                "reconciliation.feeRates.alipayPpm",
                PROBLEM,
            ),
        ]
    }
}

/// Scheme, something after it, nothing that could split a request line.
fn web_address(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(|c| c.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RuntimeConfig;

    fn parse(reconciliation: &str) -> Result<RuntimeConfig, crate::ConfigError> {
        RuntimeConfig::parse(&format!(
            "
system: payment/demo
mysql: {{host: db, username: payment, passwordFile: /etc/payment/mysql/password}}
channels:
  callbackBaseUrl: http://callback:8088
  wechat: {{baseUrl: http://simulator:8080}}
reconciliation: {reconciliation}
"
        ))
    }

    #[test]
    fn left_out_it_corrects_within_bounds_and_books_strangers_to_suspense() {
        let config = parse("{}").unwrap().reconciliation;
        assert_eq!(config, Reconciliation::default());
        assert!(config.corrections.enabled);
        assert_eq!(config.corrections.daily_count, 100);
        assert_eq!(config.corrections.daily_amount_minor, 10_000_000);
        assert_eq!(config.second_person_above_minor, 100_000);
        assert_eq!(config.late_rows.minutes_around_midnight, 60);
        assert_eq!(config.late_rows.wait_days, 3);
        assert_eq!(config.fee_rates.wechat_ppm, None);
        assert_eq!(config.fee_rates.tolerance_1e5, 1000);
        assert_eq!((config.notify, config.people_file), (None, None));
    }

    #[test]
    fn everything_that_can_be_said_round_trips() {
        let yaml = "{corrections: {enabled: false, dailyCount: 0, dailyAmountMinor: 0}, \
            secondPersonAboveMinor: 0, \
            lateRows: {minutesAroundMidnight: 0, waitDays: 0}, \
            feeRates: {wechatPpm: 6000, alipayPpm: 3800, tolerance1e5: 0}, \
            notify: {url: 'http://127.0.0.1:9/hook', secretFile: /s}, peopleFile: /p}";
        let config = parse(yaml).unwrap();
        assert_eq!(config.reconciliation.fee_rates.alipay_ppm, Some(3800));
        let again = RuntimeConfig::parse(&config.to_yaml().unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn what_cannot_work_names_its_field() {
        for (yaml, field) in [
            ("{days: 0}", "reconciliation.days"),
            (
                "{corrections: {dailyCount: 0}}",
                "reconciliation.corrections.dailyCount",
            ),
            (
                "{corrections: {dailyAmountMinor: 0}}",
                "reconciliation.corrections.dailyAmountMinor",
            ),
            (
                "{corrections: {enabled: false, dailyAmountMinor: -1}}",
                "reconciliation.corrections.dailyAmountMinor",
            ),
            (
                "{secondPersonAboveMinor: -1}",
                "reconciliation.secondPersonAboveMinor",
            ),
            (
                "{lateRows: {minutesAroundMidnight: 721}}",
                "reconciliation.lateRows.minutesAroundMidnight",
            ),
            (
                "{feeRates: {wechatPpm: 1000000}}",
                "reconciliation.feeRates.wechatPpm",
            ),
            (
                "{feeRates: {alipayPpm: 1000000}}",
                "reconciliation.feeRates.alipayPpm",
            ),
            (
                "{notify: {url: ftp://x, secretFile: /s}}",
                "reconciliation.notify.url",
            ),
            (
                "{notify: {url: 'https://', secretFile: /s}}",
                "reconciliation.notify.url",
            ),
            (
                "{notify: {url: 'https://x', secretFile: ''}}",
                "reconciliation.notify.secretFile",
            ),
            ("{peopleFile: ''}", "reconciliation.peopleFile"),
            ("{lateRows: {hours: 1}}", "hours"),
            ("{notify: {url: 'https://x'}}", "secretFile"),
        ] {
            let error = parse(yaml).unwrap_err().to_string();
            assert!(error.contains(field), "{yaml}: {error}");
        }
    }
}
