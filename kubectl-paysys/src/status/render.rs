//! A status as text for people.
//!
//! Pure.

use std::fmt::Write as _;

use crds::status::LastReconciliation;
use k8s_openapi::jiff::Timestamp;

use super::view::{Condition, Overview, State, System};
use crate::screen::{Paint, age, instant, seconds, table, wrapped};

/// Width of running text.
const WIDTH: usize = 96;

/// A line for each system.
pub(super) fn overview(overview: &Overview, paint: Paint, now: Timestamp) -> String {
    if overview.systems.is_empty() {
        return format!(
            "There is no PaymentSystem in {}. `kubectl paysys status -A` lists every system.\n",
            overview.place
        );
    }
    let rows: Vec<Vec<String>> = overview
        .systems
        .iter()
        .map(|system| line(system, now))
        .collect();
    let head = [
        "NAMESPACE",
        "NAME",
        "STATE",
        "SINCE",
        "VERSION",
        "PAYMENT",
        "CALLBACK",
        "OPEN",
        "MESSAGE",
    ];
    table(&head, &rows, |row, column, cell| match column {
        2 => state(overview.systems[row].state, cell, paint),
        _ => cell.to_owned(),
    })
}

fn line(system: &System, now: Timestamp) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let run = system.last_reconciliation.as_ref();
    vec![
        system.namespace.clone(),
        system.name.clone(),
        system.state.word().to_owned(),
        system.since.map_or("-".to_owned(), |since| age(since, now)),
        or_dash(&system.version),
        or_dash(&system.payment),
        or_dash(&system.callback),
        run.map_or("-".to_owned(), |run| run.open_differences.to_string()),
        system.message.clone(),
    ]
}

fn state(state: State, text: &str, paint: Paint) -> String {
    match state {
        State::Ready => paint.good(text),
        State::Stalled => paint.bad(text),
        State::Waiting | State::Paused | State::Stopped | State::Unseen | State::Deleting => {
            paint.waiting(text)
        }
    }
}

/// One screen about one system.
pub(super) fn system(system: &System, paint: Paint, now: Timestamp) -> String {
    let mut text = headline(system, paint, now);
    if !system.conditions.is_empty() {
        text.push('\n');
        text.push_str(&conditions(&system.conditions, paint, now));
    }
    if !system.components.is_empty() {
        text.push('\n');
        text.push_str(&components(system, paint));
    }
    text.push('\n');
    text.push_str(&last_run(system.last_reconciliation.as_ref(), paint, now));
    text.push('\n');
    let next = system.next.as_deref().unwrap_or("nothing to do");
    text.push_str(&paint.strong("Next"));
    text.push('\n');
    text.push_str(&wrapped(next, "  ", WIDTH));
    text
}

fn headline(system: &System, paint: Paint, now: Timestamp) -> String {
    let name = format!("{}/{}", system.namespace, system.name);
    let since = system.since.map_or_else(String::new, |since| {
        format!(" for {} (since {})", age(since, now), instant(since))
    });
    let word = state(system.state, system.state.word(), paint);
    let mut text = format!("{}  {word}{since}\n", paint.strong(&name));
    if !system.message.is_empty() {
        text.push_str(&wrapped(
            &format!("{}: {}", system.reason, system.message),
            "  ",
            WIDTH,
        ));
    }
    let replicas = [
        ("version", &system.version),
        ("payment", &system.payment),
        ("callback", &system.callback),
    ];
    let known: Vec<String> = replicas
        .iter()
        .filter_map(|(what, value)| value.as_ref().map(|value| format!("{what} {value}")))
        .collect();
    if !known.is_empty() {
        let _ = writeln!(text, "  {}", known.join(", "));
    }
    text
}

fn mark(holds: bool) -> &'static str {
    if holds { "✓" } else { "✗" }
}

fn conditions(conditions: &[Condition], paint: Paint, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = conditions
        .iter()
        .map(|condition| {
            vec![
                format!("{} {}", mark(condition.holds), condition.kind),
                age(condition.since, now),
                condition.message.clone(),
            ]
        })
        .collect();
    table(
        &["PART", "SINCE", "WHAT"],
        &rows,
        |row, column, cell| match (column, conditions[row].holds) {
            (0, true) => paint.good(cell),
            (0, false) => paint.bad(cell),
            _ => cell.to_owned(),
        },
    )
}

fn components(system: &System, paint: Paint) -> String {
    let rows: Vec<Vec<String>> = system
        .components
        .iter()
        .map(|component| {
            let name = format!("{} {}", component.kind, component.name);
            vec![name, component.ready.clone(), component.image.clone()]
        })
        .collect();
    table(
        &["WORKLOAD", "READY", "IMAGE"],
        &rows,
        |row, column, cell| {
            let ready = system.components[row].ready.split_once('/');
            let complete = ready.is_some_and(|(ready, wanted)| ready == wanted);
            match (column, complete) {
                (1, false) => paint.bad(cell),
                _ => cell.to_owned(),
            }
        },
    )
}

