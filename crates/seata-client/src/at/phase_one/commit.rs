//! The end of a local transaction: locks, registration, undo log, COMMIT.

use sqlx::{AssertSqlSafe, raw_sql};
use tracing::warn;

use super::{AtTransaction, Scope};
use crate::at::backoff::Backoff;
use crate::at::error::{DUPLICATE_KEY, Error, server_code};
use crate::at::lock_key::LockKeys;
use crate::at::metrics::add;
use crate::at::pool::Shared;
use crate::at::session::Session;
use crate::at::undo::{BranchUndo, Context, encode};
use crate::branch::{BranchType, CoordinatorError, NewBranch, Xid};
use crate::registration;

/// Logs up to this size go with COMMIT in one round trip, as text.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// What a packet has besides its part of a log.
const PACKET_SHARE: (u64, u64) = (8, 10);
/// The column `context`.
const CONTEXT_CHARACTERS_MAX: usize = 128;
/// Server errors after which it is not certain that COMMIT did nothing.
const ERRORS_DURING_COMMIT: [u16; 3] = [1180, 3100, 3101];

pub(super) async fn commit(transaction: AtTransaction) -> Result<(), Error> {
    if transaction.broken {
        transaction.rollback().await?;
        return Err(Error::Broken);
    }
    let branch = match &transaction.scope {
        Scope::Local => None,
        Scope::Global(_) => (!transaction.work.items.is_empty()).then_some(()),
        Scope::GlobalLock if transaction.work.locks.is_empty() => None,
        Scope::GlobalLock => {
            let allowed = wait_until_lockable(&transaction, &transaction.work.locks).await;
            if let Err(error) = allowed {
                transaction.rollback().await?;
                return Err(error);
            }
            None
        }
    };
    match branch {
        Some(()) => commit_branch(transaction).await,
        None => transaction.session.commit().await.map_err(|error| {
            if error.as_database_error().is_some() {
                return Error::Database(error);
            }
            Error::CommitUnknown(error)
        }),
    }
}

fn new_branch(transaction: &AtTransaction, locks: &LockKeys) -> NewBranch {
    let xid = match &transaction.scope {
        Scope::Global(xid) => xid.clone(),
        Scope::Local | Scope::GlobalLock => Xid::new(""),
    };
    // So the coordinator can tell at once that waiting would be in the way of a rollback.
    let held = r#"{"autoCommit":false}"#;
    let application_data = if transaction.autocommit { "" } else { held };
    NewBranch {
        xid,
        branch_type: BranchType::At,
        resource_id: transaction.shared.resource_id.clone(),
        lock_keys: locks.text(),
        application_data: application_data.to_owned(),
    }
}

#[derive(Clone, Copy)]
enum Ask {
    Register,
    Lockable,
}

pub(super) async fn wait_until_lockable(
    transaction: &AtTransaction,
    locks: &LockKeys,
) -> Result<(), Error> {
    let branch = new_branch(transaction, locks);
    ask(transaction, &branch, Ask::Lockable).await.map(|_| ())
}

/// Asks until the deadline. A statement of its own is asked for once: its caller frees the rows
/// before it tries again.
async fn ask(transaction: &AtTransaction, branch: &NewBranch, ask: Ask) -> Result<i64, Error> {
    let shared = &transaction.shared;
    let mut backoff = Backoff::new(&shared.config);
    loop {
        let answer = match ask {
            Ask::Register => {
                let believed_within = shared.config.registration_believed_within;
                registration::register(&*shared.coordinator, branch, believed_within).await
            }
            Ask::Lockable => match shared.coordinator.lockable(branch).await {
                Ok(true) => Ok(0),
                Ok(false) => Err(CoordinatorError::LockConflict {
                    holder: None,
                    fail_fast: false,
                    message: format!("one of {} is locked", branch.lock_keys),
                }),
                Err(error) => Err(error),
            },
        };
        let (holder, fail_fast, message) = match answer {
            Ok(id) => return Ok(id),
            Err(CoordinatorError::LockConflict {
                holder,
                fail_fast,
                message,
            }) => (holder, fail_fast, message),
            Err(error) => return Err(Error::Coordinator(error)),
        };
        add(&shared.metrics.lock_conflicts, 1);
        if transaction.autocommit || fail_fast || !backoff.pause().await {
            return Err(Error::LockConflict {
                holder,
                waited: backoff.waited(),
                fail_fast,
                message,
            });
        }
    }
}

async fn commit_branch(transaction: AtTransaction) -> Result<(), Error> {
    let branch = new_branch(&transaction, &transaction.work.locks);
    let registered = ask(&transaction, &branch, Ask::Register).await;
    let AtTransaction {
        shared,
        session,
        work,
        ..
    } = transaction;
    let branch_id = match registered {
        Ok(id) => id,
        Err(error) => {
            roll_back(session).await;
            return Err(error);
        }
    };
    add(&shared.metrics.branches, 1);
    let undo = BranchUndo {
        xid: branch.xid.as_str().to_owned(),
        branch_id,
        items: work.items,
    };
    let Err((error, certain)) = flush(&shared, session, &undo).await else {
        return Ok(());
    };
    add(&shared.metrics.branches_failed, 1);
    // Said only if nothing of the branch stays: the coordinator does not roll such a branch back.
    if certain && let Err(error) = shared.coordinator.report_failed(&branch, branch_id).await {
        warn!(xid = undo.xid, branch_id, %error, "the coordinator was not told that a branch failed");
    }
    Err(error)
}

