//! An order service or a coordinator that goes away costs time, never a payment or an order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use contract::RuntimeConfig;
use payment_runtime::orders::OrdersService;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::world::{World, bought, id_of, shared};
use crate::seata::tc::{Store, Tc, Version};
use crate::support::free_port;

/// What stands in front of an order service: requests that pay wait until the test lets them on,
/// and their answers can be lost.
struct Gate {
    target: OnceLock<String>,
    arrived: Semaphore,
    allowed: Semaphore,
    answers_lost: Semaphore,
    /// While it is set nothing reaches the order service.
    closed: AtomicBool,
    http: reqwest::Client,
}

impl Gate {
    /// Gives its own address, too; what it stands in front of is said later.
    async fn start() -> (Arc<Self>, String) {
        let gate = Arc::new(Self {
            target: OnceLock::new(),
            arrived: Semaphore::new(0),
            allowed: Semaphore::new(0),
            answers_lost: Semaphore::new(0),
            closed: AtomicBool::new(false),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(forward).with_state(gate.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (gate, address)
    }

    /// Waits for the next request.
    async fn arrival(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// From now on nothing waits.
    fn open(&self) {
        self.allowed.add_permits(1000);
    }
}

async fn forward(
    State(gate): State<Arc<Gate>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    gate.arrived.add_permits(1);
    if gate.closed.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    gate.allowed.acquire().await.unwrap().forget();
    let mut request = gate
        .http
        .post(format!("{}{uri}", gate.target.get().unwrap()))
        .body(body);
    for name in ["tx_xid", "content-type"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    if let Ok(lost) = gate.answers_lost.try_acquire() {
        lost.forget();
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let status = answer.status();
    let content_type = answer.headers()[header::CONTENT_TYPE].clone();
    let text = answer.text().await.unwrap();
    (status, [(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// A world whose runtime finds its order service behind a gate.
async fn gated(tc: &Tc) -> (World, Arc<Gate>) {
    let (gate, address) = Gate::start().await;
    let behind = gate.clone();
    let change = move |config: &mut RuntimeConfig| {
        let own = config.channels.callback_base_url.clone();
        behind.target.set(own).unwrap();
        if let Some(confirmation) = &mut config.confirmation {
            confirmation.orders_url = address;
        }
    };
    (World::beside(tc, change).await, gate)
}

async fn everything_is_confirmed_once(world: &World, id: &str, order: &serde_json::Value) {
    world.until_event(id, "confirmed").await;
    let shown = world.order(order["orderId"].as_str().unwrap()).await;
    assert_eq!(
        (&shown["status"], &shown["paymentId"]),
        (&json!("PAID"), &json!(id))
    );
    assert_eq!(world.available("P-1").await, 8);
    world.until_nothing_is_left().await;
    assert_eq!(world.available("P-1").await, 8);
    assert_eq!(world.events(id, "confirmed").await, 1);
    assert_eq!(world.system.payment(id).await["status"], "PAID");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_service_that_is_down_is_asked_again_when_it_is_back() {
    let port = free_port();
    let mut alone = None;
    let world = World::beside(shared().await, |config| {
        let mut service = config.clone();
        config.orders = None;
        if let Some(confirmation) = &mut config.confirmation {
            confirmation.orders_url = format!("http://127.0.0.1:{port}");
        }
        // The role by itself has no use for the payments' database and keys.
        service.mysql.password_file = "/nowhere".into();
        service.channels.credentials_directory = "/nowhere".into();
        service.confirmation = None;
        service.listen.http = format!("127.0.0.1:{port}");
        alone = Some(service);
    });
    let mut world = world.await;
    world.serve_at(format!("http://127.0.0.1:{port}"));
    let order = bought(&[("P-1", 2)]);
    let id = id_of(&world.paid(&order).await);
    world
        .until_metric_is_set("payment_confirmations_total{outcome=\"tried_again\"}")
        .await;
    assert_eq!(world.system.payment(&id).await["status"], "PAID");

    let service = OrdersService::bind(alone.unwrap()).await.unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(service.run(stop.clone()));
    world.stock("P-1", 10).await;
    world.look_again().await;
    everything_is_confirmed_once(&world, &id, &order).await;
    stop.cancel();
    served.await.unwrap().unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_service_that_never_answers_clearly_costs_the_order_and_not_the_money() {
    let world = World::with(|config| {
        if let Some(confirmation) = &mut config.confirmation {
            confirmation.orders_url = format!("http://127.0.0.1:{}", free_port());
            confirmation.max_tries = 2;
        }
    })
    .await;
    let id = id_of(&world.paid(&bought(&[])).await);
    world.until_refunded(&id).await;
    let (_, events) = world.system.get(&format!("/{id}/events")).await;
    assert!(events.to_string().contains("NO_ANSWER"), "{events}");
    world.until_nothing_is_left().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_the_order_service_is_rolled_back_and_tried_again() {
    let (world, gate) = gated(shared().await).await;
    world.stock("P-1", 10).await;
    gate.answers_lost.add_permits(1);
    gate.open();
    let order = bought(&[("P-1", 2)]);
    let id = id_of(&world.paid(&order).await);
    everything_is_confirmed_once(&world, &id, &order).await;
    let retried = "payment_confirmations_total{outcome=\"tried_again\"}";
    world.until_metric_is_set(retried).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_dies_between_the_branches_costs_nothing_but_time() {
    let mut tc = Tc::start(Version::V1_8, Store::File).await;
    let (world, gate) = gated(&tc).await;
    world.stock("P-1", 10).await;
    let order = bought(&[("P-1", 2)]);
    let id = id_of(&world.paid(&order).await);
    gate.arrival().await;
    tc.kill();
    gate.open();
    tc.start_again().await;
    everything_is_confirmed_once(&world, &id, &order).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_wait_for_a_coordinator_that_is_away() {
    let mut tc = Tc::start(Version::V1_8, Store::File).await;
    let (world, gate) = gated(&tc).await;
    gate.open();
    world.stock("P-1", 10).await;
    tc.kill();
    let order = bought(&[("P-1", 2)]);
    let id = id_of(&world.paid(&order).await);
    // The charge stands, and nothing of the accept path waits for the coordinator.
    world.system.until_status(&id, "PAID").await;
    world.until_metric("payment_confirmations_waiting 1").await;
    tc.start_again().await;
    everything_is_confirmed_once(&world, &id, &order).await;
    world.stop().await;
}

/// What a process leaves that dies after its own branch and before the order service's: a row that
/// looks confirmed, held by a global transaction that nobody ends.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_left_half_done_is_rolled_back_and_done_again() {
    let tc = shared().await;
    let (world, gate) = gated(tc).await;
    world.stock("P-1", 10).await;
    gate.closed.store(true, Ordering::Relaxed);
    let order = bought(&[("P-1", 2)]);
    let id = id_of(&world.paid(&order).await);
    gate.arrival().await;
    let rested = "UPDATE payment_confirmations SET next_try_at = next_try_at + INTERVAL 1 DAY \
                  WHERE lease_until IS NULL AND problem <> ''";
    world.until_changed(rested).await;

    let left = world.half_done(tc, &id).await;
    assert_eq!(world.confirmation().await, "confirmed");
    gate.closed.store(false, Ordering::Relaxed);
    gate.open();
    world.look_again().await;
    // It is not believed, and not told.
    world.until_problem("another transaction is at work").await;
    assert_eq!(world.events(&id, "confirmed").await, 0);
    assert_eq!(world.available("P-1").await, 10);
    everything_is_confirmed_once(&world, &id, &order).await;
    left.shutdown(Duration::ZERO).await;
    world.stop().await;
}

/// What a process leaves that dies right after the commit: nobody was told.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_confirmed_is_told_by_another() {
    let (world, gate) = gated(shared().await).await;
    gate.open();
    world.stock("P-1", 10).await;
    let order = bought(&[("P-1", 2)]);
    let id = id_of(&world.paid(&order).await);
    world.until_event(&id, "confirmed").await;
    world.until_nothing_is_left().await;
    for sql in [
        "DELETE FROM payment_events WHERE observation = 'confirmed'",
        "UPDATE payment_confirmations SET told = FALSE, next_try_at = created_at",
    ] {
        world.system.execute(sql).await;
    }
    everything_is_confirmed_once(&world, &id, &order).await;
    world.stop().await;
}