fn last_run(run: Option<&LastReconciliation>, paint: Paint, now: Timestamp) -> String {
    let title = paint.strong("Last reconciliation");
    let Some(run) = run else {
        return format!("{title}\n  none has finished yet\n");
    };
    let ended = run.finished_at.parse::<Timestamp>();
    let ago = ended.map_or_else(|_| String::new(), |at| format!(" ({} ago)", age(at, now)));
    let open = format!("{} open differences", run.open_differences);
    let open = if run.open_differences > 0 {
        paint.bad(&open)
    } else {
        paint.good(&open)
    };
    let mut more = vec![
        format!("{} rows agree", run.matched),
        format!("{} corrected", run.corrected),
        format!("{} waiting", run.waiting_differences),
    ];
    let counts = [
        (run.pending_bills, "bills not made yet"),
        (run.refused_bills, "bills refused"),
        (run.ledger_violations, "rules of the ledger violated"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    more.extend(counts.map(|(count, what)| format!("{count} {what}")));
    more.extend(run.proof_holds.map(|holds| {
        let said = if holds { "holds" } else { "does NOT hold" };
        format!("the proof {said}")
    }));
    format!(
        "{title}\n  {} to {}, ended {}{ago}\n  {open}, {}\n",
        run.from,
        run.to,
        run.finished_at,
        more.join(", ")
    )
}

/// One line of a wait.
pub(super) fn progress(after_seconds: i64, condition: &Condition, paint: Paint) -> String {
    let text = format!("{} {}", mark(condition.holds), condition.kind);
    let text = if condition.holds {
        paint.good(&text)
    } else {
        paint.waiting(&text)
    };
    let after = paint.faint(&format!("{:>5}", seconds(after_seconds)));
    format!("{after}  {text}: {}", condition.message)
}

#[cfg(test)]
mod tests {
    use payment_operator::gates::condition as part;

    use super::*;
    use crate::status::view;

    fn now() -> Timestamp {
        "2026-11-22T10:05:00Z".parse().unwrap()
    }

    fn waiting() -> System {
        let message = "waiting for StatefulSet demo-mysql: 0/1 ready; pod demo-mysql-0 is not scheduled: 0/1 nodes are available: insufficient memory";
        view::system(&view::tests::object(&[
            ("Ready", "False", "WaitingForDatabase", message),
            ("Reconciling", "True", "WaitingForDatabase", message),
            (
                part::CHANNELS,
                "True",
                "KeysPresent",
                "keys are read from Secret demo-channel-simulator",
            ),
            (part::DATABASE, "False", "Unschedulable", message),
        ]))
    }

    fn ready() -> System {
        view::system(&view::tests::object(&[
            ("Ready", "True", "Available", "all parts are ready"),
            (
                part::DATABASE,
                "True",
                "Available",
                "StatefulSet demo-mysql: 1/1 ready",
            ),
            (
                "ReconciliationClean",
                "False",
                "DifferencesOpen",
                "2 differences are open: resolve each at the reconciliation service, which shows its evidence",
            ),
        ]))
    }

    #[test]
    fn screens() {
        insta::assert_snapshot!("ready", system(&ready(), Paint::Plain, now()));
        insta::assert_snapshot!("waiting", system(&waiting(), Paint::Plain, now()));
        insta::assert_snapshot!(
            "waiting_coloured",
            system(&waiting(), Paint::Colours, now())
        );
        let mut object = view::tests::object(&[]);
        object.status = None;
        insta::assert_snapshot!(
            "unseen",
            system(&view::system(&object), Paint::Plain, now())
        );
    }

    #[test]
    fn lists() {
        let many = Overview {
            place: "the cluster".to_owned(),
            systems: vec![ready(), waiting()],
        };
        insta::assert_snapshot!("overview", overview(&many, Paint::Plain, now()));
        insta::assert_snapshot!("overview_coloured", overview(&many, Paint::Colours, now()));
        let none = Overview {
            place: "namespace payment".to_owned(),
            systems: Vec::new(),
        };
        insta::assert_snapshot!("overview_of_none", overview(&none, Paint::Plain, now()));
        insta::assert_json_snapshot!("overview_json", many);
    }

    #[test]
    fn a_wait_tells_what_changes() {
        let lines: Vec<String> = waiting()
            .conditions
            .iter()
            .map(|condition| progress(12, condition, Paint::Plain))
            .collect();
        insta::assert_snapshot!("progress", lines.join("\n"));
    }
}
