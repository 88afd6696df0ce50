//! Two databases with a thousand accounts, and what must be true of them in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use seata_client::at::Scope;
use seata_client::branch::{Resource as _, Xid};
use seata_client::codec::GlobalStatus;
use seata_client::config::Config;
use sqlx::{AssertSqlSafe, MySqlPool};

use crate::client::Office;
use crate::plan::ACCOUNTS;
use crate::support::bank::SOON;
use crate::support::database::{Mysql, pool};
use crate::support::process::until;
use crate::support::tc::Tc;
use crate::tally::Tally;

const DATABASES: usize = 2;
const BALANCE: i64 = 1000;
const TABLES: &str = concat!(
    include_str!("../support/undo_log.sql"),
    "CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL);
     CREATE TABLE entry (transfer BIGINT, account BIGINT, amount BIGINT NOT NULL,
         PRIMARY KEY (transfer, account));"
);

/// The database that an account is in.
pub(crate) fn home(account: i64) -> usize {
    usize::try_from(account).unwrap() % DATABASES
}

/// All client processes are replicas of one service.
pub(crate) fn config(tc: &str) -> Config {
    let mut config = Config::new([tc], "transfers", "group");
    config.tm_timeout = Duration::from_secs(10);
    config.end_wait = Duration::from_millis(500);
    config
}

#[derive(Debug)]
pub(crate) struct Town {
    pub(crate) port: u16,
    pub(crate) databases: Vec<String>,
    pools: Vec<MySqlPool>,
    server: MySqlPool,
}

impl Town {
    pub(crate) async fn new(mysql: &Mysql) -> Self {
        let mut databases = Vec::new();
        for n in 0..DATABASES {
            let database = mysql.database().await;
            mysql.run(&database, TABLES).await;
            let accounts: Vec<String> = (0..ACCOUNTS)
                .filter(|account| home(*account) == n)
                .map(|account| format!("({account}, {BALANCE})"))
                .collect();
            let insert = format!("INSERT INTO account VALUES {}", accounts.join(", "));
            mysql.run(&database, &insert).await;
            databases.push(database);
        }
        let pools = databases.iter().map(|name| mysql.pool(name, 2)).collect();
        Self {
            port: mysql.port,
            databases,
            pools,
            server: pool(mysql.port, "", 2),
        }
    }

    /// One more client does what is left to do, and then nothing may be left. Gives how many undo
    /// rows had to be swept: those of branches whose commit a client had answered and, killed
    /// before, not cleaned up after.
    pub(crate) async fn settle(&self, tc: &Tc) -> usize {
        let office = Office::open(&tc.address(), self.port, &self.databases).await;
        self.no_session_is_left(tc).await;
        for bank in &office.banks {
            let read = "SELECT id FROM account FOR UPDATE";
            let unlocked = async || {
                let rows = bank.fetch(Scope::GlobalLock, read, &[]).await;
                rows.is_ok().then_some(())
            };
            until("rows to be unlocked", 2 * SOON, unlocked).await;
        }
        let orphans = self.are_of_transactions_that_ended(&office).await;
        for bank in &office.banks {
            bank.resource().delete_undo(0).await;
        }
        for database in &self.pools {
            let left = count(database, "undo_log").await;
            assert_eq!(left, 0, "undo rows are left");
        }
        for bank in &office.banks {
            bank.shutdown().await;
        }
        office.client.shutdown(SOON).await;
        orphans
    }

    /// In the coordinator's tables, if it has any.
    async fn no_session_is_left(&self, tc: &Tc) {
        let Some(database) = tc.database() else {
            return;
        };
        let tables = ["global_table", "branch_table", "lock_table"];
        let none = async || {
            for table in tables {
                if count(&self.server, &format!("{database}.{table}")).await > 0 {
                    return None;
                }
            }
            Some(())
        };
        let what = "the coordinator's tables to be empty";
        until(what, 2 * SOON, none).await;
    }

    /// Waits until the coordinator knows nothing any more of the transactions that have undo rows;
    /// gives the number of these rows.
    async fn are_of_transactions_that_ended(&self, office: &Office) -> usize {
        let mut orphans = 0;
        for database in &self.pools {
            let rows = "SELECT xid FROM undo_log WHERE log_status = 0";
            let ended = async || {
                let xids: Vec<String> = sqlx::query_scalar(rows).fetch_all(database).await.unwrap();
                for xid in &xids {
                    let status = office.client.status(&Xid::new(xid)).await;
                    if status != Ok(GlobalStatus::Finished) {
                        return None;
                    }
                }
                Some(xids.len())
            };
            orphans += until("transactions to end", 2 * SOON, ended).await;
        }
        orphans
    }

    pub(crate) async fn books(&self) -> Books {
        let mut books = Books::default();
        for database in &self.pools {
            let accounts = "SELECT id, balance FROM account";
            let accounts = sqlx::query_as(accounts).fetch_all(database).await;
            books.balances.extend::<Vec<(i64, i64)>>(accounts.unwrap());
            let entries = "SELECT transfer, account, amount FROM entry";
            let entries = sqlx::query_as(entries).fetch_all(database).await;
            let entries: Vec<(i64, i64, i64)> = entries.unwrap();
            for (transfer, account, amount) in entries {
                let transfer = books.transfers.entry(transfer).or_default();
                transfer.push((account, amount));
            }
        }
        books
    }
}

async fn count(pool: &MySqlPool, table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Everything that was booked, in both databases.
#[derive(Debug, Default)]
pub(crate) struct Books {
    balances: BTreeMap<i64, i64>,
    /// The accounts and amounts of each.
    transfers: BTreeMap<i64, Vec<(i64, i64)>>,
}

impl Books {
    /// Everything that is not as it must be.
    pub(crate) fn breaches(&self, tally: &Tally) -> Vec<String> {
        let mut breaches = Vec::new();
        if self.sum() != ACCOUNTS * BALANCE {
            breaches.push(format!("the sum of all balances is {}", self.sum()));
        }
        let mut booked: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|id| (id, BALANCE)).collect();
        for (number, entries) in &self.transfers {
            let sum: i64 = entries.iter().map(|(_, amount)| amount).sum();
            if entries.len() != 2 || sum != 0 {
                breaches.push(format!("transfer {number} is not whole: {entries:?}"));
            }
            for (account, amount) in entries {
                *booked.entry(*account).or_default() += amount;
            }
        }
        let accounts: BTreeSet<_> = self.balances.keys().chain(booked.keys()).collect();
        for account in accounts {
            let (balance, booked) = (self.balances.get(account), booked.get(account));
            if balance != booked {
                breaches.push(format!("account {account}: {balance:?}, booked {booked:?}"));
            }
        }
        let told = |number: &i64, word| format!("transfer {number} was told as {word}");
        let is_there = |number: &&i64| self.transfers.contains_key(number);
        let lost = tally.committed.iter().filter(|number| !is_there(number));
        breaches.extend(lost.map(|number| told(number, "committed")));
        let kept = tally.not_committed.iter().filter(is_there);
        breaches.extend(kept.map(|number| told(number, "not committed")));
        breaches
    }

    fn sum(&self) -> i64 {
        self.balances.values().sum()
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "books: {} transfers, each whole and as its client was told; {} accounts with {} in \
             all, as in the beginning; no session, no lock, no undo row",
            self.transfers.len(),
            self.balances.len(),
            self.sum()
        )
    }
}
