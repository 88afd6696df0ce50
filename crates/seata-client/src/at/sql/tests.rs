use super::*;

fn shape(sql: &str) -> Shape {
    plan(sql).shape
}

fn text(part: Option<&Part>) -> &str {
    part.map_or("", |part| part.sql.as_str())
}

#[test]
fn an_update_is_cut_where_its_clauses_begin() {
    let sql = "UPDATE `account` AS a SET a.money = money - ?, note = 'where; limit' -- why\n \
               WHERE id IN (?, ?) AND x = ? ORDER BY id LIMIT ?;";
    let plan = plan(sql);
    assert_eq!(plan.parameters, 5);
    let Shape::Update(update) = plan.shape else {
        panic!("{:?}", plan.shape);
    };
    assert_eq!(update.table.name, "account");
    assert_eq!(update.table.part.sql, "`account` AS a");
    assert_eq!(update.columns, ["money", "note"]);
    assert!(update.head.sql.ends_with("note = 'where; limit'"));
    assert_eq!(update.head.args, 0..1);
    let condition = update.rows.condition.unwrap();
    assert_eq!(condition.sql, "WHERE id IN (?, ?) AND x = ?");
    assert_eq!(condition.args, 1..4);
    assert_eq!(text(update.rows.order.as_ref()), "ORDER BY id");
    assert_eq!(update.rows.limit.unwrap().args, 4..5);
    assert!(!update.rows.repeatable);
}

#[test]
fn places_are_bytes_also_after_other_scripts() {
    let Shape::Update(update) = shape("UPDATE 表 SET 名 = '数\n据', b = ? WHERE 键 = ?")
    else {
        panic!();
    };
    assert_eq!(update.table.name, "表");
    assert_eq!(text(update.rows.condition.as_ref()), "WHERE 键 = ?");
    assert_eq!(update.columns, ["名", "b"]);
}

#[test]
fn only_conditions_that_match_the_same_rows_again_are_repeatable() {
    for (condition, expected) in [
        ("id = ?", true),
        (
            "(a > 1 AND b BETWEEN ? AND 3) OR c IS NOT NULL OR d LIKE 'x%'",
            true,
        ),
        ("NOT a = -1 AND (a, b) IN ((1, 2))", true),
        ("a < NOW()", false),
        ("a < CURRENT_TIMESTAMP", false),
        ("a < UTC_DATE", false),
        ("a = @x", false),
        ("id IN (SELECT id FROM u)", false),
        ("EXISTS (SELECT 1 FROM u)", false),
    ] {
        let Shape::Delete(delete) = shape(&format!("DELETE FROM t WHERE {condition}")) else {
            panic!("{condition}");
        };
        assert_eq!(delete.rows.repeatable, expected, "{condition}");
    }
}

#[test]
fn an_insert_is_cut_into_rows() {
    let sql = "INSERT INTO t (id, `name`, v) VALUES (?, 'a)', NOW()), (-7, ?, DEFAULT) AS new \
               ON DUPLICATE KEY UPDATE v = new.v + ?";
    let Shape::Insert(insert) = shape(sql) else {
        panic!("{:?}", shape(sql));
    };
    assert_eq!(insert.columns, ["id", "name", "v"]);
    assert_eq!(insert.head.sql, "INSERT INTO t (id, `name`, v) VALUES");
    assert_eq!(insert.rows[0].part.sql, "(?, 'a)', NOW())");
    assert_eq!(insert.rows[1].part.args, 1..2);
    assert_eq!(insert.rows[0].values[0], InsertValue::Param(0));
    assert_eq!(insert.rows[0].values[2], InsertValue::Expression);
    assert_eq!(
        insert.rows[1].values,
        [
            InsertValue::Literal(Value::Decimal("-7".to_owned())),
            InsertValue::Param(1),
            InsertValue::Default
        ]
    );
    assert_eq!(text(insert.alias.as_ref()), "AS new");
    let (duplicate, columns) = insert.duplicate.unwrap();
    assert_eq!(duplicate.args, 2..3);
    assert_eq!(columns, ["v"]);
}

