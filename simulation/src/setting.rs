//! The configuration that every process of every world has.

use contract::RuntimeConfig;
use payment_runtime::telemetry::Metrics;

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
"
    );
    RuntimeConfig::parse(&yaml).expect("the simulation's own configuration is valid")
}

/// `reopen_late`: late money is taken as paid after all, where that is possible.
pub fn config(reopen_late: bool) -> RuntimeConfig {
    if reopen_late {
        REOPENING.with(Clone::clone)
    } else {
        REFUNDING.with(Clone::clone)
    }
}

/// Metrics decide nothing, so all worlds of a thread share them.
pub fn metrics() -> Metrics {
    METRICS.with(Clone::clone)
}
