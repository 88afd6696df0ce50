//! Whether a row is still as the branch left it.

use std::fmt;

use crate::at::image::Image;
use crate::at::value::{Value, same_number};

/// Values are shown up to so many characters.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// What to do with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Undo,
    /// It is as it was before the branch.
    Nothing,
    /// Somebody else changed it.
    Dirty,
}

pub(super) fn judge(
    before: Option<&Vec<Value>>,
    after: Option<&Vec<Value>>,
    current: Option<&Vec<Value>>,
) -> Verdict {
    if same_row(before, current) {
        return Verdict::Nothing;
    }
    if same_row(after, current) {
        return Verdict::Undo;
    }
    Verdict::Dirty
}

fn same_row(left: Option<&Vec<Value>>, right: Option<&Vec<Value>>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        _ => false,
    }
}

pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Decimal(left), Value::Decimal(right)) => same_number(left, right),
        _ => left == right,
    }
}

/// A column that somebody else changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub column: String,
    /// What the branch left there.
    pub expected: String,
    pub found: String,
}

/// A row that was changed by others after the branch, so that undoing it would lose their change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyWrite {
    pub table: String,
    /// The primary key: columns and values.
    pub key: Vec<(String, String)>,
    /// Empty without `taken`: the row is missing, or it is there though the branch deleted it.
    pub differences: Vec<Difference>,
    /// The row cannot be put back: another one has its unique key now. What the server says of it.
    pub taken: Option<String>,
}

impl DirtyWrite {
    pub(super) fn new(
        image: &Image,
        row: &[Value],
        after: Option<&Vec<Value>>,
        current: Option<&Vec<Value>>,
    ) -> Self {
        let name = |position: &usize| {
            let column = image.table.columns.get(*position);
            column.map_or_else(String::new, |column| column.name.clone())
        };
        let values = image.key(row);
        let key = image.table.primary.iter().zip(&values);
        let mut differences = Vec::new();
        if let (Some(after), Some(current)) = (after, current) {
            for ((position, expected), found) in image.columns.iter().zip(after).zip(current) {
                if !same(expected, found) {
                    differences.push(Difference {
                        column: name(position),
                        expected: shown(expected),
                        found: shown(found),
                    });
                }
            }
        }
        Self {
            table: image.table.name.clone(),
            key: key.map(|(at, value)| (name(at), shown(value))).collect(),
            differences,
            taken: None,
        }
    }

    /// Another row has a unique key that `row` is to have again.
    pub(super) fn taken(image: &Image, row: &[Value], error: &sqlx::Error) -> Self {
        let said = error
            .as_database_error()
            .map(sqlx::error::DatabaseError::message);
        Self {
            taken: Some(said.unwrap_or_default().to_owned()),
            ..Self::new(image, row, None, None)
        }
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(n) => n.to_string(),
        Value::UInt(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Decimal(text) => text.clone(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("0x{}", hex::encode(bytes)),
        Value::Date(date) => date.to_string(),
        Value::Time(time) => time.to_string(),
        Value::DateTime(at) => at.to_string(),
        Value::Timestamp(micros) => format!("{} UTC", Value::timestamp_text(*micros)),
    };
    if text.chars().count() <= SHOWN_CHARACTERS_MAX {
        return text;
    }
    let start: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    format!("{start}…")
}

impl fmt::Display for DirtyWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<_> = self
            .key
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        write!(f, "row {} of table {}", key.join(", "), self.table)?;
        if let Some(said) = &self.taken {
            return write!(f, " cannot be put back, others took its unique key: {said}");
        }
        if self.differences.is_empty() {
            return f.write_str(" was deleted or inserted by others after the branch");
        }
        f.write_str(" was changed by others after the branch: ")?;
        for (number, difference) in self.differences.iter().enumerate() {
            let separator = if number > 0 { "; " } else { "" };
            let Difference {
                column,
                expected,
                found,
            } = difference;
            write!(
                f,
                "{separator}{column} is {found}, the branch left {expected}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_judged_by_all_three_states() {
        let row = |n: i64| vec![Value::Int(1), Value::Int(n)];
        let (old, new, other) = (row(1), row(2), row(3));
        for (before, after, current, expected) in [
            (Some(&old), Some(&new), Some(&new), Verdict::Undo),
            (Some(&old), Some(&new), Some(&old), Verdict::Nothing),
            (Some(&old), Some(&new), Some(&other), Verdict::Dirty),
            (Some(&old), Some(&new), None, Verdict::Dirty),
            (Some(&old), Some(&old), Some(&old), Verdict::Nothing),
            (None, Some(&new), Some(&new), Verdict::Undo),
            (None, Some(&new), None, Verdict::Nothing),
            (None, Some(&new), Some(&other), Verdict::Dirty),
            (Some(&old), None, None, Verdict::Undo),
            (Some(&old), None, Some(&old), Verdict::Nothing),
            (Some(&old), None, Some(&other), Verdict::Dirty),
        ] {
            assert_eq!(
                judge(before, after, current),
                expected,
                "{before:?} {after:?} {current:?}"
            );
        }
        let decimal = |text: &str| Value::Decimal(text.to_owned());
        assert!(same(&decimal("1.50"), &decimal("1.5")));
        assert!(!same(&Value::Int(1), &Value::UInt(1)));
    }
}
