//! A runtime with confirmation and the order service, beside a real coordinator.

use std::sync::Arc;
use std::time::Duration;

use contract::RuntimeConfig;
use contract::config::{Confirmation, Coordinator, Mysql, Orders};
use payment_runtime::roles::{self, Service};
use seata_client::at::{AtConfig, AtPool};
use seata_client::config::Config;
use seata_client::connection::Client;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::seata::tc::{Store, Tc, Version};
use crate::support::{CacheAt, System, connect_to, new_database, order, query_text};

/// The coordinator that all tests share which do not trouble theirs.
pub(super) async fn shared() -> &'static Tc {
    static SHARED: OnceCell<Tc> = OnceCell::const_new();
    SHARED
        .get_or_init(|| Tc::start(Version::V1_8, Store::File))
        .await
}

pub(super) struct World {
    pub(super) system: System,
    /// Where the order service is, without `/api`.
    base: String,
    orders_database: String,
}

pub(super) fn id_of(payment: &Value) -> String {
    payment["paymentId"].as_str().unwrap().to_owned()
}

/// A new order of so many of these products.
pub(super) fn bought(items: &[(&str, u32)]) -> Value {
    let item =
        |(product, quantity): &(&str, u32)| json!({"productId": product, "quantity": quantity});
    let mut order = order("wechat");
    order["items"] = items.iter().map(item).collect();
    order
}

/// A second process of the role `worker` on the same database.
pub(super) struct Replica {
    stop: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
    }
}

