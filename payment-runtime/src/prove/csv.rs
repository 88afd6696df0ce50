//! Cells of CSV files (RFC 4180) that neither tear a line apart nor run as a formula.
//!
//! Guarantees: a spreadsheet takes no cell as a formula; whoever takes one leading `'` away has
//! the value again, and can tell an empty text (`'`) from none (nothing).

/// One cell of text. A number is left alone; any other text that a spreadsheet could take as a
/// formula, and one that begins with `'` itself, gets a `'` in front.
pub(crate) fn cell(value: Option<&str>) -> String {
    let Some(value) = value else {
        return String::new();
    };
    let risky = value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\'']);
    let guarded = if value.is_empty() || (risky && !is_number(value)) {
        format!("'{value}")
    } else {
        value.to_owned()
    };
    if guarded.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

/// A line with its end.
pub(crate) fn line<'a>(cells: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    cells.join(",") + "\r\n"
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && all_digits(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_every_cell_can_be_read_back() {
        assert_eq!(cell(Some("=1+1")), "'=1+1");
        assert_eq!(cell(Some("-cmd")), "'-cmd");
        assert_eq!(cell(Some("-5.00")), "-5.00");
        assert_eq!(cell(Some("'x")), "''x");
        assert_eq!(cell(Some("")), "'");
        assert_eq!(cell(None), "");
        assert_eq!(cell(Some("@a,\"b\"")), "\"'@a,\"\"b\"\"\"");
        assert_eq!(line([Some("a"), None, Some("b\nc")]), "a,,\"b\nc\"\r\n");
    }
}
