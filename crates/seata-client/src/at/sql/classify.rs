//! From a syntax tree to a plan or a refusal.

use sqlparser::ast::{
    self, AssignmentTarget, Expr, FromTable, GroupByExpr, LockType, ObjectName, ObjectNamePart,
    Query, SetExpr, Statement, TableFactor, TableWithJoins,
};
use sqlparser::keywords::Keyword;

use super::scan::Scan;
use super::{Delete, Locking, Part, Refusal, Selection, Shape, TableRef, Update, insert};

const OUTSIDE: &str = "execute it outside of the global transaction";

pub(super) fn classify(scan: &Scan<'_>) -> Result<Shape, Refusal> {
    let Some(statement) = &scan.statement else {
        return unknown(scan);
    };
    match statement {
        Statement::Query(query) => query_shape(scan, query),
        Statement::Insert(statement) => insert::shape(scan, statement).map(Shape::Insert),
        Statement::Update(statement) => update(scan, statement).map(Shape::Update),
        Statement::Delete(statement) => delete(scan, statement).map(Shape::Delete),
        Statement::ExplainTable { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowVariables { .. }
        | Statement::ShowCreate { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowDatabases { .. }
        | Statement::ShowTables { .. } => Ok(Shape::Pass),
        _ => Err(by_first_word(scan)),
    }
}

/// A statement that the parser does not know passes only if it can do nothing but read.
fn unknown(scan: &Scan<'_>) -> Result<Shape, Refusal> {
    let writes = [Keyword::INTO, Keyword::UPDATE, Keyword::DELETE];
    let reads = matches!(scan.first_word().as_str(), "SELECT" | "SHOW");
    if reads && !writes.into_iter().any(|keyword| scan.has(keyword)) {
        return Ok(Shape::Pass);
    }
    Err(by_first_word(scan))
}

fn by_first_word(scan: &Scan<'_>) -> Refusal {
    let word = scan.first_word();
    let implicit_commit = "it commits the local transaction by itself and cannot be undone";
    match word.as_str() {
        "REPLACE" => insert::replace(),
        "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "RENAME" | "ANALYZE" | "OPTIMIZE" => {
            Refusal::new("DDL", implicit_commit, OUTSIDE)
        }
        "LOAD" => Refusal::new(
            "LOAD DATA",
            "the rows it writes are not known before",
            "insert the rows with INSERT … VALUES",
        ),
        "CALL" => Refusal::new(
            "CALL",
            "what a procedure writes is not known",
            "execute its statements one by one",
        ),
        "WITH" => Refusal::new(
            "a statement WITH common table expressions",
            "the rows it writes are not known before",
            "select the keys first, then write the rows by them",
        ),
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "XA" => Refusal::new(
            "transaction control",
            format!("{word} would undo or keep changes behind the images' back"),
            "use the transaction's own methods",
        ),
        "SET" => Refusal::new(
            "SET",
            "it changes how the connection works, for later users too",
            "set variables when the pool connects",
        ),
        "UPDATE" | "DELETE" | "INSERT" => Refusal::new(
            "a write that cannot be read",
            format!("this form of {word} is not known to be undoable"),
            "write it in the plain form",
        ),
        _ => Refusal::new(
            "a statement of this kind",
            format!("it is not known that {word} can be undone"),
            OUTSIDE,
        ),
    }
}

pub(super) fn name(object: &ObjectName) -> Option<(Option<String>, String)> {
    let mut names = Vec::new();
    for part in &object.0 {
        match part {
            ObjectNamePart::Identifier(ident) => names.push(ident.value.clone()),
            ObjectNamePart::Function(_) => return None,
        }
    }
    match <[String; 2]>::try_from(names.clone()) {
        Ok([schema, name]) => Some((Some(schema), name)),
        Err(_) if names.len() == 1 => Some((None, names.pop()?)),
        Err(_) => None,
    }
}

const ONE_TABLE: &str = "write each table by a statement of its own";

/// The only table of a statement and its name in it.
fn one_table<'a>(
    statement: &'static str,
    tables: &'a [TableWithJoins],
) -> Result<(&'a ObjectName, Option<String>), Refusal> {
    let several = || Refusal::new(statement, "it is about more than one table", ONE_TABLE);
    let [table] = tables else {
        return Err(several());
    };
    if !table.joins.is_empty() {
        return Err(several());
    }
    match &table.relation {
        TableFactor::Table {
            name,
            alias,
            args: None,
            partitions,
            ..
        } if partitions.is_empty() => Ok((name, alias.as_ref().map(|a| a.name.value.clone()))),
        _ => {
            let reason = "its rows are not plainly those of one table";
            Err(Refusal::new(statement, reason, ONE_TABLE))
        }
    }
}

