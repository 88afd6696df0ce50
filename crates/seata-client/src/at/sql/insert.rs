//! `INSERT` in its forms.

use sqlparser::ast::{self, Expr, OnInsert, SetExpr, TableObject, UnaryOperator};
use sqlparser::keywords::Keyword;

use super::classify::{assigned, name};
use super::scan::Scan;
use super::{Insert, InsertRow, InsertValue, Part, Refusal, TableRef};
use crate::at::value::Value;

pub(super) fn replace() -> Refusal {
    Refusal::new(
        "REPLACE",
        "it deletes rows that are not known before",
        "use INSERT … ON DUPLICATE KEY UPDATE",
    )
}

fn form(reason: &'static str) -> Refusal {
    Refusal::new(
        "this form of INSERT",
        reason,
        "use INSERT INTO t (…) VALUES (…)",
    )
}

pub(super) fn shape(scan: &Scan<'_>, insert: &ast::Insert) -> Result<Insert, Refusal> {
    if insert.replace_into || scan.first_word() == "REPLACE" {
        return Err(replace());
    }
    if !insert.assignments.is_empty() {
        return Err(form("INSERT … SET is not imaged"));
    }
    if insert.returning.is_some() || insert.priority.is_some() || insert.partitioned.is_some() {
        return Err(form("its modifiers are not imaged"));
    }
    let TableObject::TableName(object) = &insert.table else {
        return Err(form("its table is not plain"));
    };
    let (schema, table) = name(object).ok_or_else(|| form("its table is not plain"))?;
    let rows = values(insert)?;
    let at = scan
        .find(Keyword::VALUES, 0)
        .or_else(|| scan.find(Keyword::VALUE, 0))
        .ok_or_else(|| form("it has no VALUES"))?;
    let (rows, end) = rows_at(scan, at + 1, rows)?;
    let on = scan.find(Keyword::ON, end).unwrap_or(scan.len());
    let duplicate = match &insert.on {
        None => None,
        Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
            Some((scan.part(on..scan.len()), assigned(assignments)?))
        }
        Some(_) => return Err(form("this ON clause is not of MySQL")),
    };
    if insert.ignore && duplicate.is_some() {
        return Err(form(
            "IGNORE together with ON DUPLICATE KEY UPDATE is not imaged",
        ));
    }
    let columns: Option<Vec<_>> = insert.columns.iter().map(name).collect();
    let columns = columns.ok_or_else(|| form("its columns are not plain"))?;
    Ok(Insert {
        table: TableRef {
            schema,
            name: table,
            part: Part {
                sql: String::new(),
                args: 0..0,
            },
        },
        ignore: insert.ignore,
        columns: columns.into_iter().map(|(_, column)| column).collect(),
        head: scan.part(0..at + 1),
        rows,
        alias: (end < on).then(|| scan.part(end..on)),
        duplicate,
    })
}

fn values(insert: &ast::Insert) -> Result<Vec<&Vec<Expr>>, Refusal> {
    let select = || {
        Refusal::new(
            "INSERT … SELECT",
            "the rows it inserts are not known before",
            "select the rows first, then INSERT … VALUES",
        )
    };
    let Some(source) = &insert.source else {
        return Err(form("it has no VALUES"));
    };
    let SetExpr::Values(values) = &*source.body else {
        return Err(select());
    };
    if source.with.is_some() || values.explicit_row {
        return Err(select());
    }
    Ok(values.rows.iter().map(|row| &row.content).collect())
}

/// The rows' texts from the token after `VALUES` on, and the place after the last one.
fn rows_at(
    scan: &Scan<'_>,
    mut at: usize,
    rows: Vec<&Vec<Expr>>,
) -> Result<(Vec<InsertRow>, usize), Refusal> {
    let broken = || form("its rows are not plain");
    let mut out = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        if number > 0 {
            if !scan.is_comma(at) {
                return Err(broken());
            }
            at += 1;
        }
        if !scan.opens(at) {
            return Err(broken());
        }
        let end = scan.closed(at).ok_or_else(broken)?;
        out.push(InsertRow {
            part: scan.part(at..end),
            values: row.iter().map(value).collect(),
        });
        at = end;
    }
    Ok((out, at))
}

fn value(expr: &Expr) -> InsertValue {
    match expr {
        Expr::Value(literal) => match &literal.value {
            ast::Value::Placeholder(text) => text
                .strip_prefix('?')
                .and_then(|number| number.parse().ok())
                .map_or(InsertValue::Expression, InsertValue::Param),
            ast::Value::Null => InsertValue::Null,
            ast::Value::Number(text, _) => InsertValue::Literal(Value::Decimal(text.clone())),
            ast::Value::SingleQuotedString(text) | ast::Value::DoubleQuotedString(text) => {
                InsertValue::Literal(Value::Text(text.clone()))
            }
            ast::Value::HexStringLiteral(text) => hex::decode(text)
                .map_or(InsertValue::Expression, |bytes| {
                    InsertValue::Literal(Value::Bytes(bytes))
                }),
            ast::Value::Boolean(flag) => InsertValue::Literal((*flag).into()),
            _ => InsertValue::Expression,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match value(expr) {
            InsertValue::Literal(Value::Decimal(text)) => {
                InsertValue::Literal(Value::Decimal(format!("-{text}")))
            }
            _ => InsertValue::Expression,
        },
        Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
        {
            InsertValue::Default
        }
        _ => InsertValue::Expression,
    }
}
