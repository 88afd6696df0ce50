//! The configuration that every process of every world has.

use contract::RuntimeConfig;
use payment_runtime::telemetry::Metrics;

use crate::faults::Profile;

thread_local! {
    static REFUNDING: RuntimeConfig = parse("refund");
    static REOPENING: RuntimeConfig = parse("reopen");
    static METRICS: Metrics = Metrics::new();
}

fn parse(paid_after_close: &str) -> RuntimeConfig {
    let yaml = format!(
        "
system: simulation/world
mysql: {{host: database, username: payment, passwordFile: /nowhere/password}}
redis: {{host: cache}}
channels:
  callbackBaseUrl: http://callback:8088
  wechat: {{baseUrl: 'http://wechat'}}
  alipay: {{gatewayUrl: 'http://alipay/gateway.do'}}
payment: {{paidAfterClose: {paid_after_close}}}
reconciliation: {{feeRates: {{wechatPpm: 6000, alipayPpm: 6000}}}}
"
    );
    RuntimeConfig::parse(&yaml).expect("the simulation's own configuration is valid")
}

/// The configuration of a seed's world.
pub fn config(profile: &Profile) -> RuntimeConfig {
    let mut config = if profile.reopen_late {
        REOPENING.with(Clone::clone)
    } else {
        REFUNDING.with(Clone::clone)
    };
    if let Some(bills) = &profile.bills {
        config.reconciliation.batch_size = bills.batch_size;
        config.reconciliation.corrections.daily_count = bills.daily_count;
    }
    config
}

/// Metrics decide nothing, so all worlds of a thread share them.
pub fn metrics() -> Metrics {
    METRICS.with(Clone::clone)
}
