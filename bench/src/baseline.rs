//! B: raw durable single-row INSERTs per second, the yardstick of every ratio here.
//!
//! A row of about 300 bytes with two secondary indexes, one prepared statement per connection,
//! each execution a transaction of its own: what the database can do with no payment system
//! around it.

use std::time::{Duration, Instant};

use sqlx::MySqlConnection;

use crate::mysql::Mysql;

pub(crate) struct Baseline {
    connections: Vec<MySqlConnection>,
    database: String,
}

const TABLE: &str = "CREATE TABLE baseline (
  id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  number  VARCHAR(40)  NOT NULL,
  user_id VARCHAR(64)  NOT NULL,
  content VARCHAR(300) NOT NULL,
  KEY idx_number (number),
  KEY idx_user_id (user_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin";

impl Baseline {
    pub(crate) async fn new(mysql: &Mysql, connections: usize) -> anyhow::Result<Self> {
        let database = "baseline".to_owned();
        mysql.create_database(&database).await?;
        sqlx::query(TABLE)
            .execute(&mut mysql.connect(&database).await?)
            .await?;
        let mut all = Vec::with_capacity(connections);
        for _ in 0..connections {
            all.push(mysql.connect(&database).await?);
        }
        Ok(Self {
            connections: all,
            database,
        })
    }

    /// INSERTs per second over that many connections.
    pub(crate) async fn measure(
        &mut self,
        mysql: &Mysql,
        connections: usize,
        period: Duration,
    ) -> anyhow::Result<f64> {
        while self.connections.len() < connections {
            self.connections.push(mysql.connect(&self.database).await?);
        }
        let used = self
            .connections
            .split_off(self.connections.len() - connections);
        let start = Instant::now();
        let workers: Vec<_> = used
            .into_iter()
            .map(|connection| tokio::spawn(insert_until(connection, start + period)))
            .collect();
        let mut inserted: u32 = 0;
        for worker in workers {
            let (connection, n) = worker.await??;
            self.connections.push(connection);
            inserted += n;
        }
        Ok(f64::from(inserted) / start.elapsed().as_secs_f64())
    }
}

async fn insert_until(
    mut connection: MySqlConnection,
    end: Instant,
) -> anyhow::Result<(MySqlConnection, u32)> {
    let mut inserted = 0;
    let content = "x".repeat(200);
    while Instant::now() < end {
        sqlx::query("INSERT INTO baseline (number, user_id, content) VALUES (?, ?, ?)")
            .bind(format!("pay_{:032x}", rand::random::<u128>()))
            .bind(format!("user-{}", rand::random::<u32>() % 100_000))
            .bind(&content)
            .execute(&mut connection)
            .await?;
        inserted += 1;
    }
    Ok((connection, inserted))
}
