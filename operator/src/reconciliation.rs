//! `spec.reconciliation` as the runtime reads it.
//!
//! Pure. Amounts and rates are read exactly; the API server has refused the ones that cannot be,
//! unless the resource was stored under older rules.

use contract::{config, names as paths};
use crds::reconciliation::{Reconciliation, SecretKeyRef};

use crate::{decimal, validate::Invalid};

/// The configuration of a section, or the field of it that cannot be read.
pub fn configuration(section: &Reconciliation) -> Result<config::Reconciliation, Invalid> {
    let corrections = &section.corrections;
    Ok(config::Reconciliation {
        days: section.days.unsigned_abs(),
        batch_size: section.batch_size.unsigned_abs(),
        workers: section.workers.unsigned_abs(),
        timeout_milliseconds: section.timeout_milliseconds.unsigned_abs(),
        difference_threshold: section.difference_threshold.unsigned_abs(),
        corrections: config::Corrections {
            enabled: corrections.enabled,
            daily_count: corrections.daily_count.unsigned_abs(),
            daily_amount_minor: amount(
                "reconciliation.corrections.dailyAmount",
                &corrections.daily_amount,
            )?,
        },
        second_person_above_minor: amount(
            "reconciliation.secondPersonAbove",
            &section.second_person_above,
        )?,
        late_rows: config::LateRows {
            minutes_around_midnight: section.late_rows.minutes_around_midnight.unsigned_abs(),
            wait_days: section.late_rows.wait_days.unsigned_abs(),
        },
        fee_rates: config::FeeRates {
            wechat_ppm: rate(
                "reconciliation.feeRates.wechat",
                section.fee_rates.wechat.as_deref(),
            )?,
            alipay_ppm: rate(
                "reconciliation.feeRates.alipay",
                section.fee_rates.alipay.as_deref(),
            )?,
            ..config::FeeRates::default()
        },
        notify: section.notify.as_ref().map(|notify| config::Notify {
            url: notify.url.clone(),
            secret_file: format!(
                "{}/{}",
                paths::NOTIFY_CREDENTIALS_DIRECTORY,
                paths::NOTIFY_SECRET_FILE
            )
            .into(),
        }),
        people_file: section
            .people_secret_ref
            .as_ref()
            .map(|_| format!("{}/{}", paths::PEOPLE_DIRECTORY, paths::PEOPLE_FILE).into()),
    })
}

fn amount(field: &'static str, value: &str) -> Result<i64, Invalid> {
    decimal::fen(value).ok_or_else(|| Invalid::NotAnAmount {
        field,
        value: value.to_owned(),
    })
}

fn rate(field: &'static str, value: Option<&str>) -> Result<Option<u32>, Invalid> {
    let Some(value) = value else { return Ok(None) };
    let rate = decimal::millionths(value).filter(|rate| *rate < 1_000_000);
    rate.map(Some).ok_or_else(|| Invalid::NotARate {
        field,
        value: value.to_owned(),
    })
}

/// The Secret keys a section names: the webhook's signing secret and those who may act.
pub fn secrets(section: &Reconciliation) -> impl Iterator<Item = &SecretKeyRef> {
    let notify = section.notify.as_ref().map(|notify| &notify.secret_ref);
    notify.into_iter().chain(&section.people_secret_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_resource_and_runtime_are_the_same() {
        let translated = configuration(&Reconciliation::default()).unwrap();
        assert_eq!(translated, config::Reconciliation::default());
    }

    #[test]
    fn what_cannot_be_read_names_its_field() {
        type Change = fn(&mut Reconciliation);
        let cases: [(Change, &str); 4] = [
            (
                |r| "1.005".clone_into(&mut r.corrections.daily_amount),
                "reconciliation.corrections.dailyAmount",
            ),
            (
                |r| "-1".clone_into(&mut r.second_person_above),
                "reconciliation.secondPersonAbove",
            ),
            (
                |r| r.fee_rates.wechat = Some("0.6".to_owned()),
                "reconciliation.feeRates.wechat",
            ),
            (
                |r| r.fee_rates.alipay = Some("100%".to_owned()),
                "reconciliation.feeRates.alipay",
            ),
        ];
        for (change, field) in cases {
            let mut section = Reconciliation::default();
            change(&mut section);
            let error = configuration(&section).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