#[test]
fn a_locking_read_is_cut_before_from() {
    let sql = "SELECT x.a, COALESCE(b, EXTRACT(YEAR FROM c)) FROM t x WHERE a = ? LIMIT 1 FOR UPDATE SKIP LOCKED";
    let Shape::Locking(locking) = shape(sql) else {
        panic!("{:?}", shape(sql));
    };
    assert_eq!(locking.qualifier, "x");
    assert_eq!(
        locking.head.sql,
        "SELECT x.a, COALESCE(b, EXTRACT(YEAR FROM c))"
    );
    assert!(locking.tail.sql.starts_with("FROM t x"));
    assert_eq!(locking.tail.args, 0..1);
}

#[test]
fn reads_pass() {
    for sql in [
        "SELECT 1",
        "select a, count(*) from t join u using (id) group by a",
        "SELECT * FROM t FOR SHARE",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "SHOW TABLES",
        "SELECT 1 UNION SELECT 2",
    ] {
        assert_eq!(shape(sql), Shape::Pass, "{sql}");
    }
}

#[test]
fn everything_else_is_refused_with_a_way_out() {
    for sql in [
        "",
        "nonsense",
        "INSERT INTO t SELECT * FROM u",
        "INSERT INTO t SET a = 1",
        "INSERT IGNORE INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 2",
        "REPLACE INTO t (a) VALUES (1)",
        "UPDATE t, u SET t.a = 1 WHERE t.id = u.id",
        "UPDATE t JOIN u USING (id) SET t.a = 1",
        "UPDATE IGNORE t SET a = 1",
        "DELETE t FROM t JOIN u USING (id)",
        "DELETE FROM t USING t JOIN u USING (id)",
        "WITH x AS (SELECT 1 AS a) UPDATE t SET a = 1",
        "WITH x AS (SELECT 1 AS a) DELETE FROM t WHERE id IN (SELECT a FROM x)",
        "CREATE TABLE t (a INT)",
        "ALTER TABLE t ADD b INT",
        "DROP TABLE t",
        "TRUNCATE t",
        "LOAD DATA INFILE 'x' INTO TABLE t",
        "CALL p(1)",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT a",
        "SET autocommit = 1",
        "SELECT 1 INTO @a",
        "SELECT * FROM t JOIN u USING (id) FOR UPDATE",
        "SELECT COUNT(*) FROM t FOR UPDATE",
        "SELECT 1 + max (a) FROM t FOR UPDATE",
        "SELECT DISTINCT a FROM t FOR UPDATE",
        "SELECT * FROM (SELECT * FROM t FOR UPDATE) x",
        "UPDATE t SET a = 1; DELETE FROM t",
        "UPDATE t SET a = 1 /*!50000 WHERE a = 2 */",
        "LOCK TABLES t WRITE",
        "XA START 'a'",
        "EXPLAIN ANALYZE DELETE FROM t",
    ] {
        let Shape::Refused(refusal) = shape(sql) else {
            panic!("{sql}: {:?}", shape(sql));
        };
        assert!(!refusal.way_out.is_empty() && !refusal.reason.is_empty());
    }
}

/// A chain of operators is a deep tree, and a deep tree a deep stack.
#[test]
fn long_chains_are_refused_before_they_are_a_tree() {
    let chain = |n: usize| format!("DELETE FROM t WHERE {}a", "a = ? OR ".repeat(n));
    assert!(matches!(shape(&chain(1000)), Shape::Delete(_)));
    assert!(matches!(shape(&chain(100_000)), Shape::Refused(_)));
    let nested = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    plan(&nested);
    let rows = format!(
        "INSERT INTO t (a, b) VALUES (?, -1){}",
        ", (?, 1)".repeat(3000)
    );
    let Shape::Insert(insert) = shape(&rows) else {
        panic!();
    };
    assert_eq!(insert.rows.len(), 3001);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(sql in "(UPDATE|DELETE FROM|INSERT INTO|SELECT)? ?[a-z?(),='\"`; \\n*数-]{0,60}") {
        plan(&sql);
    }
}
