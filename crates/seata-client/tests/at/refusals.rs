//! What cannot be undone for certain is not done.

use seata_client::at::{AtConfig, Error};

use crate::world::{ACCOUNT, World, config};

const SCHEMA: &str = "CREATE TABLE nokey (a INT);
    CREATE TABLE floating (a DOUBLE PRIMARY KEY, b INT);
    CREATE TABLE place (id INT PRIMARY KEY, at POINT);
    CREATE TABLE slow (id INT PRIMARY KEY) ENGINE = MyISAM;
    CREATE TABLE parent (id INT PRIMARY KEY, v INT);
    CREATE TABLE child (id INT PRIMARY KEY, p INT,
        FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE);
    CREATE TABLE list (id INT PRIMARY KEY, code INT, v INT, KEY (code), UNIQUE KEY (code));
    CREATE TABLE item (id INT PRIMARY KEY, c INT,
        FOREIGN KEY (c) REFERENCES list (code) ON UPDATE CASCADE);
    INSERT INTO list VALUES (1, 1, 1); INSERT INTO item VALUES (1, 1);
    CREATE TABLE computed (id INT PRIMARY KEY, v INT,
        g INT GENERATED ALWAYS AS (v % 10) STORED UNIQUE);
    INSERT INTO computed (id, v) VALUES (1, 5);
    CREATE TABLE watched (id INT PRIMARY KEY, v INT);
    CREATE TRIGGER w BEFORE UPDATE ON watched FOR EACH ROW SET NEW.v = 1;
    CREATE TABLE prefixed (id INT PRIMARY KEY, t TEXT, UNIQUE KEY (t(5)));
    CREATE TABLE defaulted (id INT PRIMARY KEY, u INT NOT NULL DEFAULT 5 UNIQUE);
    CREATE TABLE texts (id VARCHAR(20) PRIMARY KEY, v INT);
    CREATE TABLE counted (id INT AUTO_INCREMENT PRIMARY KEY, v INT);
    CREATE VIEW seen AS SELECT * FROM parent;
    INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (1, 1);
    INSERT INTO watched VALUES (1, 1); INSERT INTO texts VALUES ('a,b', 1), ('b', 1);
    INSERT INTO place VALUES (1, POINT(1, 1)); INSERT INTO floating VALUES (1.5, 1);";

#[tokio::test]
async fn what_cannot_be_undone_is_refused_and_not_done() {
    let world = World::new(&format!("{SCHEMA}{ACCOUNT}")).await;
    let tables = [
        "nokey",
        "floating",
        "slow",
        "parent",
        "child",
        "watched",
        "prefixed",
        "texts",
        "account",
        "defaulted",
        "counted",
        "list",
        "item",
    ];
    let mut before = Vec::new();
    for table in tables {
        before.push(world.contents(table).await);
    }
    for sql in [
        "INSERT INTO nokey VALUES (1)",
        "UPDATE floating SET b = 2",
        "UPDATE place SET at = POINT(2, 2)",
        "DELETE FROM place",
        "INSERT INTO slow VALUES (1)",
        "UPDATE seen SET v = 2",
        "DELETE FROM parent",
        "INSERT INTO computed (id, v) VALUES (2, 15) ON DUPLICATE KEY UPDATE v = 25",
        "DELETE FROM list",
        "UPDATE list SET code = 2",
        "UPDATE watched SET v = 2",
        "UPDATE absent SET v = 2",
        "UPDATE mysql.user SET Host = 'x'",
        "UPDATE account SET id = 7 WHERE id = 1",
        "UPDATE account SET absent = 7",
        "UPDATE texts SET v = 2",
        "INSERT INTO texts VALUES (' ', 1)",
        "INSERT INTO texts VALUES (UUID(), 1)",
        "INSERT INTO account (money) VALUES (1)",
        "INSERT INTO account (id, money) VALUES (1)",
        "INSERT INTO account (id, money) VALUES (1.5, 1)",
        "INSERT INTO counted (id, v) VALUES (1, 1), (NULL, 2)",
        "INSERT INTO account (id, money) VALUES (1, 1) ON DUPLICATE KEY UPDATE note = 'x'",
        "INSERT INTO account (id, money) VALUES (1, 1) ON DUPLICATE KEY UPDATE id = 8",
        "INSERT INTO account (id, money, note) VALUES (9, 1, UUID()) ON DUPLICATE KEY UPDATE money = 8",
        "INSERT INTO prefixed VALUES (1, 'x') ON DUPLICATE KEY UPDATE t = 'y'",
        "INSERT INTO defaulted (id) VALUES (1) ON DUPLICATE KEY UPDATE id = 1",
        "REPLACE INTO account (id, money) VALUES (1, 1)",
        "INSERT INTO account SELECT 7, 7, 'x'",
        "TRUNCATE account",
        "DROP TABLE account",
        "ALTER TABLE account ADD x INT",
        "COMMIT",
        "SET autocommit = 1",
    ] {
        let xid = world.begin();
        let error = world.at.execute(&xid, sql, &[]).await.unwrap_err();
        let refused = matches!(
            error,
            Error::Refused { .. } | Error::Table { .. } | Error::Key { .. } | Error::Stale { .. }
        );
        assert!(refused, "{sql}: {error:?}");
        world.commit(&xid).await;
    }
    for (table, before) in tables.iter().zip(before) {
        assert_eq!(world.contents(table).await, before, "{table}");
    }
    assert_eq!(world.undo_rows().await, 0);
}

