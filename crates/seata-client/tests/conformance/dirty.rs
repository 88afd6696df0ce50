//! Somebody who knows nothing of global transactions changes their rows.

use std::io::Write;
use std::sync::{Arc, Mutex};

use seata_client::at::{Difference, RollbackError, Scope, Undone};
use seata_client::branch::Resource as _;
use seata_client::codec::GlobalStatus;
use tracing_subscriber::fmt::MakeWriter;

use crate::service;
use crate::support::bank::SOON;
use crate::support::tc::Version;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn a_row_that_others_changed_is_left_alone_and_told_of_column_by_column() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::ERROR)
        .with_writer(log.clone());
    // All of this test's tasks run on its thread.
    let _told = tracing::subscriber::set_default(subscriber.finish());
    for version in Version::ALL {
        let service = service(version).await;
        let xid = service.client.begin("dirty", SOON).await.unwrap();
        service.pay(&xid, -10, 1).await.unwrap();
        let resource = service.at.resource();
        let branches = service.bank.branches(resource.resource_id()).await;
        service
            .bank
            .run("UPDATE account SET balance = 7 WHERE id = 1")
            .await;
        let ended = service.client.rollback(&xid).await;
        assert_eq!(ended, Ok(GlobalStatus::RollbackFailed));
        assert_eq!(service.bank.balances().await, [7, 100, 100]);
        assert_eq!(service.at.metrics().dirty, 1);
        let RollbackError::Dirty(dirty) = resource.undo(&branches[0]).await.unwrap_err() else {
            panic!("not told as dirty")
        };
        let difference = Difference {
            column: "balance".to_owned(),
            expected: "90".to_owned(),
            found: "7".to_owned(),
        };
        assert_eq!(dirty.differences, [difference]);
        let logged = log.text();
        assert!(
            logged.contains(xid.as_str()) && logged.contains(&dirty.to_string()),
            "{logged}"
        );
        // The coordinator keeps the row's lock: nobody builds on it until a person has decided.
        let read = "SELECT id FROM account WHERE id = 1 FOR UPDATE";
        let refused = service.at.fetch(Scope::GlobalLock, read, &[]).await;
        assert!(refused.is_err(), "{refused:?}");

        service
            .bank
            .run("UPDATE account SET balance = 90 WHERE id = 1")
            .await;
        assert_eq!(resource.undo(&branches[0]).await.unwrap(), Undone::Rows);
        assert_eq!(service.bank.balances().await, [100, 100, 100]);
        assert_eq!(service.bank.undo_rows().await, 0);
    }
}
