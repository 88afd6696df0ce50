//! Differences as CSV (RFC 4180).
//!
//! Guarantees: a cell is one cell whatever stands in it; no cell is taken for a formula by a
//! spreadsheet: text that begins like one gets an apostrophe in front, numbers stay numbers.

use crate::csv::{may_be_a_formula, quoted};
use crate::reconcile::shown::DifferenceLine;

const NAMES: &str = "id,channel,day,kind,class,number,line,channelOrderNo,paymentId,refundNo,\
                     transactionId,ourStatus,ourAmount,channelAmount,currency,at,atTheEdge,state,\
                     why,assignee,resolution,foundAt,changedAt";

pub(super) fn head() -> String {
    format!("{NAMES}\r\n")
}

pub(super) fn row(line: &DifferenceLine) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let cells = [
        line.id.to_string(),
        line.channel.to_owned(),
        line.day.clone(),
        line.kind.to_owned(),
        line.class.to_owned(),
        line.number.clone(),
        line.line.to_string(),
        line.channel_order_no.clone(),
        text(&line.payment_id),
        text(&line.refund_no),
        text(&line.transaction_id),
        text(&line.our_status),
        text(&line.our_amount),
        text(&line.channel_amount),
        line.currency.unwrap_or_default().to_owned(),
        line.at.map(|at| at.to_string()).unwrap_or_default(),
        line.at_the_edge.to_string(),
        line.state.as_str().to_owned(),
        line.why.clone(),
        text(&line.assignee),
        text(&line.resolution),
        line.found_at.to_string(),
        line.changed_at.to_string(),
    ];
    format!("{}\r\n", cells.map(cell).join(","))
}

fn cell(text: String) -> String {
    if may_be_a_formula(&text) {
        quoted(format!("'{text}"))
    } else {
        quoted(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_are_text() {
        for (text, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+8613800000000", "'+8613800000000"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            (
                "=HYPERLINK(\"x\",\"y\")",
                "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"",
            ),
            ("-12.34", "-12.34"),
            ("-", "'-"),
            ("-1.", "'-1."),
        ] {
            assert_eq!(cell(text.to_owned()), written);
        }
    }
}
