//! Deletion of committed branches' undo rows, many at once.
//!
//! A batch that fails is kept and tried again; meanwhile the queue fills up, and what no longer
//! fits is asked for again by the coordinator. At shutdown the queue is emptied.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{AssertSqlSafe, MySqlPool};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use crate::at::metrics::{add, subtract};
use crate::at::pool::Shared;
use crate::branch::Xid;

/// After the end was asked for a batch is tried so often; what is left then is swept later.
const TRIES_AT_END: u32 = 3;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

type Done = (Xid, i64);

#[derive(Debug)]
pub(super) struct Deletes {
    shared: Arc<Shared>,
    queue: Mutex<Option<Sender<Done>>>,
    worker: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Deletes {
    pub(super) fn start(shared: Arc<Shared>, pool: MySqlPool) -> Self {
        let (queue, waiting) = mpsc::channel(shared.config.delete_queue.max(1));
        let worker = tokio::spawn(work(shared.clone(), pool, waiting));
        Self {
            shared,
            queue: Mutex::new(Some(queue)),
            worker: tokio::sync::Mutex::new(Some(worker)),
        }
    }

    /// `false`: the queue is full or closed.
    pub(super) fn add(&self, xid: &Xid, branch_id: i64) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted before: the worker may be faster.
        add(&self.shared.metrics.deletes_waiting, 1);
        let queued = queue
            .as_ref()
            .is_some_and(|queue| queue.try_send((xid.clone(), branch_id)).is_ok());
        if !queued {
            subtract(&self.shared.metrics.deletes_waiting, 1);
        }
        queued
    }

    /// Takes nothing more, and waits until everything is deleted.
    pub(super) async fn shutdown(&self) {
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let mut worker = self.worker.lock().await;
        if let Some(running) = worker.as_mut() {
            if let Err(error) = running.await {
                warn!(%error, "the deletion of undo rows ended badly");
            }
            *worker = None;
        }
    }
}

async fn work(shared: Arc<Shared>, pool: MySqlPool, mut waiting: Receiver<Done>) {
    while let Some(first) = waiting.recv().await {
        let batch = collect(&shared, first, &mut waiting).await;
        delete_surely(&shared, &pool, &batch, &waiting).await;
        subtract(&shared.metrics.deletes_waiting, batch.len());
    }
}

async fn collect(shared: &Shared, first: Done, waiting: &mut Receiver<Done>) -> Vec<Done> {
    let mut batch = vec![first];
    let deadline = Instant::now() + shared.config.delete_every;
    while batch.len() < shared.config.delete_batch {
        match timeout_at(deadline, waiting.recv()).await {
            Ok(Some(next)) => batch.push(next),
            Ok(None) | Err(_) => break,
        }
    }
    batch
}

async fn delete_surely(
    shared: &Shared,
    pool: &MySqlPool,
    batch: &[Done],
    waiting: &Receiver<Done>,
) {
    let mut pause = PAUSE_FIRST;
    let mut tries_at_end = 0;
    loop {
        let Err(error) = delete(shared, pool, batch).await else {
            add(&shared.metrics.deletes, batch.len());
            return;
        };
        add(&shared.metrics.delete_errors, 1);
        tries_at_end += u32::from(waiting.is_closed());
        if tries_at_end >= TRIES_AT_END {
            add(&shared.metrics.deletes_dropped, batch.len());
            warn!(%error, rows = batch.len(), "undo rows are left for the sweeper");
            return;
        }
        warn!(%error, rows = batch.len(), "undo rows were not deleted; trying again");
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn delete(shared: &Shared, pool: &MySqlPool, batch: &[Done]) -> Result<(), sqlx::Error> {
    let xids: BTreeSet<&str> = batch.iter().map(|(xid, _)| xid.as_str()).collect();
    let list = |n: usize| vec!["?"; n].join(", ");
    let sql = format!(
        "DELETE FROM {} WHERE xid IN ({}) AND (branch_id IN ({}) OR context IN ({}))",
        shared.undo_table,
        list(xids.len()),
        list(batch.len()),
        list(batch.len()),
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for xid in xids {
        query = query.bind(xid);
    }
    for (_, branch_id) in batch {
        query = query.bind(branch_id);
    }
    for (_, branch_id) in batch {
        query = query.bind(format!("branchId={branch_id}"));
    }
    query.execute(pool).await?;
    Ok(())
}
