//! Payments that are made while something is done to a system. Not one of them may fail: each is
//! taken at the first request, and whoever asks again gets what the payer scans.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use crate::{Order, PaymentApi, Scene};

const CLIENTS: usize = 2;
const BETWEEN: Duration = Duration::from_millis(50);

/// What came of the payments that were made meanwhile.
#[derive(Default)]
struct Made {
    created: usize,
    /// Taken, but without an answer of the channel yet.
    unanswered: Vec<Order>,
    failed: Vec<String>,
}

/// Makes payments until it is told to stop, or dropped.
pub struct Load {
    api: PaymentApi,
    stop: Arc<AtomicBool>,
    clients: JoinSet<Made>,
}

impl Load {
    /// Clients that keep their connections.
    pub fn start(scene: &Scene) -> Result<Self> {
        Self::by(scene, PaymentApi::new)
    }

    /// Every pod gets a part of the payments.
    pub fn start_spread(scene: &Scene) -> Result<Self> {
        Self::by(scene, PaymentApi::of_many_clients)
    }

    fn by(scene: &Scene, client: fn(&str) -> Result<PaymentApi>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let api = client(&scene.environment.urls.api)?;
            clients.spawn(make_payments(api, number, Arc::clone(&stop)));
        }
        let api = scene.api.clone();
        Ok(Self { api, stop, clients })
    }

    /// Every payment was made.
    pub async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.clients.join_all().await;
        let created: usize = all.iter().map(|made| made.created).sum();
        let unanswered: Vec<&Order> = all.iter().flat_map(|made| &made.unanswered).collect();
        let failed: Vec<&String> = all.iter().flat_map(|made| &made.failed).collect();
        println!(
            "{created} payments were made meanwhile, {} of them without an answer of the channel at first",
            unanswered.len()
        );
        ensure!(created > 0, "no payment was made: there was no load");
        ensure!(
            failed.is_empty(),
            "{} payments failed: {:?}",
            failed.len(),
            &failed[..failed.len().min(5)]
        );
        for order in unanswered {
            self.api.create_payable(order).await?;
        }
        Ok(())
    }
}

async fn make_payments(api: PaymentApi, client: usize, stop: Arc<AtomicBool>) -> Made {
    let mut made = Made::default();
    while !stop.load(Ordering::Relaxed) {
        let channel = if client.is_multiple_of(2) {
            "wechat"
        } else {
            "alipay"
        };
        let order = Order::new("E2E-ROLLOUT", channel, "0.01");
        match api.create(&order).await {
            Ok(answer) if answer.status < 300 => {
                made.created += 1;
                if answer.qr_code().is_none() {
                    made.unanswered.push(order);
                }
            }
            Ok(answer) => made.failed.push(format!("{answer:?}")),
            Err(error) => made.failed.push(format!("{error:#}")),
        }
        // Not a wait for anything: the rate of the load.
        tokio::time::sleep(BETWEEN).await;
    }
    made
}
