//! Money moves from one database to another in one global transaction: both rows change or none.
//!
//! ```sh
//! SEATA=127.0.0.1:8091 \
//! FROM=mysql://root@127.0.0.1:3306/from_bank TO=mysql://root@127.0.0.1:3306/to_bank \
//!     cargo run --example transfer
//! ```
//!
//! Both databases must be there; the tables are created if they are not.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use seata_client::at::{AtConfig, AtPool, UNDO_LOG_DDL};
use seata_client::branch::Xid;
use seata_client::config::Config;
use seata_client::connection::Client;
use seata_client::tm::{GlobalError, TxContext, TxOptions};
use sqlx::{MySqlPool, raw_sql};

type Failure = Box<dyn Error + Send + Sync>;

const ACCOUNT: &str =
    "CREATE TABLE IF NOT EXISTS account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL);
     INSERT IGNORE INTO account VALUES (1, 100)";
const ADD: &str = "UPDATE account SET balance = balance + ? WHERE id = 1";
const READ: &str = "SELECT balance FROM account WHERE id = 1 FOR UPDATE";

/// A database whose local transactions can be branches.
async fn bank(client: &Client, url: &str) -> Result<(MySqlPool, AtPool), Failure> {
    let pool = MySqlPool::connect(url).await?;
    for sql in [UNDO_LOG_DDL, ACCOUNT] {
        raw_sql(sql).execute(&pool).await?;
    }
    let at = AtPool::new(pool.clone(), Arc::new(client.clone()), AtConfig::default()).await?;
    // From now on the coordinator asks this process for the second phases of the database.
    client.register_resource(at.resource()).await?;
    Ok((pool, at))
}

async fn transfer(xid: &Xid, from: &AtPool, to: &AtPool, amount: i64) -> Result<(), Failure> {
    to.execute(xid, ADD, &[amount.into()]).await?;
    let mut local = from.begin(xid).await?;
    local.execute(ADD, &[(-amount).into()]).await?;
    let rows = local.fetch(READ, &[]).await?;
    let left: i64 = sqlx::Row::try_get(&rows[0], 0)?;
    local.commit().await?;
    if left < 0 {
        // Both branches are in their databases by now; the coordinator has them undone.
        return Err(format!("{amount} are more than there are").into());
    }
    Ok(())
}

/// Two transfers of which the second is refused. Gives the balances then.
pub async fn run(seata: &str, from: &str, to: &str) -> Result<[i64; 2], Failure> {
    let client = Client::start(Config::new([seata], "transfer", "default_tx_group"))?;
    client.ready(Duration::from_secs(10)).await?;
    let (from_pool, from_bank) = bank(&client, from).await?;
    let (to_pool, to_bank) = bank(&client, to).await?;
    for amount in [30, 1000] {
        let body = async |context: TxContext| match context.xid {
            Some(xid) => transfer(&xid, &from_bank, &to_bank, amount).await,
            None => Err("no transaction was begun".into()),
        };
        match client.global_tx(TxOptions::new("transfer"), body).await {
            Ok(()) => println!("{amount} were transferred"),
            Err(GlobalError::Body { error, rollback }) => {
                println!("{amount} were not transferred: {error} ({rollback:?})");
            }
            // The coordinator could not be asked, or it decided otherwise.
            Err(error) => return Err(error.into()),
        }
    }
    let mut balances = [0; 2];
    for (balance, pool) in balances.iter_mut().zip([from_pool, to_pool]) {
        let read = sqlx::query_scalar("SELECT balance FROM account WHERE id = 1");
        *balance = read.fetch_one(&pool).await?;
    }
    // Undo rows of what was committed are deleted before it ends.
    from_bank.shutdown().await;
    to_bank.shutdown().await;
    client.shutdown(Duration::from_secs(10)).await;
    Ok(balances)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let setting = |name: &str| std::env::var(name).map_err(|_| format!("set {name}; see above"));
    let [from, to] = run(&setting("SEATA")?, &setting("FROM")?, &setting("TO")?).await?;
    println!("balances: {from} and {to}");
    Ok(())
}
