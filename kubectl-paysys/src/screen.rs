//! How text is laid out for people: colours, marks, tables, ages.
//!
//! Pure: whether there are colours and what time it is come in as values.

use anstyle::{AnsiColor, Style};
use k8s_openapi::jiff::Timestamp;

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colours,
}

impl Paint {
    fn put(self, style: Style, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colours => format!("{style}{text}{style:#}"),
        }
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.put(AnsiColor::Green.on_default(), text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.put(AnsiColor::Red.on_default(), text)
    }

    pub(crate) fn waiting(self, text: &str) -> String {
        self.put(AnsiColor::Yellow.on_default(), text)
    }

    /// One of some colours, so that sources next to each other can be told apart.
    pub(crate) fn hue(self, number: usize, text: &str) -> String {
        const HUES: [AnsiColor; 6] = [
            AnsiColor::Cyan,
            AnsiColor::Magenta,
            AnsiColor::Blue,
            AnsiColor::Green,
            AnsiColor::Yellow,
            AnsiColor::BrightCyan,
        ];
        self.put(HUES[number % HUES.len()].on_default(), text)
    }

    pub(crate) fn strong(self, text: &str) -> String {
        self.put(Style::new().bold(), text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.put(Style::new().dimmed(), text)
    }
}

/// Rows under a head, each column as wide as its widest cell. The last column is not padded.
/// `paint` decorates a padded cell, so that escape sequences never count as width.
pub(crate) fn table(
    head: &[&str],
    rows: &[Vec<String>],
    mut paint: impl FnMut(usize, usize, &str) -> String,
) -> String {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max();
            widest.unwrap_or(0).max(head[column].chars().count())
        })
        .collect();
    let last = head.len().saturating_sub(1);
    let padded = |column: usize, text: &str| {
        if column == last {
            text.to_owned()
        } else {
            let width = widths[column];
            format!("{text:width$}   ")
        }
    };
    let mut lines = Vec::with_capacity(rows.len() + 1);
    let heads = head.iter().enumerate();
    lines.push(
        heads
            .map(|(column, text)| padded(column, text))
            .collect::<String>(),
    );
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().enumerate();
        let cells = cells.map(|(column, text)| paint(number, column, &padded(column, text)));
        lines.push(cells.collect::<String>());
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago something was, as kubectl says it: `45s`, `12m`, `3h`, `9d`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    seconds((now.as_second() - since.as_second()).max(0))
}

/// A number of seconds in its largest unit.
pub(crate) fn seconds(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time as people compare it with a log: to the second, in UTC.
pub(crate) fn instant(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// Text broken at spaces so that no line is longer than `width`, each line after `indent`.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let lines: Vec<String> = lines
        .iter()
        .map(|line| format!("{indent}{line}\n"))
        .collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        for (given, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(seconds(given), expected);
        }
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            age(now + k8s_openapi::jiff::SignedDuration::from_secs(5), now),
            "0s"
        );
    }

    #[test]
    fn colours_do_not_change_the_columns() {
        let rows = [vec!["a".to_owned(), "b".to_owned()]];
        let plain = table(&["ONE", "TWO"], &rows, |_, _, cell| cell.to_owned());
        assert_eq!(plain, "ONE   TWO\na     b\n");
        let coloured = table(&["ONE", "TWO"], &rows, |_, _, cell| {
            Paint::Colours.good(cell)
        });
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(stripped.replace(' ', ""), plain.replace(' ', ""));
    }

    #[test]
    fn long_text_is_broken_at_spaces() {
        assert_eq!(wrapped("one two three", "  ", 8), "  one two\n  three\n");
    }
}