fn table_ref(
    statement: &'static str,
    object: &ObjectName,
    part: Part,
) -> Result<TableRef, Refusal> {
    let unknown = || Refusal::new(statement, "its table's name is not plain", ONE_TABLE);
    let (schema, name) = name(object).ok_or_else(unknown)?;
    Ok(TableRef { schema, name, part })
}

/// `WHERE`, `ORDER BY` and `LIMIT` from a place on, and where the first of them begins.
fn selection(scan: &Scan<'_>, from: usize, condition: Option<&Expr>) -> (usize, Selection) {
    let end = scan.len();
    let limit = scan.find(Keyword::LIMIT, from).unwrap_or(end);
    let order = scan.find(Keyword::ORDER, from).unwrap_or(limit);
    let filter = scan.find(Keyword::WHERE, from).unwrap_or(order);
    let part = |range: std::ops::Range<usize>| (!range.is_empty()).then(|| scan.part(range));
    let selection = Selection {
        condition: part(filter..order),
        order: part(order..limit),
        limit: part(limit..end),
        repeatable: limit == end && condition.is_none_or(repeatable),
    };
    (filter, selection)
}

/// The modifiers that change what a write does with errors, or when.
fn check_modifiers(scan: &Scan<'_>, statement: &'static str) -> Result<(), Refusal> {
    let modifiers = [Keyword::IGNORE, Keyword::LOW_PRIORITY];
    if modifiers.into_iter().any(|keyword| scan.is(1, keyword)) {
        let reason = "with this modifier rows may be left out without an error";
        return Err(Refusal::new(
            statement,
            reason,
            "write it without the modifier",
        ));
    }
    Ok(())
}

fn update(scan: &Scan<'_>, update: &ast::Update) -> Result<Update, Refusal> {
    check_modifiers(scan, "UPDATE with a modifier")?;
    let (object, _) = one_table(
        "UPDATE of several tables",
        std::slice::from_ref(&update.table),
    )?;
    if update.from.is_some() || update.returning.is_some() || update.output.is_some() {
        return Err(by_first_word(scan));
    }
    let set = scan
        .find(Keyword::SET, 0)
        .ok_or_else(|| by_first_word(scan))?;
    let (head_end, rows) = selection(scan, set, update.selection.as_ref());
    Ok(Update {
        table: table_ref("UPDATE", object, scan.part(1..set))?,
        head: scan.part(0..head_end),
        columns: assigned(&update.assignments)?,
        rows,
    })
}

/// The columns that are assigned.
pub(super) fn assigned(assignments: &[ast::Assignment]) -> Result<Vec<String>, Refusal> {
    let column = |assignment: &ast::Assignment| match &assignment.target {
        AssignmentTarget::ColumnName(name) => match name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => Some(ident.value.clone()),
            _ => None,
        },
        AssignmentTarget::Tuple(_) => None,
    };
    let all: Option<Vec<_>> = assignments.iter().map(column).collect();
    all.ok_or_else(|| {
        let reason = "it assigns something that is not a column";
        Refusal::new("UPDATE", reason, "assign columns one by one")
    })
}

fn delete(scan: &Scan<'_>, delete: &ast::Delete) -> Result<Delete, Refusal> {
    let statement = "DELETE of several tables";
    let FromTable::WithFromKeyword(tables) = &delete.from else {
        return Err(by_first_word(scan));
    };
    if !delete.tables.is_empty() || delete.using.is_some() || !scan.is(1, Keyword::FROM) {
        let reason = "it is about more than one table, or has a modifier";
        return Err(Refusal::new(statement, reason, ONE_TABLE));
    }
    if delete.returning.is_some() || delete.output.is_some() {
        let reason = "the rows are gone when it answers";
        return Err(Refusal::new(
            "DELETE … RETURNING",
            reason,
            "select the rows first",
        ));
    }
    let (object, _) = one_table(statement, tables)?;
    let (head_end, rows) = selection(scan, 2, delete.selection.as_ref());
    Ok(Delete {
        table: table_ref("DELETE", object, scan.part(2..head_end))?,
        head: scan.part(0..head_end),
        rows,
    })
}