#[tokio::test]
async fn a_failed_statement_spoils_nothing_but_an_unimaged_change_does() {
    let world = World::new(&format!("{SCHEMA}{ACCOUNT}")).await;
    let before = world.contents("account").await;
    let xid = world.begin();
    let mut local = world.at.begin(&xid).await.unwrap();
    local
        .execute("UPDATE account SET money = 1 WHERE id = 1", &[])
        .await
        .unwrap();
    let duplicate = "INSERT INTO account (id, money) VALUES (2, 1)";
    let error = local.execute(duplicate, &[]).await.unwrap_err();
    assert!(matches!(error, Error::Statement(_)), "{error:?}");
    local.execute("NONSENSE", &[]).await.unwrap_err();
    local
        .execute("UPDATE account SET money = ? WHERE id = 2", &[])
        .await
        .unwrap_err();
    local
        .execute("UPDATE account SET money = 2 WHERE id = 2", &[])
        .await
        .unwrap();
    local.commit().await.unwrap();
    world.roll_back(&xid).await;
    assert_eq!(world.contents("account").await, before);
    let xid = world.begin();
    let mut local = world.at.begin(&xid).await.unwrap();
    local
        .execute("UPDATE account SET money = 1 WHERE id = 1", &[])
        .await
        .unwrap();
    local
        .execute("UPDATE texts SET v = 2", &[])
        .await
        .unwrap_err();
    let error = local
        .execute("UPDATE account SET money = 2 WHERE id = 2", &[])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Broken), "{error:?}");
    assert!(matches!(local.commit().await, Err(Error::Broken)));
    assert_eq!(world.contents("account").await, before);
}

#[tokio::test]
async fn a_statement_of_too_many_rows_is_refused() {
    let config = AtConfig {
        max_rows: 2,
        ..config()
    };
    let world = World::with(ACCOUNT, config, "+00:00").await;
    let before = world.contents("account").await;
    let xid = world.begin();
    for sql in [
        "UPDATE account SET money = 1",
        "DELETE FROM account",
        "INSERT INTO account (id, money) VALUES (7, 1), (8, 1), (9, 1)",
    ] {
        let error = world.at.execute(&xid, sql, &[]).await.unwrap_err();
        assert!(
            matches!(error, Error::TooManyRows { limit: 2, .. }),
            "{error:?}"
        );
    }
    assert_eq!(world.contents("account").await, before);
}
