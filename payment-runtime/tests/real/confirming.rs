//! Charged payments are confirmed with the order service over a real coordinator, or given back.

mod outages;
mod world;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::order;
use world::{World, bought, id_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_confirmed_and_its_stock_deducted_once() {
    let world = World::new().await;
    world.stock("P-1", 10).await;
    let order = bought(&[("P-1", 2)]);
    let number = order["orderId"].as_str().unwrap();
    let placed = json!({"amount": order["amount"], "currency": "CNY", "items": order["items"]});
    let (status, _) = world.put(&format!("orders/{number}"), &placed).await;
    assert_eq!(status, 201);
    let (status, _) = world.put(&format!("orders/{number}"), &placed).await;
    assert_eq!(status, 200);

    let payment = world.paid(&order).await;
    let id = id_of(&payment);
    world.until_event(&id, "confirmed").await;
    let shown = world.order(number).await;
    assert_eq!(shown["status"], "PAID", "{shown}");
    assert_eq!(shown["paymentId"], id.as_str());
    assert_eq!(world.available("P-1").await, 8);

    // Looked at again, it stays as it is, and is told once.
    world.look_again().await;
    world.until_nothing_is_left().await;
    assert_eq!(world.available("P-1").await, 8);
    assert_eq!(world.events(&id, "confirmed").await, 1);
    assert_eq!(world.system.payment(&id).await["status"], "PAID");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_stock_deducts_nothing_and_gives_the_money_back() {
    let world = World::new().await;
    world.stock("P-1", 10).await;
    world.stock("P-2", 1).await;
    let order = bought(&[("P-1", 3), ("P-2", 2)]);
    let id = id_of(&world.paid(&order).await);
    world.until_refunded(&id).await;
    assert_eq!(world.available("P-1").await, 10);
    assert_eq!(world.available("P-2").await, 1);
    let number = order["orderId"].as_str().unwrap();
    assert_eq!(world.get(&format!("orders/{number}")).await.0, 404);
    let (_, refunds) = world.system.get(&format!("/{id}/refunds")).await;
    assert_eq!(refunds["data"][0]["origin"], "order-refused", "{refunds}");
    assert_eq!(refunds["data"].as_array().unwrap().len(), 1, "{refunds}");
    let (_, events) = world.system.get(&format!("/{id}/events")).await;
    assert!(
        events.to_string().contains("INSUFFICIENT_STOCK"),
        "{events}"
    );
    assert_eq!(world.events(&id, "refused").await, 1);
    world.until_nothing_is_left().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_people_decide_a_refused_payment_is_an_alarm_and_nothing_else() {
    let policy = contract::config::PaidAfterClose::Manual;
    let world = World::with(|config| config.payment.paid_after_close = policy).await;
    let id = id_of(&world.paid(&bought(&[("P-9", 1)])).await);
    world.until_event(&id, "refused").await;
    world.until_nothing_is_left().await;
    let metric = "payment_confirmations_needing_attention 1";
    world.until_metric(metric).await;
    assert_eq!(world.system.payment(&id).await["status"], "PAID");
    assert!(world.system.book_refunds("wechat").await.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_by_one_payment_whoever_asks_and_how_often() {
    let world = World::new().await;
    world.stock("P-1", 10).await;
    let pay = |payment: &str, amount: &str| {
        let items = [json!({"productId": "P-1", "quantity": 4})];
        json!({"paymentId": payment, "amount": amount, "currency": "CNY", "items": items})
    };
    // Without a global transaction, all at once: one takes it, the others find it taken.
    let body = pay("pay_1", "99.99");
    let same = join_all((0..8).map(|_| world.post("orders/O-1/pay", &body))).await;
    let taken = |answer: &&(u16, Value)| answer.0 == 200 && answer.1["repeated"] == false;
    assert_eq!(same.iter().filter(taken).count(), 1, "{same:?}");
    let sound = |(status, body): &(u16, Value)| *status == 200 || body["code"] == "ORDER_BUSY";
    assert!(same.iter().all(sound), "{same:?}");
    let (status, again) = world.post("orders/O-1/pay", &body).await;
    assert_eq!((status, &again["repeated"]), (200, &json!(true)), "{again}");
    let (status, other) = world.post("orders/O-1/pay", &pay("pay_2", "99.99")).await;
    assert_eq!((status, &other["code"]), (409, &json!("ORDER_REFUSED")));
    assert_eq!(world.available("P-1").await, 6);
    // A placed order has an amount.
    let placed = json!({"amount": "1.00", "currency": "CNY"});
    world.put("orders/O-2", &placed).await;
    let (status, differs) = world.post("orders/O-2/pay", &pay("pay_3", "2.00")).await;
    assert_eq!((status, &differs["code"]), (409, &json!("ORDER_REFUSED")));
    let (status, short) = world
        .post(
            "orders/O-3/pay",
            &json!({"paymentId": "pay_4",
        "amount": 1, "currency": "CNY", "items": [{"productId": "P-1", "quantity": 7}]}),
        )
        .await;
    assert_eq!(
        (status, &short["code"]),
        (409, &json!("INSUFFICIENT_STOCK"))
    );
    assert_eq!(world.available("P-1").await, 6);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_never_sold_twice_nor_hidden_in_a_bucket() {
    let world = World::new().await;
    world.stock("P-1", 40).await;
    let pay = async |n: usize| {
        let body = json!({"paymentId": format!("pay_{n}"), "amount": 1, "currency": "CNY",
            "items": [{"productId": "P-1", "quantity": 3}]});
        loop {
            let (status, answer) = world.post(&format!("orders/O-{n}/pay"), &body).await;
            if answer["code"] != "ORDER_BUSY" {
                return status;
            }
        }
    };
    let answers = join_all((0..20).map(pay)).await;
    let sold = answers.iter().filter(|status| **status == 200).count();
    assert_eq!(sold, 13, "{answers:?}");
    assert_eq!(world.available("P-1").await, 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_to_the_order_service_are_problems() {
    let world = World::new().await;
    let (status, none) = world.get("orders/O-1").await;
    assert_eq!((status, &none["code"]), (404, &json!("ORDER_NOT_FOUND")));
    let (status, none) = world.get("stock/P-1").await;
    assert_eq!((status, &none["code"]), (404, &json!("PRODUCT_NOT_FOUND")));
    for (path, body, code) in [
        ("stock/P-1", json!({"quantity": 1, "buckets": 65}), 422),
        ("stock/P-1", json!({"quantity": -1}), 400),
        ("stock/a%20b", json!({"quantity": 1}), 422),
        ("orders/O-1", json!({"amount": 0, "currency": "CNY"}), 422),
        (
            "orders/O-1",
            json!({"amount": 1, "currency": "CNY", "x": 1}),
            400,
        ),
    ] {
        let (status, problem) = world.put(path, &body).await;
        assert_eq!(status, code, "{path} {body} {problem}");
        assert!(problem["code"].is_string(), "{problem}");
    }
    let bad = world.with_xid("orders/O-1/pay", "a b", &json!({})).await;
    assert_eq!(bad.0, 400, "{bad:?}");
    let body = json!({"paymentId": "p", "amount": 1, "currency": "CNY"});
    let over = world
        .with_xid("orders/O-1/pay", "127.0.0.2:8091:1234567", &body)
        .await;
    assert_eq!((over.0, over.1["retryable"].as_bool()), (503, Some(true)));
    assert_eq!(world.get("orders/O-1").await.0, 404);
    world.stop().await;
}

/// Order PAID, payment confirmed and stock deducted go together, and no money is left between, also
/// where two processes confirm.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_payments_at_once_end_confirmed_or_refunded() {
    const PAYMENTS: i64 = 100;
    let world = World::new().await;
    let replica = world.another_worker().await;
    world.stock("P-1", 1000).await;
    let orders: Vec<Value> = (0..PAYMENTS)
        .map(|n| match n % 10 {
            0 => bought(&[("P-1", 1), ("P-none", 1)]),
            _ => bought(&[("P-1", 1)]),
        })
        .collect();
    let ids = join_all(orders.iter().map(async |order| {
        let (status, created) = world.system.post(order).await;
        assert_eq!(status, 201, "{created}");
        world.system.pay(&created).await;
        id_of(&created)
    }))
    .await;
    for (n, (order, id)) in orders.iter().zip(&ids).enumerate() {
        let path = format!("orders/{}", order["orderId"].as_str().unwrap());
        if n % 10 == 0 {
            world.until_refunded(id).await;
            assert_eq!(world.get(&path).await.0, 404);
            continue;
        }
        world.until_event(id, "confirmed").await;
        let (_, shown) = world.get(&path).await;
        assert_eq!(
            (&shown["status"], &shown["paymentId"]),
            (&json!("PAID"), &json!(id))
        );
        assert_eq!(world.system.payment(id).await["status"], "PAID");
    }
    assert_eq!(world.available("P-1").await, 1000 - PAYMENTS * 9 / 10);
    assert_eq!(world.system.book_refunds("wechat").await.len(), 10);
    world.until_nothing_is_left().await;
    // No global lock is left on any row either: who respects them all gets through.
    world.look_again().await;
    world.until_nothing_is_left().await;
    world.stock("P-1", 5).await;
    replica.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_confirmation_nothing_waits() {
    let system = crate::support::System::start(crate::support::CacheAt::None).await;
    let mut body = order("wechat");
    body["items"] = json!([{"productId": "P-1", "quantity": 2}]);
    let (_, created) = system.post(&body).await;
    system.pay(&created).await;
    system.until_status(&id_of(&created), "PAID").await;
    let sql = "SELECT CAST(COUNT(*) AS CHAR) FROM payment_confirmations";
    assert_eq!(crate::support::query_text(&system, sql).await.unwrap(), "0");
    let sql = "SELECT items FROM payment_records";
    let items = crate::support::query_text(&system, sql).await.unwrap();
    assert_eq!(items, r#"[{"productId":"P-1","quantity":2}]"#);
    system.stop().await;
}
