//! The order database: orders and stock, as branches of global transactions.
//!
//! Guarantees: every change is a branch of the caller's global transaction, or respects the locks
//! of all. A bucket of stock is only taken from where it has enough; that there is too little is
//! said only of rows that nobody else holds.

mod branch;

use std::sync::Arc;

use anyhow::Context as _;
use contract::config;
use jiff::Timestamp;
use payment_core::Money;
use seata_client::at::{AtPool, Scope};
use seata_client::branch::Xid;
use seata_client::connection::Client;
use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{MySqlConnection, Row as _};
use tokio::sync::OnceCell;

use branch::{Branch, LOCKED_BUCKETS};

use super::confirmations::{BranchError, branches, moment_text};
use super::rows::{currency, moment, named};
use super::{StoreError, from_datetime};
use crate::orders::{Bucket, Goods, NewOrder, Order, OrderStatus, Pay, Verdict, judge, spread};

/// A product's buckets; see [`config::STOCK_BUCKETS`].
const BUCKETS: &str = "SELECT id, bucket, available FROM stock WHERE product_id = ? \
                       ORDER BY bucket LIMIT 64";
const ORDER: &str = "SELECT id, order_id, status, payment_id, amount, currency, created_at, \
                     paid_at FROM orders WHERE order_id = ?";
const GOODS: &str = "SELECT product_id, quantity FROM order_items WHERE order_id = ? \
                     ORDER BY product_id LIMIT 100";

/// What came of paying an order.
#[derive(Debug)]
pub(crate) enum Paid {
    Done { repeated: bool },
    Refused(String),
    InsufficientStock(String),
}

/// What came of placing an order.
#[derive(Debug)]
pub(crate) enum PlacedOrder {
    New,
    Same,
    /// It has other contents.
    Other,
}

/// A product's stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) quantity: u64,
    pub(crate) buckets: u64,
}

/// A pool of connections to the order database.
#[derive(Clone)]
pub struct OrderStore {
    pool: MySqlPool,
    client: Client,
    at: Arc<OnceCell<AtPool>>,
}

impl OrderStore {
    /// Prepares the pool without connecting.
    pub fn new(config: &config::Mysql, client: Client) -> anyhow::Result<Self> {
        Ok(Self {
            pool: super::pool(config)?,
            client,
            at: Arc::default(),
        })
    }

