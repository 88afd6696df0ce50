//! Differences as text for people.
//!
//! Pure. The answers of the reconciliation service come as they are; JSON output passes them on.

use std::fmt::Write as _;

use serde_json::Value;

use crate::screen::{Paint, table, wrapped};

const WIDTH: usize = 92;
/// How many lines of a trail or a payment's history are shown, the last.
const LINES_MAX: usize = 20;

/// A value as text; a dash for what is not there.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn lines(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A page of a list.
pub(super) fn list(page: &Value, paint: Paint) -> String {
    let differences = lines(&page["data"]);
    if differences.is_empty() {
        return format!("{}\n", paint.good("No difference."));
    }
    let columns = [
        "id",
        "day",
        "channel",
        "class",
        "state",
        "number",
        "ourAmount",
        "channelAmount",
        "currency",
        "assignee",
    ];
    let head = [
        "ID",
        "DAY",
        "CHANNEL",
        "CLASS",
        "STATE",
        "NUMBER",
        "OURS",
        "CHANNEL'S",
        "CURRENCY",
        "ASSIGNEE",
    ];
    let rows: Vec<Vec<String>> = differences
        .iter()
        .map(|difference| {
            columns
                .iter()
                .map(|column| text(&difference[*column]))
                .collect()
        })
        .collect();
    let mut shown = table(&head, &rows, |row, column, cell| match column {
        4 => state(&rows[row][4], cell, paint),
        _ => cell.to_owned(),
    });
    if let Some(cursor) = page["nextCursor"].as_u64() {
        let _ = writeln!(shown, "There are more: --cursor {cursor}");
    }
    shown
}

fn state(state: &str, shown: &str, paint: Paint) -> String {
    match state {
        "open" => paint.bad(shown),
        "resolved" => paint.good(shown),
        _ => paint.waiting(shown),
    }
}

/// Everything about one difference.
pub(super) fn detail(difference: &Value, paint: Paint) -> String {
    let of = |field: &str| text(&difference[field]);
    let title = format!("Difference {}", of("id"));
    let state = state(&of("state"), &of("state"), paint);
    let mut shown = format!(
        "{}  {}, {state}: {} of {} on the bill of {}\n",
        paint.strong(&title),
        of("class"),
        of("kind"),
        of("channel"),
        of("day"),
    );
    shown.push_str(&wrapped(&of("meaning"), "  ", WIDTH));
    shown.push_str(&wrapped(&format!("Why: {}", of("why")), "  ", WIDTH));
    for (field, what) in [
        ("number", "number"),
        ("paymentId", "payment"),
        ("refundNo", "refund"),
        ("transactionId", "transaction"),
        ("ourStatus", "our state"),
        ("assignee", "assignee"),
        ("resolution", "resolution"),
        ("proposedBy", "proposed by"),
    ] {
        if !difference[field].is_null() {
            let _ = writeln!(shown, "  {what}: {}", of(field));
        }
    }
    shown.push_str(&columns(&difference["columns"]));
    if difference["needsSecondPerson"] == true {
        shown.push_str("  Resolving it by hand takes two people.\n");
    }
    shown.push_str(&section(paint, "Trail", &difference["trail"], trail_line));
    let timeline = &difference["timeline"];
    shown.push_str(&section(
        paint,
        "What happened to the payment",
        timeline,
        timeline_line,
    ));
    shown
}

fn columns(columns: &Value) -> String {
    let side = |name: &str| {
        let side = &columns[name];
        side["amount"].as_str().map_or("-".to_owned(), |amount| {
            format!("{amount} {}", text(&side["currency"]))
        })
    };
    format!(
        "  ours {}, the channel's {}, difference {}\n",
        side("ours"),
        side("channel"),
        side("difference")
    )
}

fn section(paint: Paint, title: &str, of: &Value, line: impl Fn(&Value) -> String) -> String {
    let all = lines(of);
    if all.is_empty() {
        return String::new();
    }
    let skipped = all.len().saturating_sub(LINES_MAX);
    let mut shown = format!("\n{}\n", paint.strong(title));
    if skipped > 0 {
        let _ = writeln!(shown, "  … {skipped} lines before (-o json has them)");
    }
    for one in &all[skipped..] {
        shown.push_str(&wrapped(&line(one), "  ", WIDTH));
    }
    shown
}

fn trail_line(line: &Value) -> String {
    let of = |field: &str| text(&line[field]);
    let mut shown = format!(
        "{} {} {}: {}",
        of("at"),
        of("actor"),
        of("action"),
        of("reason")
    );
    if line["note"].as_str().is_some_and(|note| !note.is_empty()) {
        let _ = write!(shown, " ({})", of("note"));
    }
    shown
}

fn timeline_line(line: &Value) -> String {
    let of = |field: &str| text(&line[field]);
    format!(
        "{} {} {}: {} → {}, {}",
        of("at"),
        of("source"),
        of("observation"),
        of("from"),
        of("to"),
        of("decision")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference() -> Value {
        json!({
            "id": 12, "channel": "wechat", "day": "2026-11-21", "class": "amount",
            "kind": "payment", "number": "ORDER-1", "paymentId": "pay_1", "refundNo": null,
            "transactionId": "4200001", "ourStatus": "PAID", "ourAmount": "99.99",
            "channelAmount": "100.00", "currency": "CNY", "state": "open",
            "why": "the amounts differ", "assignee": "li.na", "resolution": null,
            "meaning": "The channel charged another amount than we recorded.",
            "columns": {
                "ours": {"amount": "99.99", "amountMinor": 9999, "currency": "CNY"},
                "channel": {"amount": "100.00", "amountMinor": 10000, "currency": "CNY"},
                "difference": {"amount": "0.01", "amountMinor": 1, "currency": "CNY"},
            },
            "needsSecondPerson": true, "proposedBy": null,
            "trail": [{"at": "2026-11-22T02:10:00Z", "actor": "system", "action": "found", "reason": "the amounts differ", "note": ""}],
            "timeline": [{"at": "2026-11-21T10:00:00Z", "source": "callback", "observation": "paid", "from": "PENDING", "to": "PAID", "decision": "move"}],
        })
    }

    #[test]
    fn texts() {
        let page = json!({"data": [difference()], "hasMore": true, "nextCursor": 12});
        insta::assert_snapshot!("list", list(&page, Paint::Plain));
        insta::assert_snapshot!("list_coloured", list(&page, Paint::Colours));
        let none = json!({"data": [], "hasMore": false, "nextCursor": null});
        assert_eq!(list(&none, Paint::Plain), "No difference.\n");
        insta::assert_snapshot!("detail", detail(&difference(), Paint::Plain));
    }
}