fn query_shape(scan: &Scan<'_>, query: &Query) -> Result<Shape, Refusal> {
    if matches!(
        &*query.body,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_)
    ) {
        return Err(by_first_word(scan));
    }
    if scan.has(Keyword::INTO) {
        let reason = "it writes variables or files";
        return Err(Refusal::new("SELECT … INTO", reason, OUTSIDE));
    }
    let locks = |lock: &ast::LockClause| lock.lock_type == LockType::Update;
    if query.locks.iter().any(locks) {
        return locking(scan, query).map(Shape::Locking);
    }
    // A lock inside of a subquery would be taken without asking the coordinator.
    if scan.has(Keyword::UPDATE) {
        return Err(not_one_table());
    }
    Ok(Shape::Pass)
}

fn not_one_table() -> Refusal {
    Refusal::new(
        "SELECT … FOR UPDATE",
        "it does not plainly lock rows of one table",
        "lock the rows by a SELECT … FROM one table … FOR UPDATE of their own",
    )
}

/// Functions by which one row of an answer stands for many.
const AGGREGATES: [&str; 20] = [
    "ANY_VALUE",
    "AVG",
    "BIT_AND",
    "BIT_OR",
    "BIT_XOR",
    "COUNT",
    "GROUP_CONCAT",
    "JSON_ARRAYAGG",
    "JSON_OBJECTAGG",
    "MAX",
    "MIN",
    "ST_COLLECT",
    "STD",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "SUM",
    "VAR_POP",
    "VAR_SAMP",
    "VARIANCE",
];

fn locking(scan: &Scan<'_>, query: &Query) -> Result<Locking, Refusal> {
    let SetExpr::Select(select) = &*query.body else {
        return Err(not_one_table());
    };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if query.with.is_some()
        || select.distinct.is_some()
        || grouped
        || select.having.is_some()
        || query.locks.len() > 1
        || scan.first_word() != "SELECT"
        || scan.calls(&AGGREGATES)
    {
        return Err(not_one_table());
    }
    let (object, alias) = one_table("SELECT … FOR UPDATE", &select.from)?;
    let from = scan.find(Keyword::FROM, 0).ok_or_else(not_one_table)?;
    let part = scan.part(from + 1..from + 1);
    let table = table_ref("SELECT … FOR UPDATE", object, part)?;
    Ok(Locking {
        qualifier: alias.unwrap_or_else(|| table.name.clone()),
        table,
        head: scan.part(0..from),
        tail: scan.part(from..scan.len()),
    })
}

/// Whether an expression gives the same for the same row each time.
fn repeatable(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Identifier(ident) => {
            let name = ident.value.to_ascii_uppercase();
            let computed = ["@", "CURRENT_", "UTC_", "LOCALTIME"];
            ident.quote_style.is_some() || !computed.iter().any(|prefix| name.starts_with(prefix))
        }
        Expr::CompoundIdentifier(parts) => parts.iter().all(|part| !part.value.starts_with('@')),
        Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsNotFalse(inner)
        | Expr::Nested(inner)
        | Expr::UnaryOp { expr: inner, .. } => repeatable(inner),
        Expr::InList { expr, list, .. } => repeatable(expr) && list.iter().all(repeatable),
        Expr::Between {
            expr, low, high, ..
        } => repeatable(expr) && repeatable(low) && repeatable(high),
        Expr::BinaryOp { left, right, op } => {
            *op != ast::BinaryOperator::Assignment && repeatable(left) && repeatable(right)
        }
        Expr::Like { expr, pattern, .. } => repeatable(expr) && repeatable(pattern),
        Expr::Tuple(items) => items.iter().all(repeatable),
        _ => false,
    }
}
