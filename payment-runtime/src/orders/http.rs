//! The order service's HTTP (docs/orders.md).
//!
//! Guarantees: errors are `application/problem+json`; bodies are bounded; a request that names a
//! global transaction (`TX_XID`) takes part in it, or is refused.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::config::STOCK_BUCKETS;
use jiff::Timestamp;
use payment_core::{Currency, Money};
use seata_client::branch::Xid;
use seata_client::http::JoinLayer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Goods, NewOrder, Order, OrderStore, Pay, goods};
use crate::api::{Code, Problem, check_id, items, json, positive, require_json};
use crate::ports::Host;
use crate::store::confirmations::BranchError;
use crate::store::orders::{Paid, PlacedOrder};

/// As the payment API takes; a real request is below 2 kB.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// More of one product is a mistake.
const QUANTITY_MAX: u64 = 1_000_000_000_000;

/// What the routes work with.
pub struct Orders {
    pub store: OrderStore,
    pub host: Arc<dyn Host>,
    /// Parts into which a product's stock is divided unless the request says otherwise.
    pub stock_buckets: u32,
}

/// The routes of the role `orders`.
pub fn router(orders: Arc<Orders>) -> Router {
    Router::new()
        .route("/api/orders/{order_id}", get(show).put(place))
        .route("/api/orders/{order_id}/pay", post(pay))
        .route("/api/stock/{product_id}", get(show_stock).put(set_stock))
        .layer(JoinLayer)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(orders)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlaceBody {
    amount: Box<RawValue>,
    currency: String,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PayBody {
    payment_id: String,
    amount: Box<RawValue>,
    currency: String,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StockBody {
    quantity: u64,
    buckets: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemView {
    product_id: String,
    quantity: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderView {
    order_id: String,
    status: &'static str,
    amount: String,
    currency: &'static str,
    items: Vec<ItemView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StockView {
    product_id: String,
    quantity: u64,
    buckets: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaidView {
    order_id: String,
    status: &'static str,
    payment_id: String,
    /// It was paid by this payment before.
    repeated: bool,
}

async fn place(
    State(orders): State<Arc<Orders>>,
    Path(order_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    require_json(&headers)?;
    check_id("orderId", &order_id)?;
    let body: PlaceBody = json(&body)?;
    let new = NewOrder {
        amount: amount(&body.amount, &body.currency)?,
        goods: bought(&body.items)?,
        order_id,
    };
    let status = match orders.store.place(&new, orders.host.now()).await? {
        PlacedOrder::New => StatusCode::CREATED,
        PlacedOrder::Same => StatusCode::OK,
        PlacedOrder::Other => {
            let detail = "The order was placed before with other contents.";
            return Err(Problem::new(Code::OrderIdReused, detail));
        }
    };
    let order = find(&orders, &new.order_id).await?;
    Ok((status, Json(view(order))).into_response())
}

async fn show(
    State(orders): State<Arc<Orders>>,
    Path(order_id): Path<String>,
) -> Result<Json<OrderView>, Problem> {
    check_id("orderId", &order_id)?;
    Ok(Json(view(find(&orders, &order_id).await?)))
}

async fn pay(
    State(orders): State<Arc<Orders>>,
    Path(order_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<PaidView>, Problem> {
    require_json(&headers)?;
    check_id("orderId", &order_id)?;
    let body: PayBody = json(&body)?;
    check_id("paymentId", &body.payment_id)?;
    let pay = Pay {
        amount: amount(&body.amount, &body.currency)?,
        goods: bought(&body.items)?,
        payment_id: body.payment_id,
        order_id,
    };
    let paid = orders.store.pay(Xid::current(), &pay, orders.host.now());
    match paid.await? {
        Paid::Done { repeated } => Ok(Json(PaidView {
            order_id: pay.order_id,
            status: super::OrderStatus::Paid.as_str(),
            payment_id: pay.payment_id,
            repeated,
        })),
        Paid::Refused(why) => Err(Problem::new(Code::OrderRefused, why)),
        Paid::InsufficientStock(why) => Err(Problem::new(Code::InsufficientStock, why)),
    }
}

async fn set_stock(
    State(orders): State<Arc<Orders>>,
    Path(product_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StockView>, Problem> {
    require_json(&headers)?;
    check_id("productId", &product_id)?;
    let body: StockBody = json(&body)?;
    if body.quantity > QUANTITY_MAX {
        let problem = "must be at most 1000000000000";
        return Err(Problem::invalid("quantity", problem));
    }
    let buckets = body.buckets.unwrap_or(orders.stock_buckets);
    if !STOCK_BUCKETS.contains(&buckets) {
        return Err(Problem::invalid("buckets", "must be between 1 and 64"));
    }
    let set = orders.store.set_stock(&product_id, body.quantity, buckets);
    set.await?;
    stock_view(&orders, product_id).await
}

async fn show_stock(
    State(orders): State<Arc<Orders>>,
    Path(product_id): Path<String>,
) -> Result<Json<StockView>, Problem> {
    check_id("productId", &product_id)?;
    stock_view(&orders, product_id).await
}

async fn stock_view(orders: &Orders, product_id: String) -> Result<Json<StockView>, Problem> {
    let Some(stock) = orders.store.stock(&product_id).await? else {
        let detail = "There is no stock of this product.";
        return Err(Problem::new(Code::ProductNotFound, detail));
    };
    Ok(Json(StockView {
        product_id,
        quantity: stock.quantity,
        buckets: stock.buckets,
    }))
}

async fn find(orders: &Orders, order_id: &str) -> Result<Order, Problem> {
    let found = orders.store.order(order_id).await?;
    found.ok_or_else(|| Problem::new(Code::OrderNotFound, "There is no order of this id."))
}

fn view(order: Order) -> OrderView {
    let item = |(product_id, quantity)| ItemView {
        product_id,
        quantity,
    };
    OrderView {
        order_id: order.order_id,
        status: order.status.as_str(),
        amount: order.amount.to_decimal(),
        currency: order.amount.currency.code(),
        items: order.goods.into_iter().map(item).collect(),
        payment_id: order.payment_id,
        created_at: order.created_at,
        paid_at: order.paid_at,
    }
}

fn amount(raw: &RawValue, currency: &str) -> Result<Money, Problem> {
    let currency = Currency::parse(currency).map_err(|error| Problem::money(&error))?;
    positive(raw, currency)
}

fn bought(given: &[Box<RawValue>]) -> Result<Goods, Problem> {
    let items = items(given)?;
    let each = |item: &'_ crate::records::Item| (item.product_id.clone(), u64::from(item.quantity));
    let each: Vec<(String, u64)> = items.iter().map(each).collect();
    Ok(goods(each.iter().map(|(id, n)| (id.as_str(), *n))))
}

impl From<BranchError> for Problem {
    fn from(error: BranchError) -> Self {
        match error {
            BranchError::Busy(why) => {
                tracing::info!(why, "an order or its stock is held by another transaction");
                let detail = "Another transaction is at work on the same order or stock.";
                Self::new(Code::OrderBusy, detail)
            }
            BranchError::Store(error) => error.into(),
        }
    }
}
