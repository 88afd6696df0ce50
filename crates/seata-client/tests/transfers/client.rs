//! A client process: it launches transfers and has the branches of its own and of others.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use seata_client::at::{AtPool, AtTransaction};
use seata_client::branch::Xid;
use seata_client::connection::Client;
use seata_client::tm::{GlobalError, TxContext, TxOptions};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use crate::logs;
use crate::plan::{End, Plan};
use crate::support::bank::{SOON, at_config};
use crate::support::database::pool;
use crate::support::rerun::{say, task};
use crate::tally::Told;
use crate::town::{self, Town};

const WORKERS: u64 = 4;
/// Transfers of one process are numbered from its own thousandfold thousand.
pub(crate) const NUMBERS: i64 = 1_000_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Connections to a coordinator and to both databases.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) client: Client,
    pub(crate) banks: Vec<AtPool>,
}

impl Office {
    pub(crate) async fn open(tc: &str, port: u16, databases: &[String]) -> Self {
        let client = Client::start(town::config(tc)).unwrap();
        client.ready(SOON).await.unwrap();
        let mut banks = Vec::new();
        for database in databases {
            let connections = pool(port, database, 8);
            let coordinator = Arc::new(client.clone());
            let bank = AtPool::new(connections, coordinator, at_config()).await;
            let bank = bank.unwrap();
            // The coordinator may be killed right now; it is told of the resource when it is back.
            let _ = client.register_resource(bank.resource()).await;
            banks.push(bank);
        }
        Self { client, banks }
    }

    async fn begin(&self, xid: &Xid, account: i64) -> Result<AtTransaction, Failure> {
        let bank = &self.banks[town::home(account)];
        Ok(bank.begin(xid).await?)
    }

    async fn work(&self, xid: &Xid, number: i64, plan: Plan) -> Result<(), Failure> {
        tracing::info!(number, %xid, ?plan, "a transfer");
        let one_home = town::home(plan.from) == town::home(plan.to);
        let mut local = self.begin(xid, plan.from).await?;
        book(&mut local, number, plan.from, -plan.amount).await?;
        if !(plan.together && one_home) {
            local.commit().await?;
            local = self.begin(xid, plan.to).await?;
        }
        book(&mut local, number, plan.to, plan.amount).await?;
        local.commit().await?;
        match plan.end {
            End::Commit | End::Leave(_) => Ok(()),
            End::Fail => Err("as it was planned".into()),
            End::Dawdle(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }

    async fn transfer(&self, number: i64, plan: Plan) -> Told {
        let options = TxOptions::new("transfer").timeout(plan.timeout);
        let body = async |context: TxContext| self.work(&context.xid.unwrap(), number, plan).await;
        let work = self.client.global_tx(options, body);
        let ended = match plan.end {
            End::Leave(after) => tokio::time::timeout(after, work).await,
            _ => Ok(work.await),
        };
        match ended {
            Ok(Ok(())) => Told::Committed,
            Ok(Err(GlobalError::Begin(_))) => Told::NotBegun,
            Ok(Err(GlobalError::Body { .. } | GlobalError::NotCommitted { .. })) => {
                Told::NotCommitted
            }
            Err(_) | Ok(Err(GlobalError::OutcomeUnknown { .. })) => Told::Unknown,
            Ok(Err(other)) => panic!("{other:?}"),
        }
    }
}

async fn book(
    local: &mut AtTransaction,
    number: i64,
    account: i64,
    amount: i64,
) -> Result<(), Failure> {
    let change = "UPDATE account SET balance = balance + ? WHERE id = ?";
    local
        .execute(change, &[amount.into(), account.into()])
        .await?;
    let note = "INSERT INTO entry (transfer, account, amount) VALUES (?, ?, ?)";
    local
        .execute(note, &[number.into(), account.into(), amount.into()])
        .await?;
    Ok(())
}

fn log_to(file: &Path) {
    let file = std::fs::File::create(file).unwrap();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(LevelFilter::DEBUG)
        .with_writer(Mutex::new(file))
        .init();
}

/// What a client process is told.
pub(crate) fn orders(town: &Town, tc: &str, generation: i64, seed: u64) -> Value {
    json!({"tc": tc, "port": town.port, "databases": town.databases,
        "generation": generation, "seed": seed})
}

/// Not a test of its own: a client process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_process() {
    let Some(task) = task() else { return };
    if let Some(folder) = logs() {
        log_to(&folder.join(format!("client-{}.log", task["generation"])));
    }
    let databases: Vec<String> = serde_json::from_value(task["databases"].clone()).unwrap();
    let port = task["port"].as_u64().unwrap().try_into().unwrap();
    let office = Office::open(task["tc"].as_str().unwrap(), port, &databases).await;
    let numbers = AtomicI64::new(task["generation"].as_i64().unwrap() * NUMBERS);
    let seed = task["seed"].as_u64().unwrap();
    let worker = async |me: u64| {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(me));
        loop {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let told = office.transfer(number, Plan::draw(&mut random)).await;
            say(&told.text(number));
            if told == Told::NotBegun {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    join_all((0..WORKERS).map(worker)).await;
}
