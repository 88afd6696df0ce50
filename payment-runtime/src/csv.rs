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
    let ambiguous = value.is_empty() || value.starts_with(['\n', '\'']);
    if ambiguous || may_be_a_formula(value) {
        quoted(format!("'{value}"))
    } else {
        quoted(value.to_owned())
    }
}

/// Whether a spreadsheet could take a text as a formula. Amounts as we write them stay numbers.
pub(crate) fn may_be_a_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(text)
}

/// A field as one field, whatever stands in it.
pub(crate) fn quoted(field: String) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
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