/// Rolls back; if that fails the session closes its connection, which does the same.
async fn roll_back(session: Session) {
    if let Err(error) = session.rollback().await {
        warn!(%error, "a local transaction was ended by closing its connection");
    }
}

/// Writes the undo log and commits. On an error also whether it is certain that nothing stays.
async fn flush(
    shared: &Shared,
    mut session: Session,
    undo: &BranchUndo,
) -> Result<(), (Error, bool)> {
    let rows = match rows(shared, undo) {
        Ok(rows) => rows,
        Err(error) => {
            roll_back(session).await;
            return Err((error, true));
        }
    };
    let written = match inline(shared, undo, &rows) {
        Some(sql) => write_inline(&mut session, sql).await,
        None => write_bound(shared, &mut session, undo, rows).await,
    };
    match written {
        Ok(true) => {
            session.ended();
            Ok(())
        }
        Ok(false) => session.commit().await.map_err(|error| failed(error, false)),
        Err(error) => {
            let server_says_no = error.as_database_error().is_some();
            if server_says_no {
                roll_back(session).await;
            }
            Err(failed(error, server_says_no))
        }
    }
}

fn failed(error: sqlx::Error, server_says_no: bool) -> (Error, bool) {
    match server_code(&error) {
        Some(DUPLICATE_KEY) => (Error::AlreadyRolledBack(error), true),
        Some(code) if ERRORS_DURING_COMMIT.contains(&code) => (Error::CommitUnknown(error), false),
        Some(_) => (Error::Database(error), server_says_no),
        None => (Error::CommitUnknown(error), false),
    }
}

/// A row of the undo table.
struct Row {
    branch_id: i64,
    context: String,
    info: Vec<u8>,
}

/// The log as rows: one, or several if it is too large for one.
fn rows(shared: &Shared, undo: &BranchUndo) -> Result<Vec<Row>, Error> {
    let (info, compression) = encode(undo, shared.config.classes).map_err(Error::Undo)?;
    let (share, whole) = PACKET_SHARE;
    let limit = usize::try_from(shared.packet_bytes_max / whole * share).unwrap_or(usize::MAX);
    let mut context = Context {
        compression,
        ..Context::default()
    };
    if info.len() <= limit {
        return Ok(vec![Row {
            branch_id: undo.branch_id,
            context: context.to_string(),
            info,
        }]);
    }
    let mut rows = Vec::new();
    for part in info.chunks(limit) {
        // Ascending: Java puts the parts together in the order of their ids. Short: they must all
        // fit into the context. They only have to differ within the global transaction.
        let first = (undo.branch_id & 0x3f_ffff) << 5;
        let branch_id = first + i64::try_from(rows.len()).unwrap_or_default();
        rows.push(Row {
            branch_id,
            context: format!("branchId={}", undo.branch_id),
            info: part.to_vec(),
        });
    }
    context.packet = Some(shared.packet_bytes_max);
    context.sub_ids = rows.iter().skip(1).map(|row| row.branch_id).collect();
    let context = context.to_string();
    if context.len() > CONTEXT_CHARACTERS_MAX {
        return Err(Error::UndoTooLarge { bytes: info.len() });
    }
    if let Some(main) = rows.first_mut() {
        main.branch_id = undo.branch_id;
        main.context = context;
    }
    Ok(rows)
}

/// The insertion of a small log together with COMMIT, as one text.
fn inline(shared: &Shared, undo: &BranchUndo, rows: &[Row]) -> Option<String> {
    let [row] = rows else {
        return None;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ":.-_&=,".contains(c);
    let texts = undo.xid.chars().chain(row.context.chars());
    if row.info.len() > INLINE_BYTES_MAX || !texts.into_iter().all(plain) {
        return None;
    }
    let table = &shared.undo_table;
    let (xid, context, info) = (&undo.xid, &row.context, hex::encode(&row.info));
    Some(format!(
        "INSERT INTO {table} (branch_id, xid, context, rollback_info, log_status, log_created, \
         log_modified) VALUES ({}, '{xid}', '{context}', x'{info}', 0, NOW(6), NOW(6)); COMMIT",
        row.branch_id
    ))
}

/// `true`: committed with it.
async fn write_inline(session: &mut Session, sql: String) -> Result<bool, sqlx::Error> {
    let connection = session.work().map_err(|_| sqlx::Error::PoolClosed)?;
    let written = raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    if written.is_ok()
        || written
            .as_ref()
            .is_err_and(|e| e.as_database_error().is_some())
    {
        session.rest();
    }
    written.map(|_| true)
}

async fn write_bound(
    shared: &Shared,
    session: &mut Session,
    undo: &BranchUndo,
    rows: Vec<Row>,
) -> Result<bool, sqlx::Error> {
    let connection = session.work().map_err(|_| sqlx::Error::PoolClosed)?;
    let sql = format!(
        "INSERT INTO {} (branch_id, xid, context, rollback_info, log_status, log_created, \
         log_modified) VALUES (?, ?, ?, ?, 0, NOW(6), NOW(6))",
        shared.undo_table
    );
    for row in rows {
        let inserted = sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(row.branch_id)
            .bind(&undo.xid)
            .bind(row.context)
            .bind(row.info)
            .execute(&mut *connection)
            .await;
        if let Err(error) = inserted {
            if error.as_database_error().is_some() {
                session.rest();
            }
            return Err(error);
        }
    }
    session.rest();
    Ok(false)
}