impl World {
    pub(super) async fn another_worker(&self) -> Replica {
        let mut config = self.system.parts.payments.config.clone();
        config.listen.http = "127.0.0.1:0".to_owned();
        let parts = roles::prepare(config).unwrap();
        let service = Service::bind(contract::Role::Worker, parts).await.unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(service.run(stop.clone()));
        Replica { stop, served }
    }

    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut RuntimeConfig)) -> Self {
        Self::beside(shared().await, change).await
    }

    pub(super) async fn beside(tc: &Tc, change: impl FnOnce(&mut RuntimeConfig)) -> Self {
        let orders_database = new_database().await;
        let mut base = String::new();
        let system = System::start_with(CacheAt::None, |config| {
            config.transaction_coordinator = Some(coordinator(tc));
            let own = config.channels.callback_base_url.clone();
            config.confirmation = Some(confirmation(&own));
            config.orders = Some(orders(&config.mysql, &orders_database));
            change(config);
            base = own;
        })
        .await;
        Self {
            system,
            base,
            orders_database,
        }
    }

    /// The order service is there and not where the runtime's own callbacks go.
    pub(super) fn serve_at(&mut self, base: String) {
        self.base = base;
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}/api/{path}", self.base);
        self.send(self.system.http.get(url)).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/{path}", self.base);
        self.send(self.system.http.put(url).json(body)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/{path}", self.base);
        self.send(self.system.http.post(url).json(body)).await
    }

    pub(super) async fn with_xid(&self, path: &str, xid: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/{path}", self.base);
        let request = self.system.http.post(url).header("TX_XID", xid);
        self.send(request.json(body)).await
    }

    pub(super) async fn stock(&self, product: &str, quantity: i64) {
        let body = json!({"quantity": quantity});
        let (status, set) = self.put(&format!("stock/{product}"), &body).await;
        assert_eq!((status, &set["quantity"]), (200, &json!(quantity)), "{set}");
    }

    pub(super) async fn available(&self, product: &str) -> i64 {
        let (_, stock) = self.get(&format!("stock/{product}")).await;
        stock["quantity"].as_i64().unwrap()
    }

    pub(super) async fn order(&self, number: &str) -> Value {
        self.get(&format!("orders/{number}")).await.1
    }

    /// A payment that the payer has paid; nothing is said of its confirmation.
    pub(super) async fn paid(&self, order: &Value) -> Value {
        let (status, created) = self.system.post(order).await;
        assert_eq!(status, 201, "{created}");
        self.system.pay(&created).await;
        created
    }

    /// How many lines of a payment's history tell this.
    pub(super) async fn events(&self, id: &str, observation: &str) -> usize {
        let (_, events) = self.system.get(&format!("/{id}/events")).await;
        let list = events["data"].as_array().unwrap();
        let told = |event: &&Value| event["observation"] == observation;
        list.iter().filter(told).count()
    }

    pub(super) async fn until_event(&self, id: &str, observation: &str) {
        let told = || async { (self.events(id, observation).await > 0).then_some(()) };
        let what = format!("{id} to be {observation}");
        self.system.until(&what, told).await;
    }

    pub(super) async fn until_refunded(&self, id: &str) {
        let back = || async {
            if self.system.payment(id).await["status"] == "REFUNDED" {
                return Some(());
            }
            self.system.let_refunds_become_visible().await;
            self.system.ask_now().await;
            None
        };
        self.system.until("the money to be back", back).await;
    }

    pub(super) async fn until_metric(&self, line: &str) {
        let url = format!("{}/prometheus", self.system.management);
        let shown = || async {
            let answer = self.system.http.get(&url).send().await.unwrap();
            let text = answer.text().await.unwrap();
            text.lines().any(|it| it == line).then_some(())
        };
        self.system.until(line, shown).await;
    }

    /// A series with a value above zero.
    pub(super) async fn until_metric_is_set(&self, series: &str) {
        let url = format!("{}/prometheus", self.system.management);
        let shown = || async {
            let answer = self.system.http.get(&url).send().await.unwrap();
            let text = answer.text().await.unwrap();
            text.lines().any(|it| it.starts_with(series)).then_some(())
        };
        self.system.until(series, shown).await;
    }

    /// A global transaction that changed the payment's confirmation, and whose launcher is gone.
    pub(super) async fn half_done(&self, tc: &Tc, id: &str) -> Client {
        let config = Config::new([tc.address()], "dead", "test");
        let client = Client::start(config).unwrap();
        client.ready(Duration::from_secs(30)).await.unwrap();
        let mysql = &self.system.parts.payments.config.mysql;
        let options = sqlx::mysql::MySqlConnectOptions::new()
            .host(&mysql.host)
            .port(mysql.port)
            .database(&mysql.database)
            .username("root");
        let pool = sqlx::MySqlPool::connect_with(options).await.unwrap();
        let coordinator = Arc::new(client.clone());
        let at = AtPool::new(pool, coordinator, AtConfig::default());
        let at = at.await.unwrap();
        let xid = client.begin("left", Duration::from_secs(6)).await.unwrap();
        let sql = "UPDATE payment_confirmations SET state = 'confirmed', xid = ? \
                   WHERE payment_no = ? AND state = 'waiting'";
        let args = [xid.as_str().into(), id.into()];
        let done = at.execute(&xid, sql, &args).await.unwrap();
        assert_eq!(done.rows_affected, 1);
        client
    }

    pub(super) async fn confirmation(&self) -> String {
        let sql = "SELECT state FROM payment_confirmations";
        query_text(&self.system, sql).await.unwrap()
    }

    pub(super) async fn until_problem(&self, start: &str) {
        let sql = "SELECT problem FROM payment_confirmations";
        let said = || async {
            let problem = query_text(&self.system, sql).await.unwrap();
            problem.starts_with(start).then_some(())
        };
        self.system.until(start, said).await;
    }

    /// Until a statement finds its row.
    pub(super) async fn until_changed(&self, sql: &'static str) {
        let database = &self.system.parts.payments.config.mysql.database;
        let changed = || async {
            let mut connection = connect_to(database).await;
            let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
            (done.rows_affected() > 0).then_some(())
        };
        self.system.until(sql, changed).await;
    }

    /// Every confirmation is due again now.
    pub(super) async fn look_again(&self) {
        let sql = "UPDATE payment_confirmations SET next_try_at = created_at, lease_until = NULL";
        self.system.execute(sql).await;
    }

    /// No confirmation has anything left to do, and neither database an undo row.
    pub(super) async fn until_nothing_is_left(&self) {
        let waiting = "SELECT COUNT(*) FROM payment_confirmations WHERE next_try_at IS NOT NULL";
        let undo = "SELECT COUNT(*) FROM undo_log";
        let payments = &self.system.parts.payments.config.mysql.database;
        for (database, sql) in [
            (payments, waiting),
            (payments, undo),
            (&self.orders_database, undo),
        ] {
            let none = || async { (count(database, sql).await == 0).then_some(()) };
            self.system.until(sql, none).await;
        }
    }

    pub(super) async fn stop(self) {
        self.system.stop().await;
    }
}

async fn count(database: &str, sql: &'static str) -> i64 {
    let mut connection = connect_to(database).await;
    let one: (i64,) = sqlx::query_as(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    one.0
}

pub(super) fn coordinator(tc: &Tc) -> Coordinator {
    Coordinator {
        tls: None,
        host: "127.0.0.1".to_owned(),
        port: tc.port(),
        transaction_group: "test".to_owned(),
    }
}

fn confirmation(url: &str) -> Confirmation {
    Confirmation {
        orders_url: url.to_owned(),
        timeout_milliseconds: 3000,
        concurrency: 8,
        max_tries: 60,
    }
}

pub(super) fn orders(payments: &Mysql, database: &str) -> Orders {
    let mut mysql = payments.clone();
    database.clone_into(&mut mysql.database);
    Orders {
        mysql,
        stock_buckets: 8,
    }
}
