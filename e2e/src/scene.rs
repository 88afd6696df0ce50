//! What every test starts from: the demo system, healthy, with no fault armed and no change left
//! over from an earlier test, even one that died.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::{Mutex, MutexGuard};

use crate::api::PaymentApi;
use crate::cluster::Cluster;
use crate::environment::Environment;
use crate::orders::OrderService;
use crate::simulator::Simulator;
use crate::system::System;

pub const NAMESPACE: &str = "payment";
pub const NAME: &str = "demo";
pub const CHANNELS: [&str; 2] = ["wechat", "alipay"];

/// Tests share one system: one of them works at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub struct Scene {
    pub environment: Environment,
    pub cluster: Cluster,
    pub demo: System,
    pub api: PaymentApi,
    pub simulator: Simulator,
    pub orders: OrderService,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    pub async fn open() -> Result<Self> {
        let alone = ONE_AT_A_TIME.lock().await;
        let environment = Environment::load()?;
        let cluster = Cluster::connect(&environment.kubeconfig).await?;
        let scene = Self {
            demo: System::new(&cluster, NAMESPACE, NAME),
            api: PaymentApi::new(&environment.urls.api)?,
            simulator: Simulator::new(&environment.urls.simulator_admin)?,
            orders: OrderService::new(&environment.urls.orders)?,
            environment,
            cluster,
            _alone: alone,
        };
        scene.demo.restore().await?;
        scene.demo.wait_settled(Duration::from_mins(4)).await?;
        scene.simulator.disarm().await?;
        Ok(scene)
    }

    /// Ends a test: what it changed is put back whether it succeeded or not.
    pub async fn close(self, outcome: Result<()>) -> Result<()> {
        let disarmed = self.simulator.disarm().await;
        let restored = self.demo.restore().await;
        outcome.and(disarmed).and(restored)
    }
}
