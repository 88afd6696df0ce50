//! One local transaction on the order database: a branch of a global transaction, or one that
//! respects its locks.

use jiff::Timestamp;
use seata_client::at::{AtTransaction, Executed, Value};

use super::{BUCKETS, GOODS, bucket, order};
use crate::orders::{Bucket, Goods, Order, OrderStatus, Pay, first_bucket, takes};
use crate::store::confirmations::{BranchError, moment_text};

/// How often stock is looked for again when others took it meanwhile.
const LOOKS_MAX: u32 = 8;
pub(super) const LOCKED_BUCKETS: &str = "SELECT id, bucket, available FROM stock WHERE product_id = ? \
                              ORDER BY bucket LIMIT 64 FOR UPDATE";
const LOCKED_ORDER: &str = "SELECT id, order_id, status, payment_id, amount, currency, \
                            created_at, paid_at FROM orders WHERE order_id = ? FOR UPDATE";

/// One local transaction on the order database.
pub(super) struct Branch(pub(super) AtTransaction);

impl Branch {
    pub(super) async fn locked_order(
        &mut self,
        order_id: &str,
    ) -> Result<Option<Order>, BranchError> {
        let found = self.0.fetch(LOCKED_ORDER, &[order_id.into()]).await?;
        let Some(row) = found.first() else {
            return Ok(None);
        };
        let items = self.0.fetch(GOODS, &[order_id.into()]).await?;
        Ok(Some(order(row, &items)?))
    }

    pub(super) async fn record_paid(
        &mut self,
        pay: &Pay,
        now: Timestamp,
    ) -> Result<Executed, BranchError> {
        let sql = "INSERT INTO orders (order_id, status, payment_id, amount, currency, \
                   created_at, paid_at) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let now = moment_text(now);
        let args = [
            pay.order_id.as_str().into(),
            OrderStatus::Paid.as_str().into(),
            pay.payment_id.as_str().into(),
            pay.amount.minor.into(),
            pay.amount.currency.code().into(),
            now.as_str().into(),
            now.as_str().into(),
        ];
        let done = self.0.execute(sql, &args).await?;
        self.insert_goods(&pay.order_id, &pay.goods).await?;
        Ok(done)
    }

    pub(super) async fn insert_goods(
        &mut self,
        order_id: &str,
        goods: &Goods,
    ) -> Result<(), BranchError> {
        for (product, quantity) in goods {
            let sql = "INSERT INTO order_items (order_id, product_id, quantity) VALUES (?, ?, ?)";
            let args = [order_id.into(), product.as_str().into(), (*quantity).into()];
            self.0.execute(sql, &args).await?;
        }
        Ok(())
    }

    pub(super) async fn mark_paid(&mut self, pay: &Pay, now: Timestamp) -> Result<(), BranchError> {
        let sql = "UPDATE orders SET status = ?, payment_id = ?, paid_at = ? \
                   WHERE order_id = ? AND status = 'OPEN'";
        let args = [
            OrderStatus::Paid.as_str().into(),
            pay.payment_id.as_str().into(),
            moment_text(now).into(),
            pay.order_id.as_str().into(),
        ];
        self.0.execute(sql, &args).await?;
        Ok(())
    }

    pub(super) async fn buckets(
        &mut self,
        sql: &'static str,
        product: &str,
    ) -> Result<Vec<Bucket>, BranchError> {
        let found = self.0.fetch(sql, &[product.into()]).await?;
        Ok(found.iter().map(bucket).collect::<Result<_, _>>()?)
    }

    /// Takes a quantity of a product; why not, if there is too little.
    pub(super) async fn deduct(
        &mut self,
        order_id: &str,
        product: &str,
        quantity: u64,
    ) -> Result<Result<(), String>, BranchError> {
        let mut left = quantity;
        for _ in 0..LOOKS_MAX {
            let parts = match self.parts(order_id, product, left).await? {
                Ok(parts) => parts,
                Err(available) => {
                    let had = available + (quantity - left);
                    let why = format!("Product {product}: {quantity} wanted, {had} there.");
                    return Ok(Err(why));
                }
            };
            for (id, part) in parts {
                if self.take(id, part).await? {
                    left -= part;
                }
            }
            if left == 0 {
                return Ok(Ok(()));
            }
        }
        let why = format!("others take product {product} at the same time");
        Err(BranchError::Busy(why))
    }

    /// From which buckets a quantity can be taken; what is there, if it is less.
    async fn parts(
        &mut self,
        order_id: &str,
        product: &str,
        quantity: u64,
    ) -> Result<Result<Vec<(u64, u64)>, u64>, BranchError> {
        let buckets = self.buckets(BUCKETS, product).await?;
        let first = first_bucket(order_id, buckets.len());
        if let Some(parts) = takes(&buckets, first, quantity) {
            return Ok(Ok(parts));
        }
        // What others hold may come back: that is not theirs to refuse by.
        let buckets = self.buckets(LOCKED_BUCKETS, product).await?;
        let first = first_bucket(order_id, buckets.len());
        let available = buckets.iter().map(|bucket| bucket.available).sum();
        Ok(takes(&buckets, first, quantity).ok_or(available))
    }

    /// False: the bucket has less by now.
    async fn take(&mut self, id: u64, part: u64) -> Result<bool, BranchError> {
        let sql = "UPDATE stock SET available = available - ? WHERE id = ? AND available >= ?";
        let args: [Value; 3] = [part.into(), id.into(), part.into()];
        Ok(self.0.execute(sql, &args).await?.rows_affected == 1)
    }
}
