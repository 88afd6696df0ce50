//! Two global transactions that want the same rows, and readers that want neither's dirt.

use std::time::Duration;

use seata_client::at::{AtConfig, Error, Scope};
use seata_client::branch::{Branch, Xid};
use seata_client::codec::GlobalStatus;
use sqlx::Row as _;

use crate::support::bank::{Bank, Gate, PAY, SOON, Service, at_config, config};
use crate::support::process::until;
use crate::{both, coordinator, mysql, service};

const READ: &str = "SELECT balance FROM account WHERE id = 1 FOR UPDATE";

async fn begin(service: &Service) -> Xid {
    service.client.begin("locks", SOON).await.unwrap()
}

async fn read(service: &Service, scope: impl Into<Scope>) -> Result<i64, Error> {
    let rows = service.at.fetch(scope, READ, &[]).await?;
    Ok(rows[0].get(0))
}

fn is_conflict<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::LockConflict { .. }))
}

#[tokio::test]
async fn rows_of_a_transaction_are_nobody_elses_until_it_ends() {
    let impatient = AtConfig {
        lock_deadline: Duration::from_millis(200),
        ..at_config()
    };
    both(async |version| {
        let address = coordinator(version).await.address();
        let bank = Bank::new(mysql().await).await;
        let holder = Service::start(&address, &bank).await;
        let other = Service::start_with(config(&address, &bank), impatient.clone(), &bank).await;
        let (first, second) = (begin(&holder).await, begin(&other).await);
        holder.pay(&first, -10, 1).await.unwrap();
        let refused = other.pay(&second, -1, 1).await;
        assert!(is_conflict(&refused), "{refused:?}");
        let mut local = other.at.begin(&second).await.unwrap();
        local.execute(PAY, &[(-1).into(), 1.into()]).await.unwrap();
        let refused = local.commit().await;
        assert!(is_conflict(&refused), "{refused:?}");
        // Neither a global transaction nor a reader without one may see what can be undone.
        for scope in [Scope::from(&second), Scope::GlobalLock] {
            let refused = read(&other, scope).await;
            assert!(is_conflict(&refused), "{refused:?}");
        }
        other.pay(&second, -1, 2).await.unwrap();
        assert_eq!(
            holder.client.commit(&first).await,
            Ok(GlobalStatus::Committed)
        );
        assert_eq!(read(&other, Scope::GlobalLock).await.unwrap(), 90);
        other.pay(&second, -1, 1).await.unwrap();
        let ended = other.client.rollback(&second).await;
        assert_eq!(ended, Ok(GlobalStatus::Rollbacked));
        assert_eq!(bank.balances().await, [90, 100, 100]);
        holder.settled().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_gets_the_row_when_its_holder_commits_or_rolls_back() {
    both(async |version| {
        let service = service(version).await;
        for (commits, left) in [(true, 90), (false, 90)] {
            let (first, second) = (begin(&service).await, begin(&service).await);
            let conflicts = service.at.metrics().lock_conflicts;
            service.pay(&first, -10, 1).await.unwrap();
            let waiting = service.pay(&second, -5, 1);
            let ending = async {
                until("somebody to wait", SOON, async || {
                    (service.at.metrics().lock_conflicts > conflicts).then_some(())
                })
                .await;
                if commits {
                    service.client.commit(&first).await
                } else {
                    service.client.rollback(&first).await
                }
            };
            let (waited, ended) = tokio::join!(waiting, ending);
            waited.unwrap();
            ended.unwrap();
            service.client.rollback(&second).await.unwrap();
            assert_eq!(service.bank.balances().await, [left, 100, 100]);
            service.settled().await;
        }
    })
    .await;
}

/// To hold rows and wait for one that rolls back would be in its way. The code that says so is
/// another in each version.
#[tokio::test]
async fn whoever_waits_for_one_that_rolls_back_gives_way_at_once() {
    both(async |version| {
        let address = coordinator(version).await.address();
        let bank = Bank::new(mysql().await).await;
        let holder = Service::unregistered(config(&address, &bank), at_config(), &bank).await;
        let gate = Gate::closed(holder.at.resource());
        holder.register(gate.clone()).await;
        let first = begin(&holder).await;
        holder.pay(&first, -10, 1).await.unwrap();
        let rollback = tokio::spawn({
            let (client, first) = (holder.client.clone(), first.clone());
            async move { client.rollback(&first).await }
        });
        gate.reached().await;
        let other = Service::unregistered(config(&address, &bank), at_config(), &bank).await;
        let second = begin(&other).await;
        let mut local = other.at.begin(&second).await.unwrap();
        local.execute(PAY, &[(-1).into(), 1.into()]).await.unwrap();
        let refused = local.commit().await.unwrap_err();
        let told = matches!(
            refused,
            Error::LockConflict {
                fail_fast: true,
                ..
            }
        );
        assert!(told, "{refused:?}");
        gate.open();
        let ended = rollback.await.unwrap();
        assert_eq!(ended, Ok(GlobalStatus::Rollbacked));
        other.client.rollback(&second).await.unwrap();
        assert_eq!(bank.balances().await, [100, 100, 100]);
        holder.settled().await;
    })
    .await;
}

#[tokio::test]
async fn transfers_that_get_in_each_others_way_lose_nothing() {
    both(async |version| {
        let service = service(version).await;
        let transfer = async |n: i64| {
            let xid = begin(&service).await;
            let (from, to) = (1 + n % 3, 1 + (n + 1) % 3);
            let paid = service.pay(&xid, -n, from).await;
            let got = service.pay(&xid, n, to).await;
            let ended = if paid.is_ok() && got.is_ok() && n % 4 != 0 {
                service.client.commit(&xid).await
            } else {
                service.client.rollback(&xid).await
            };
            ended.unwrap();
            service.ended(&xid).await;
        };
        futures::future::join_all((0..12).map(transfer)).await;
        let balances = service.bank.balances().await;
        assert_eq!(balances.iter().sum::<i64>(), 300, "{balances:?}");
        service.settled().await;
        let left: Vec<Branch> = service.bank.branches("").await;
        assert_eq!(left, []);
    })
    .await;
}
