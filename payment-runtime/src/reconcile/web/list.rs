//! The list of differences.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::DifferenceClass;
use serde::Deserialize;

use super::shell::{PageError, Shell, Viewer, page as html};
use super::{DIFFERENCES, Desk, format};
use crate::clock;
use crate::reconcile::books::{DifferenceRecord, DifferenceState, Filter};

/// Differences on one page.
pub(super) const PAGE: u32 = 50;
const CSV: &str = "/api/reconciliation/differences.csv";

/// The query of the list, as its form sends it: an empty field filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ListQuery {
    pub(super) state: Option<String>,
    pub(super) class: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) day: Option<String>,
    pub(super) number: Option<String>,
    pub(super) assignee: Option<String>,
    /// The id after which the page begins.
    pub(super) cursor: Option<String>,
    /// What an assignment of several just did: `3` or `3-of-5`.
    pub(super) assigned: Option<String>,
}

fn given(text: Option<&String>) -> Option<String> {
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

impl ListQuery {
    /// The same filter from its beginning.
    pub(super) fn filter_alone(&self) -> Self {
        Self {
            state: given(self.state.as_ref()),
            class: given(self.class.as_ref()),
            channel: given(self.channel.as_ref()),
            day: given(self.day.as_ref()),
            number: given(self.number.as_ref()),
            assignee: given(self.assignee.as_ref()),
            cursor: None,
            assigned: None,
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [
            ("state", &self.state),
            ("class", &self.class),
            ("channel", &self.channel),
            ("day", &self.day),
            ("number", &self.number),
            ("assignee", &self.assignee),
            ("cursor", &self.cursor),
            ("assigned", &self.assigned),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }

    fn encoded(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.fields())
            .finish()
    }

    pub(super) fn link(&self) -> String {
        at(DIFFERENCES, &self.encoded())
    }

    /// What the books are asked for; a value that names nothing is refused by name.
    pub(super) fn checked(&self) -> Result<(Filter, u64), PageError> {
        let alone = self.filter_alone();
        let bad = |what: &str| Err(PageError::BadRequest(what.to_owned()));
        let state_known =
            |state: &String| state == "all" || DifferenceState::parse(state).is_some();
        if !alone.state.as_ref().is_none_or(state_known) {
            return bad("There is no such state. Choose one from the list.");
        }
        let class_known = |class: &String| DifferenceClass::parse(class).is_some();
        if !alone.class.as_ref().is_none_or(class_known) {
            return bad("There is no such class. Choose one from the list.");
        }
        let channel_known = |channel: &String| ChannelKind::parse(channel).is_some();
        if !alone.channel.as_ref().is_none_or(channel_known) {
            return bad("There is no such channel. Choose one from the list.");
        }
        let day_read = |day: &String| day.parse::<Date>().is_ok();
        if !alone.day.as_ref().is_none_or(day_read) {
            return bad("The day must be written as 2026-11-21.");
        }
        let Ok(after) = given(self.cursor.as_ref()).map_or(Ok(0), |cursor| cursor.parse()) else {
            return bad("The page's number cannot be read. Begin again with the first page.");
        };
        let filter = Filter {
            state: alone.state,
            class: alone.class,
            channel: alone.channel,
            day: alone.day,
            number: alone.number,
            assignee: alone.assignee,
        };
        Ok((filter, after))
    }
}

fn at(path: &str, query: &str) -> String {
    match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// One choice of a select.
struct Choice {
    value: &'static str,
    label: String,
    chosen: bool,
}

struct Row {
    id: u64,
    class: String,
    meaning: &'static str,
    state: String,
    state_name: &'static str,
    channel: &'static str,
    day: String,
    number: String,
    ours: String,
    bill: String,
    age: String,
    assignee: String,
}

#[derive(Template)]
#[template(path = "list.html")]
struct List {
    shell: Shell,
    /// A message about what was just done.
    done: Option<String>,
    states: Vec<Choice>,
    classes: Vec<Choice>,
    channels: Vec<Choice>,
    day: String,
    number: String,
    assignee: String,
    filtered: bool,
    rows: Vec<Row>,
    may_assign: bool,
    me: String,
    first: Option<String>,
    next: Option<String>,
    csv: String,
    /// The filter, to come back to after an assignment.
    hidden: Vec<(&'static str, String)>,
}

pub(super) async fn page(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Response {
    let made = match query {
        Ok(Query(query)) => list(&desk, &headers, &query).await,
        Err(error) => Err(PageError::BadRequest(error.body_text())),
    };
    match made {
        Ok(list) => html(StatusCode::OK, &list),
        Err(error) => error.page(&desk, &headers),
    }
}

async fn list(desk: &Desk, headers: &HeaderMap, query: &ListQuery) -> Result<List, PageError> {
    let (filter, after) = query.checked()?;
    let store = &desk.parts.store;
    let mut found = store.differences(&filter, after, PAGE + 1).await?;
    let more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let alone = query.filter_alone();
    let next = found.last().filter(|_| more).map(|last| ListQuery {
        cursor: Some(last.id.to_string()),
        ..alone.clone()
    });
    let shell = Shell::new(desk, headers, "differences", "Differences").at(alone.link());
    let today = clock::bill_day(desk.now());
    let hidden = alone.fields();
    let hidden = hidden.map(|(name, value)| (name, value.to_owned()));
    let hidden = hidden.collect();
    Ok(List {
        done: query.assigned.as_deref().and_then(done),
        states: states(alone.state.as_deref()),
        classes: choices(
            alone.class.as_deref(),
            DifferenceClass::ALL.map(|class| (class.as_str(), format::words(class.as_str()))),
        ),
        channels: choices(
            alone.channel.as_deref(),
            ChannelKind::ALL.map(|kind| (kind.as_str(), format::channel(kind).to_owned())),
        ),
        day: alone.day.clone().unwrap_or_default(),
        number: alone.number.clone().unwrap_or_default(),
        assignee: alone.assignee.clone().unwrap_or_default(),
        filtered: alone != ListQuery::default(),
        rows: found.iter().map(|found| row(found, today)).collect(),
        may_assign: !matches!(shell.viewer, Viewer::NobodyMay(_)),
        me: shell.viewer.name().unwrap_or_default().to_owned(),
        first: (after > 0).then(|| alone.link()),
        next: next.map(|next| next.link()),
        csv: at(CSV, &alone.encoded()),
        hidden,
        shell,
    })
}

/// What an assignment did, from the numbers it left in the address.
fn done(assigned: &str) -> Option<String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let Some((done, of)) = assigned.split_once("-of-") else {
        let done = number(assigned)?;
        return Some(match done {
            0 => "Nothing was assigned: choose differences in the first column.".to_owned(),
            done => format!(
                "{} assigned.",
                format::counted(done, "difference", "differences")
            ),
        });
    };
    let (done, of) = (number(done)?, number(of)?);
    Some(format!(
        "{done} of {of} differences assigned; the others were resolved or changed meanwhile."
    ))
}

fn states(chosen: Option<&str>) -> Vec<Choice> {
    let known = DifferenceState::ALL.map(|state| {
        let name = state.as_str();
        let label = format!("{}: {}", format::words(name), format::state_meaning(state));
        (name, label)
    });
    let mut all = vec![Choice {
        value: "",
        label: "Unresolved".to_owned(),
        chosen: chosen.is_none(),
    }];
    all.extend(choices(chosen, known));
    all.push(Choice {
        value: "all",
        label: "All, with resolved ones".to_owned(),
        chosen: chosen == Some("all"),
    });
    all
}

fn choices<const N: usize>(
    chosen: Option<&str>,
    known: [(&'static str, String); N],
) -> Vec<Choice> {
    let choice = |(value, label)| Choice {
        value,
        label,
        chosen: chosen == Some(value),
    };
    known.into_iter().map(choice).collect()
}

fn row(difference: &DifferenceRecord, today: Date) -> Row {
    let age = format::age_days(difference.day, today);
    Row {
        id: difference.id,
        class: format::words(difference.class.as_str()),
        meaning: difference.class.meaning(),
        state: format::words(difference.state.as_str()),
        state_name: difference.state.as_str(),
        channel: format::channel(difference.channel),
        day: difference.day.to_string(),
        number: difference.number.clone(),
        ours: format::maybe_money(difference.ours),
        bill: format::maybe_money(difference.bill),
        age: age.to_string(),
        assignee: difference.assignee.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> ListQuery {
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
        serde_json::from_value(
            pairs
                .map(|(k, v)| (k, serde_json::Value::from(v)))
                .collect(),
        )
        .unwrap()
    }

    #[test]
    fn empty_fields_of_the_form_filter_nothing() {
        let query = query("state=&class=&channel=&day=&number=+&assignee=&cursor=");
        let (filter, after) = query.checked().unwrap();
        assert!(filter.state.is_none() && filter.number.is_none());
        assert_eq!(after, 0);
        assert_eq!(query.filter_alone().link(), DIFFERENCES);
    }

    #[test]
    fn links_carry_the_filter_encoded() {
        let query = query("state=all&number=%26%3Cx%3E&cursor=7&assigned=1");
        let alone = query.filter_alone();
        assert_eq!(
            alone.link(),
            "/reconciliation/differences?state=all&number=%26%3Cx%3E"
        );
        assert_eq!(
            at(CSV, &alone.encoded()),
            "/api/reconciliation/differences.csv?state=all&number=%26%3Cx%3E"
        );
    }

    #[test]
    fn a_value_that_names_nothing_is_refused() {
        for text in [
            "state=opened",
            "class=x",
            "channel=paypal",
            "day=yesterday",
            "cursor=x",
            "cursor=-1",
        ] {
            assert!(query(text).checked().is_err(), "{text}");
        }
    }

    #[test]
    fn an_assignment_says_what_it_did() {
        assert_eq!(done("1").unwrap(), "1 difference assigned.");
        assert!(done("2-of-3").unwrap().starts_with("2 of 3 "));
        assert!(done("0").unwrap().starts_with("Nothing"));
        assert_eq!(done("<script>"), None);
    }
}
