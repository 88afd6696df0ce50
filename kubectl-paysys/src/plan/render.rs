//! A plan as text for people.
//!
//! Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    Planned,
    changes::Change,
    restarts::{Cost, Restart},
    simulate::{Action, Object, Write},
};
use crate::screen::{Paint, seconds, wrapped};

const WIDTH: usize = 92;
/// How much of a value is shown on a line; JSON has all of it.
const VALUE_MAX: usize = 100;
/// How many lines of a configuration file are shown.
const LINES_MAX: usize = 20;

pub(super) fn plan(plan: &Planned, paint: Paint) -> String {
    let name = paint.strong(&format!("{}/{}", plan.namespace, plan.name));
    if let Some(refusal) = &plan.refused {
        let verdict = paint.bad("the edit is refused");
        let said = format!("{}: {}", refusal.reason, refusal.message);
        return format!("{name}: {verdict}\n{}", wrapped(&said, "  ", WIDTH));
    }
    let mut text = format!("{name}: {}\n", summary(plan));
    if !plan.edit.is_empty() {
        section(&mut text, "Specification", paint);
        let changes = plan
            .edit
            .iter()
            .map(|change| change_lines(change, "  ", paint));
        text.extend(changes);
    }
    for (number, step) in plan.simulation.steps.iter().enumerate() {
        let when = if number == 0 {
            "at once"
        } else {
            "when what was written before is ready"
        };
        section(&mut text, &format!("Step {}, {when}", number + 1), paint);
        text.extend(step.iter().map(|write| write_lines(write, paint)));
    }
    restarts(&mut text, plan, paint);
    remarks(&mut text, plan, paint);
    text
}

fn section(text: &mut String, title: &str, paint: Paint) {
    let _ = writeln!(text, "\n{}", paint.strong(title));
}

fn summary(plan: &Planned) -> String {
    if plan.paused {
        return "the system is paused: nothing is written until it is resumed".to_owned();
    }
    let count = |action: Action| {
        let writes = plan.simulation.writes();
        writes.filter(|write| write.action == action).count()
    };
    let counts = [
        (count(Action::Create), "created"),
        (count(Action::Change), "changed"),
        (count(Action::Delete), "deleted"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let what = if plan.new { "a new system" } else { "an edit" };
    if counts.is_empty() {
        return format!("{what}, nothing changes in the cluster");
    }
    format!("{what}, {}", counts.join(", "))
}

fn write_lines(write: &Write, paint: Paint) -> String {
    let name = format!("{} {}", write.object.kind, write.object.name);
    let mut text = match write.action {
        Action::Create => format!("  {}\n", paint.good(&format!("+ {name}"))),
        Action::Change => format!("  {}\n", paint.waiting(&format!("~ {name}"))),
        Action::Delete => format!("  {}\n", paint.bad(&format!("- {name}"))),
    };
    let changes = &write.changes;
    text.extend(
        changes
            .iter()
            .map(|change| change_lines(change, "      ", paint)),
    );
    text
}

fn change_lines(change: &Change, indent: &str, paint: Paint) -> String {
    let path = change.path.trim_start_matches('/');
    if let (Some(Value::Array(old)), Some(Value::Array(new))) = (&change.old, &change.new)
        && old.iter().chain(new).all(Value::is_string)
    {
        let mut text = format!("{indent}{path}:\n");
        text.push_str(&lines(old, "-", indent, |line| paint.bad(line)));
        text.push_str(&lines(new, "+", indent, |line| paint.good(line)));
        return text;
    }
    let old = change.old.as_ref().map_or("(none)".to_owned(), value);
    let new = change.new.as_ref().map_or("(taken out)".to_owned(), value);
    format!(
        "{indent}{path}: {} → {}\n",
        paint.bad(&old),
        paint.good(&new)
    )
}

fn lines(lines: &[Value], mark: &str, indent: &str, paint: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    for line in lines.iter().take(LINES_MAX) {
        let line = line.as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "{indent}  {}",
            paint(&format!("{mark} {}", short(line)))
        );
    }
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        let _ = writeln!(text, "{indent}  {mark} … {more} lines more");
    }
    text
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => short(text),
        other => short(&other.to_string()),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= VALUE_MAX {
        return text.to_owned();
    }
    let kept: String = text.chars().take(VALUE_MAX).collect();
    format!("{kept}…")
}

fn restarts(text: &mut String, plan: &Planned, paint: Paint) {
    if plan.paused || plan.new {
        return;
    }
    section(text, "Pods that restart, in this order", paint);
    let mut none = true;
    for write in plan.simulation.writes() {
        if let Some(restart) = &write.restart {
            none = false;
            text.push_str(&restart_lines(&write.object, restart, paint));
        }
    }
    if none {
        text.push_str("  none\n");
    }
}

fn restart_lines(object: &Object, restart: &Restart, paint: Paint) -> String {
    let about = restart.seconds().map_or_else(
        || " of unknown length".to_owned(),
        |took| format!(" of about {}", seconds(took)),
    );
    let pods = match restart.pods {
        1 => "1 pod".to_owned(),
        pods => format!("{pods} pods"),
    };
    let cost = match restart.cost {
        Cost::Outage => paint.bad(&format!("{pods}, an outage{about}")),
        Cost::OneAtATime => {
            paint.waiting(&format!("{pods}, one is away at a time, a roll-out{about}"))
        }
        Cost::None => paint.good(&format!("{pods}, none is missing, a roll-out{about}")),
    };
    let why = format!("because {}", restart.why.join("; "));
    let why = wrapped(&why, "      ", WIDTH);
    format!("  {} {}: {cost}\n{why}", object.kind, object.name)
}

fn remarks(text: &mut String, plan: &Planned, paint: Paint) {
    let names = |objects: &[Object]| {
        let names = objects.iter().map(|o| format!("{} {}", o.kind, o.name));
        names.collect::<Vec<_>>().join(", ")
    };
    if !plan.simulation.held.is_empty() {
        section(text, "Held back", paint);
        let by = plan.simulation.held_by.as_deref().unwrap_or("something");
        let said = format!("{}: {by}", names(&plan.simulation.held));
        text.push_str(&wrapped(&said, "  ", WIDTH));
    }
    if !plan.already_due.is_empty() {
        section(text, "Due without this edit, too", paint);
        let said = format!(
            "{}. The operator is at work, does not run, or is of another version than this plugin.",
            names(&plan.already_due)
        );
        text.push_str(&wrapped(&said, "  ", WIDTH));
    }
}
