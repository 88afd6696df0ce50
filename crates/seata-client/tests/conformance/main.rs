//! The whole client with real coordinators, 1.8.0 and 2.0.0, and a real MySQL: what a user is
//! promised, also when processes and networks die at the worst moment.
//!
//! At the end of every test no row is locked and no undo row is left.

#![cfg(test)]

mod crashes;
mod dirty;
mod ends;
mod everything;
mod example;
mod hold;
mod late;
mod locks;
mod networks;
mod restarts;
mod services;
#[path = "../at/statements.rs"]
mod statements;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;

use tokio::sync::OnceCell;

use support::bank::{Bank, Service};
use support::database::Mysql;
use support::tc::{Store, Tc, Version};

/// Whatever the body of a global transaction fails with.
type Failure = Box<dyn Error + Send + Sync>;

async fn mysql() -> &'static Mysql {
    static MYSQL: OnceCell<Mysql> = OnceCell::const_new();
    MYSQL.get_or_init(Mysql::start).await
}

/// One coordinator of each version for all tests that do it no harm.
async fn coordinator(version: Version) -> &'static Tc {
    static V1_8: OnceCell<Tc> = OnceCell::const_new();
    static V2_0: OnceCell<Tc> = OnceCell::const_new();
    let (cell, store) = match version {
        Version::V1_8 => (&V1_8, Store::File),
        Version::V2_0 => (&V2_0, Store::Db(mysql().await)),
    };
    // Told if a test fails.
    println!("coordinator {version:?}");
    cell.get_or_init(|| Tc::start(version, store)).await
}

/// A bank, and a service on it.
async fn service(version: Version) -> Service {
    let address = coordinator(version).await.address();
    Service::start(&address, &Bank::new(mysql().await).await).await
}

/// The same with each coordinator, at the same time.
async fn both(test: impl AsyncFn(Version)) {
    futures::future::join_all(Version::ALL.map(|version| test(version))).await;
}
