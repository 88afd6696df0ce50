//! Rows and logs that are not plain: keys of all kinds, large rows, tables that change.

use seata_client::at::Value;

use crate::world::{ACCOUNT, World, config, execute};

const PAY: &str = "UPDATE account SET money = money + ? WHERE id = ?";

#[tokio::test]
async fn values_handed_on_from_row_to_row_are_undone() {
    let schema = "CREATE TABLE seat (id INT PRIMARY KEY, place INT UNIQUE, name VARCHAR(10));
                  INSERT INTO seat VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')";
    let world = World::new(schema).await;
    let before = world.contents("seat").await;
    let xid = world.begin();
    let shift = "UPDATE seat SET place = place + 1 ORDER BY place DESC";
    world.at.execute(&xid, shift, &[]).await.unwrap();
    let shift = "UPDATE seat SET place = place + ? ORDER BY place DESC LIMIT ?";
    world
        .at
        .execute(&xid, shift, &[10.into(), 2.into()])
        .await
        .unwrap();
    assert_eq!(
        world
            .number("SELECT CAST(SUM(place) AS SIGNED) FROM seat")
            .await,
        29
    );
    world.roll_back(&xid).await;
    assert_eq!(world.contents("seat").await, before);
}

#[tokio::test]
async fn composite_binary_and_huge_keys_name_their_rows() {
    let schema = "CREATE TABLE pair (a VARCHAR(10), b BIGINT UNSIGNED, v INT, PRIMARY KEY (b, a));
        CREATE TABLE bin (id BINARY(4) PRIMARY KEY, v INT);
        CREATE TABLE day (id DATE PRIMARY KEY, v DECIMAL(20,5));
        CREATE TABLE money (id DECIMAL(20,2) PRIMARY KEY, v INT);
        INSERT INTO pair VALUES ('x', 18446744073709551615, 1), ('y', 2, 2);
        INSERT INTO bin VALUES (0x01, 1), (0xff00ff00, 2);
        INSERT INTO day VALUES ('2024-02-29', 1.5);
        INSERT INTO money VALUES (12345678901234567.89, 1), (12345678901234567.88, 2)";
    let world = World::new(schema).await;
    let tables = ["pair", "bin", "day", "money"];
    let mut before = Vec::new();
    for table in tables {
        before.push(world.contents(table).await);
    }
    let xid = world.begin();
    let mut local = world.at.begin(&xid).await.unwrap();
    let big = Value::from(u64::MAX);
    local
        .execute("UPDATE pair SET v = 9 WHERE b = ?", &[big])
        .await
        .unwrap();
    let insert = "INSERT INTO pair (v, b, a) VALUES (1, 18446744073709551614, 'z')";
    local.execute(insert, &[]).await.unwrap();
    local
        .execute("DELETE FROM pair WHERE a = 'y'", &[])
        .await
        .unwrap();
    local
        .execute("UPDATE bin SET v = v + 1", &[])
        .await
        .unwrap();
    let bytes = Value::from(vec![7_u8]);
    local
        .execute("INSERT INTO bin VALUES (?, 1)", &[bytes])
        .await
        .unwrap();
    local
        .execute(
            "INSERT INTO day VALUES ('2025-01-01', 1), (?, 2)",
            &["2025-01-02".into()],
        )
        .await
        .unwrap();
    local
        .execute("DELETE FROM day WHERE v > 1.4 AND v < 1.6", &[])
        .await
        .unwrap();
    local
        .execute("UPDATE money SET v = 3 WHERE v = 2", &[])
        .await
        .unwrap();
    local.commit().await.unwrap();
    let keys = world.tc.lock_keys(&xid).remove(0);
    assert_eq!(
        keys,
        "bin:01000000,07000000,ff00ff00;day:2024-02-29,2025-01-01,2025-01-02;\
         money:12345678901234567.88;pair:18446744073709551614_z,18446744073709551615_x,2_y"
    );
    assert_eq!(
        world.number("SELECT COUNT(*) FROM money WHERE v = 3").await,
        1
    );
    world.roll_back(&xid).await;
    for (table, before) in tables.iter().zip(before) {
        assert_eq!(world.contents(table).await, before, "{table}");
    }
}

#[tokio::test]
async fn large_logs_are_compressed_and_split() {
    use rand::RngCore as _;
    let schema = "CREATE TABLE file (id INT PRIMARY KEY AUTO_INCREMENT, data LONGBLOB)";
    let world = World::new(schema).await;
    for count in [2_u8, 14] {
        for _ in 0..count {
            let mut data = vec![0; 300_000];
            rand::rng().fill_bytes(&mut data);
            let insert = "INSERT INTO file (data) VALUES (?)";
            world
                .at
                .execute(None, insert, &[data.into()])
                .await
                .unwrap();
        }
        let before = world.contents("file").await;
        let xid = world.begin();
        world
            .at
            .execute(&xid, "DELETE FROM file", &[])
            .await
            .unwrap();
        assert_eq!(world.number("SELECT COUNT(*) FROM file").await, 0);
        assert_eq!(world.undo_rows().await > 1, count > 2);
        let contexts = "SELECT COUNT(*) FROM undo_log WHERE context LIKE '%compressorType=GZIP%'";
        assert_eq!(world.number(contexts).await, 1);
        world.roll_back(&xid).await;
        assert_eq!(world.contents("file").await, before);
        assert_eq!(world.undo_rows().await, 0);
    }
    let xid = world.begin();
    world
        .at
        .execute(&xid, "DELETE FROM file", &[])
        .await
        .unwrap();
    world.commit(&xid).await;
    world.until("SELECT COUNT(*) FROM undo_log", 0).await;
}

#[tokio::test]
async fn a_column_that_was_added_meanwhile_is_imaged_too() {
    let world = World::new(ACCOUNT).await;
    let xid = world.begin();
    world
        .at
        .execute(&xid, "DELETE FROM account WHERE id = 1", &[])
        .await
        .unwrap();
    world.roll_back(&xid).await;
    let alter = "ALTER TABLE account ADD extra VARCHAR(10) DEFAULT 'x';
                 UPDATE account SET extra = 'mine' WHERE id = 1";
    execute(&world.plain, alter).await;
    let before = world.contents("account").await;
    let xid = world.begin();
    let insert = "INSERT INTO account (id, money) VALUES (8, 1)";
    world.at.execute(&xid, insert, &[]).await.unwrap();
    world
        .at
        .execute(&xid, "DELETE FROM account WHERE id = 1", &[])
        .await
        .unwrap();
    world
        .at
        .execute(&xid, "UPDATE account SET extra = 'y' WHERE id = 2", &[])
        .await
        .unwrap();
    let insert = "INSERT INTO account (id, money, extra) VALUES (9, 1, 'z')";
    world.at.execute(&xid, insert, &[]).await.unwrap();
    world.roll_back(&xid).await;
    assert_eq!(world.contents("account").await, before);
}

#[tokio::test]
async fn both_class_names_and_all_columns_are_configurable() {
    let config = seata_client::at::AtConfig {
        classes: seata_client::at::undo::Classes::IoSeata,
        only_changed_columns: false,
        ..config()
    };
    let world = World::with(ACCOUNT, config, "+00:00").await;
    let before = world.contents("account").await;
    let xid = world.begin();
    world
        .at
        .execute(&xid, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let text = "SELECT COUNT(*) FROM undo_log WHERE rollback_info LIKE '%\"io.seata.rm.%note%'";
    assert_eq!(world.number(text).await, 1);
    world.roll_back(&xid).await;
    assert_eq!(world.contents("account").await, before);
}
