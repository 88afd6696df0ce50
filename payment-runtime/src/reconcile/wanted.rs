//! Which differences somebody wants to see, checked.
//!
//! Guarantees: a filter that can match nothing because of a slip is refused with the values that
//! there are, instead of showing an empty list.

use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::DifferenceClass;

use super::books::{DifferenceState, Filter};

/// The longest number or name that there can be.
const VALUE_MAX: usize = 64;
/// Every state, the resolved one too.
const ALL: &str = "all";

/// A filter that cannot be used: its parameter, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{param} {problem}")]
pub struct BadFilter {
    pub param: &'static str,
    pub problem: String,
}

impl Filter {
    /// The same filter if each of its values can be one. An empty value is none, as a form sends
    /// it.
    pub fn checked(self) -> Result<Self, BadFilter> {
        let states = DifferenceState::ALL.map(DifferenceState::as_str);
        let states: Vec<&str> = states.into_iter().chain([ALL]).collect();
        let classes = DifferenceClass::ALL.map(DifferenceClass::as_str);
        let channels = ChannelKind::ALL.map(ChannelKind::as_str);
        Ok(Self {
            state: one_of("state", self.state, &states)?,
            class: one_of("class", self.class, &classes)?,
            channel: one_of("channel", self.channel, &channels)?,
            day: day(self.day)?,
            number: short("number", self.number)?,
            assignee: short("assignee", self.assignee)?,
        })
    }
}

fn one_of(
    param: &'static str,
    value: Option<String>,
    known: &[&str],
) -> Result<Option<String>, BadFilter> {
    let Some(value) = given(value) else {
        return Ok(None);
    };
    if known.contains(&value.as_str()) {
        return Ok(Some(value));
    }
    let problem = format!("must be one of {}", known.join(", "));
    Err(BadFilter { param, problem })
}

fn day(value: Option<String>) -> Result<Option<String>, BadFilter> {
    let Some(value) = given(value) else {
        return Ok(None);
    };
    // Only as it is written out, not whatever else can be read as a date.
    let day = value.parse::<Date>().ok();
    if day.is_some_and(|day| day.to_string() == value) {
        return Ok(Some(value));
    }
    Err(BadFilter {
        param: "day",
        problem: "must be a Beijing day, YYYY-MM-DD".to_owned(),
    })
}

fn short(param: &'static str, value: Option<String>) -> Result<Option<String>, BadFilter> {
    let value = given(value);
    let fits =
        |value: &String| value.chars().count() <= VALUE_MAX && !value.chars().any(char::is_control);
    if value.as_ref().is_none_or(fits) {
        return Ok(value);
    }
    let problem = format!("must have at most {VALUE_MAX} printable characters");
    Err(BadFilter { param, problem })
}

fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_with_what_there_is() {
        let with = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.checked().map_err(|bad| bad.to_string())
        };
        let state = with(|f| f.state = Some("closed".into())).unwrap_err();
        assert_eq!(
            state,
            "state must be one of open, waiting, proposed, resolved, all"
        );
        let class = with(|f| f.class = Some("Amount".into())).unwrap_err();
        assert!(class.contains("refund-amount"), "{class}");
        let channel = with(|f| f.channel = Some("paypal".into())).unwrap_err();
        assert_eq!(channel, "channel must be one of wechat, alipay");
        for day in ["2026-13-01", "20261122", "2026-11-22T00:00", "today"] {
            let filter = Filter {
                day: Some(day.to_owned()),
                ..Filter::default()
            };
            assert_eq!(filter.checked().unwrap_err().param, "day", "{day}");
        }
        assert!(with(|f| f.number = Some("9".repeat(65))).is_err());
        assert!(with(|f| f.assignee = Some("li\nna".into())).is_err());
        let none = with(|f| (f.state, f.day) = (Some(String::new()), Some(String::new())));
        assert_eq!(none.unwrap().state, None);
    }
}