    /// Brings the schema up to date; several callers at once wait for each other.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        migrate(&self.pool).await
    }

    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Makes the database known to the coordinator, so that second phases find their way here
    /// also when no order is paid.
    pub(crate) async fn connect(&self) -> Result<(), BranchError> {
        self.at().await.map(|_| ())
    }

    /// Whether a channel to the coordinator is live.
    pub(crate) fn coordinator_answers(&self) -> bool {
        *self.client.readiness().borrow()
    }

    async fn at(&self) -> Result<&AtPool, BranchError> {
        let connect = || branches(&self.pool, &self.client);
        self.at.get_or_try_init(connect).await
    }

    /// Pays an order and deducts what it needs: as a branch of `xid`, or by itself.
    pub(crate) async fn pay(
        &self,
        xid: Option<Xid>,
        pay: &Pay,
        now: Timestamp,
    ) -> Result<Paid, BranchError> {
        let scope = xid.map_or(Scope::GlobalLock, Scope::Global);
        let mut tx = Branch(self.at().await?.begin(scope).await?);
        let order = tx.locked_order(&pay.order_id).await?;
        let goods = match judge(order.as_ref(), pay) {
            Verdict::Repeated => {
                tx.0.rollback().await?;
                return Ok(Paid::Done { repeated: true });
            }
            Verdict::Refused(why) => {
                tx.0.rollback().await?;
                return Ok(Paid::Refused(why));
            }
            Verdict::Record => {
                tx.record_paid(pay, now).await?;
                pay.goods.clone()
            }
            Verdict::Take => {
                tx.mark_paid(pay, now).await?;
                let own = order.map(|order| order.goods).unwrap_or_default();
                if own.is_empty() {
                    pay.goods.clone()
                } else {
                    own
                }
            }
        };
        for (product, quantity) in &goods {
            if let Err(why) = tx.deduct(&pay.order_id, product, *quantity).await? {
                tx.0.rollback().await?;
                return Ok(Paid::InsufficientStock(why));
            }
        }
        tx.0.commit().await?;
        Ok(Paid::Done { repeated: false })
    }

    /// Places an order that nobody has paid yet.
    pub(crate) async fn place(
        &self,
        new: &NewOrder,
        now: Timestamp,
    ) -> Result<PlacedOrder, BranchError> {
        let mut tx = Branch(self.at().await?.begin(Scope::GlobalLock).await?);
        if let Some(order) = tx.locked_order(&new.order_id).await? {
            tx.0.rollback().await?;
            let same = (order.amount, &order.goods) == (new.amount, &new.goods);
            return Ok(if same {
                PlacedOrder::Same
            } else {
                PlacedOrder::Other
            });
        }
        let sql = "INSERT INTO orders (order_id, status, amount, currency, created_at) \
                   VALUES (?, ?, ?, ?, ?)";
        let args = [
            new.order_id.as_str().into(),
            OrderStatus::Open.as_str().into(),
            new.amount.minor.into(),
            new.amount.currency.code().into(),
            moment_text(now).into(),
        ];
        tx.0.execute(sql, &args).await?;
        tx.insert_goods(&new.order_id, &new.goods).await?;
        tx.0.commit().await?;
        Ok(PlacedOrder::New)
    }

    /// Sets a product's stock. Buckets beyond `buckets` stay, empty.
    pub(crate) async fn set_stock(
        &self,
        product: &str,
        quantity: u64,
        buckets: u32,
    ) -> Result<(), BranchError> {
        let mut tx = Branch(self.at().await?.begin(Scope::GlobalLock).await?);
        let known = tx.buckets(LOCKED_BUCKETS, product).await?;
        let parts = spread(quantity, buckets);
        for (n, bucket) in known.iter().enumerate() {
            let available = parts.get(n).copied().unwrap_or_default();
            let sql = "UPDATE stock SET available = ? WHERE id = ?";
            let args = [available.into(), bucket.id.into()];
            tx.0.execute(sql, &args).await?;
        }
        for (n, available) in parts.iter().enumerate().skip(known.len()) {
            let number = u32::try_from(n).unwrap_or_default();
            let sql = "INSERT INTO stock (product_id, bucket, available) VALUES (?, ?, ?)";
            let args = [product.into(), number.into(), (*available).into()];
            tx.0.execute(sql, &args).await?;
        }
        tx.0.commit().await?;
        Ok(())
    }

    /// What a plain read shows; a global transaction may yet give some of it back.
    pub(crate) async fn stock(&self, product: &str) -> Result<Option<Stock>, StoreError> {
        let found = sqlx::query(BUCKETS)
            .bind(product)
            .fetch_all(&self.pool)
            .await?;
        let buckets = found.iter().map(bucket).collect::<Result<Vec<_>, _>>()?;
        let quantity = buckets.iter().map(|bucket| bucket.available).sum();
        Ok((!buckets.is_empty()).then_some(Stock {
            quantity,
            buckets: buckets.len() as u64,
        }))
    }

    /// What a plain read shows.
    pub(crate) async fn order(&self, order_id: &str) -> Result<Option<Order>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let row = sqlx::query(ORDER)
            .bind(order_id)
            .fetch_optional(&mut *connection)
            .await?;
        match row {
            Some(row) => Ok(Some(whole(&mut connection, &row, order_id).await?)),
            None => Ok(None),
        }
    }

    /// Deletes the undo rows that wait for it, and closes the connections.
    pub async fn close(&self) {
        if let Some(at) = self.at.get() {
            at.shutdown().await;
        }
        self.client
            .shutdown(std::time::Duration::from_secs(5))
            .await;
        self.pool.close().await;
    }
}

/// As that of the payments, a schema that is further than this version is left as it is.
async fn migrate(pool: &MySqlPool) -> anyhow::Result<()> {
    let mut migrator = sqlx::migrate!("./orders-migrations");
    migrator
        .set_ignore_missing(true)
        .run(pool)
        .await
        .context("cannot migrate the order database")
}

/// Brings the order database's schema up to date without a coordinator.
pub(crate) async fn migrate_orders(config: &config::Mysql) -> anyhow::Result<()> {
    let pool = super::pool(config)?;
    migrate(&pool).await?;
    pool.close().await;
    Ok(())
}

async fn whole(
    connection: &mut MySqlConnection,
    row: &MySqlRow,
    order_id: &str,
) -> Result<Order, StoreError> {
    let items = sqlx::query(GOODS)
        .bind(order_id)
        .fetch_all(connection)
        .await?;
    order(row, &items)
}

fn order(row: &MySqlRow, items: &[MySqlRow]) -> Result<Order, StoreError> {
    let item = |row: &MySqlRow| Ok((row.try_get("product_id")?, row.try_get("quantity")?));
    let goods: Result<Goods, StoreError> = items.iter().map(item).collect();
    Ok(Order {
        order_id: row.try_get("order_id")?,
        status: named(row, "status", "an order's status", OrderStatus::parse)?,
        payment_id: row.try_get("payment_id")?,
        amount: Money::new(row.try_get("amount")?, currency(row)?),
        goods: goods?,
        created_at: from_datetime(row.try_get("created_at")?),
        paid_at: moment(row, "paid_at")?,
    })
}

fn bucket(row: &MySqlRow) -> Result<Bucket, StoreError> {
    Ok(Bucket {
        id: row.try_get("id")?,
        available: row.try_get("available")?,
    })
}
