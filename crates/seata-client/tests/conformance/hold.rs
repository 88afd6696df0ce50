//! A TCC action: a hold is tried, and then kept or given up.

use std::sync::Arc;

use async_trait::async_trait;
use seata_client::branch::Xid;
use seata_client::tcc::{ActionError, Attempt, FENCE_TABLE, TccAction, TccError, TccResource};
use serde_json::json;
use sqlx::{AssertSqlSafe, MySqlConnection, raw_sql};

use crate::support::bank::Service;

const TABLE: &str = "CREATE TABLE hold (name VARCHAR(20) PRIMARY KEY, kept BOOLEAN NOT NULL)";

#[derive(Debug)]
pub(crate) struct Hold(String);

#[async_trait]
impl TccAction for Hold {
    fn name(&self) -> &str {
        &self.0
    }

    async fn confirm(
        &self,
        attempt: &Attempt,
        connection: &mut MySqlConnection,
    ) -> Result<(), ActionError> {
        let keep = "UPDATE hold SET kept = TRUE WHERE name = ?";
        settle(keep, attempt, connection).await
    }

    async fn cancel(
        &self,
        attempt: &Attempt,
        connection: &mut MySqlConnection,
    ) -> Result<(), ActionError> {
        settle("DELETE FROM hold WHERE name = ?", attempt, connection).await
    }
}

async fn settle(
    sql: &'static str,
    attempt: &Attempt,
    connection: &mut MySqlConnection,
) -> Result<(), ActionError> {
    let name = attempt.arguments["name"].as_str().ok_or("no name")?;
    sqlx::query(sql).bind(name).execute(connection).await?;
    Ok(())
}

/// The action beside a service's AT.
pub(crate) async fn holds(service: &Service) -> Arc<TccResource<Hold>> {
    for sql in [TABLE, FENCE_TABLE] {
        let sql = AssertSqlSafe(sql.to_owned());
        raw_sql(sql).execute(&service.bank.plain).await.unwrap();
    }
    // Actions have one space of names at a coordinator.
    let action = Hold(format!("hold-{}", service.bank.database));
    let coordinator = Arc::new(service.client.clone());
    let resource = TccResource::new(action, service.bank.plain.clone(), coordinator).unwrap();
    let resource = Arc::new(resource);
    service.register(resource.clone()).await;
    resource
}

pub(crate) async fn hold(
    resource: &TccResource<Hold>,
    service: &Service,
    xid: &Xid,
    name: &str,
) -> Result<(), TccError> {
    let mut local = service.bank.plain.begin().await.unwrap();
    let arguments = json!({ "name": name });
    resource.attempt(xid, &arguments, &mut local).await?;
    sqlx::query("INSERT INTO hold VALUES (?, FALSE)")
        .bind(name)
        .execute(&mut *local)
        .await
        .unwrap();
    local.commit().await.unwrap();
    Ok(())
}

/// Each hold, and whether it is kept.
pub(crate) async fn all(service: &Service) -> Vec<(String, bool)> {
    sqlx::query_as("SELECT name, kept FROM hold ORDER BY name")
        .fetch_all(&service.bank.plain)
        .await
        .unwrap()
}
