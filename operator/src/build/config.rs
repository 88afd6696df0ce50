//! The runtime's configuration, and what of it each role consumes.

use contract::config::{
    Alipay, Channels, Confirmation, Coordinator, Listen, Mysql, Orders, PaidAfterClose, Payment,
    Reconciliation, Redis, RuntimeConfig, Shutdown, Tls, Wechat, Worker,
};
use contract::{Role, names as paths};

use super::{common, names};
use crate::validate::ValidSystem;
use crds::services;

/// The file every role reads.
pub fn runtime(system: &ValidSystem) -> RuntimeConfig {
    let spec = &system.spec;
    RuntimeConfig {
        system: format!("{}/{}", system.namespace, system.name),
        listen: Listen::default(),
        mysql: mysql(system),
        redis: Some(redis(system)),
        transaction_coordinator: Some(coordinator(system)),
        channels: channels(system),
        payment: Payment {
            idempotency_window_seconds: spec.payment.idempotency_window_seconds.unsigned_abs(),
            expires_in_seconds: spec.payment.expires_in_seconds.unsigned_abs(),
            paid_after_close: match spec.payment.paid_after_close {
                services::PaidAfterClose::Refund => PaidAfterClose::Refund,
                services::PaidAfterClose::Reopen => PaidAfterClose::Reopen,
                services::PaidAfterClose::Manual => PaidAfterClose::Manual,
            },
            batching: spec.payment.batching,
            ..Payment::default()
        },
        worker: Worker::default(),
        reconciliation: system.reconciliation.clone(),
        confirmation: spec
            .orders
            .as_ref()
            .map(|orders| confirmation(system, orders)),
        orders: system.orders().map(|orders| order_service(system, orders)),
        shutdown: Shutdown::default(),
    }
}

fn mysql(system: &ValidSystem) -> Mysql {
    let (host, port) = common::mysql_host(system);
    Mysql {
        host,
        port,
        database: paths::PAYMENT_DATABASE.to_owned(),
        username: "payment".to_owned(),
        password_file: format!(
            "{}/{}",
            paths::MYSQL_CREDENTIALS_DIRECTORY,
            paths::PASSWORD_FILE
        )
        .into(),
        max_connections: 10,
        tls: system
            .mysql_authority()
            .map(|_| verified(paths::MYSQL_AUTHORITY_DIRECTORY)),
    }
}

/// By the authority that is mounted there.
fn verified(directory: &str) -> Tls {
    Tls {
        ca_file: format!("{directory}/{}", paths::AUTHORITY_FILE).into(),
    }
}

fn confirmation(system: &ValidSystem, orders: &crds::orders::Orders) -> Confirmation {
    let own = || {
        let host = system.host(&names::orders(&system.name));
        format!("http://{host}:{}", contract::ports::ORDERS_SERVICE)
    };
    let external = orders.external.as_ref();
    Confirmation {
        orders_url: external.map_or_else(own, |external| external.url.clone()),
        timeout_milliseconds: orders.timeout_milliseconds.unsigned_abs(),
        concurrency: 8,
        max_tries: orders.max_tries.unsigned_abs(),
    }
}

fn order_service(system: &ValidSystem, orders: &crds::orders::Orders) -> Orders {
    let file = format!(
        "{}/{}",
        paths::ORDERS_CREDENTIALS_DIRECTORY,
        paths::PASSWORD_FILE
    );
    Orders {
        mysql: Mysql {
            database: paths::ORDERS_DATABASE.to_owned(),
            username: paths::ORDERS_DATABASE.to_owned(),
            password_file: file.into(),
            ..mysql(system)
        },
        stock_buckets: orders.stock_buckets.unsigned_abs(),
    }
}

fn redis(system: &ValidSystem) -> Redis {
    let external = system.spec.redis.external.as_ref();
    let (host, port) = external.map_or_else(
        || {
            (
                system.host(&names::redis(&system.name)),
                contract::ports::REDIS,
            )
        },
        |external| (external.host.clone(), external.port),
    );
    let password_file = format!(
        "{}/{}",
        paths::REDIS_CREDENTIALS_DIRECTORY,
        paths::PASSWORD_FILE
    );
    Redis {
        host,
        port,
        password_file: system.redis_secret().map(|_| password_file.into()),
        timeout_milliseconds: 100,
        tls: system
            .redis_authority()
            .map(|_| verified(paths::REDIS_AUTHORITY_DIRECTORY)),
    }
}

fn coordinator(system: &ValidSystem) -> Coordinator {
    let settings = &system.spec.transaction_coordinator;
    let (host, port) = settings.external.as_ref().map_or_else(
        || {
            (
                system.host(&names::coordinator(&system.name)),
                contract::ports::COORDINATOR,
            )
        },
        |external| (external.host.clone(), external.port),
    );
    Coordinator {
        host,
        port,
        transaction_group: settings.transaction_group.clone(),
        tls: system
            .coordinator_authority()
            .map(|_| verified(paths::COORDINATOR_AUTHORITY_DIRECTORY)),
    }
}

fn channels(system: &ValidSystem) -> Channels {
    let settings = &system.spec.channels;
    let simulator = format!(
        "http://{}:{}",
        system.host(&names::simulator(&system.name)),
        contract::ports::SIMULATOR
    );
    let (wechat, alipay) = if settings.simulator {
        (simulator.clone(), format!("{simulator}/gateway.do"))
    } else {
        (
            settings.wechat.base_url.clone(),
            settings.alipay.gateway_url.clone(),
        )
    };
    Channels {
        callback_base_url: system.callback_base_url.clone(),
        credentials_directory: paths::CHANNEL_CREDENTIALS_DIRECTORY.into(),
        wechat: system.wechat().then_some(Wechat {
            base_url: wechat,
            platform_certificates: system.platform_certificates(),
        }),
        alipay: system.alipay().then_some(Alipay {
            gateway_url: alipay,
        }),
        connect_timeout_milliseconds: 3_000,
        total_timeout_milliseconds: 12_000,
    }
}

/// Digest of what a role consumes, so that an edit restarts only what depends on it.
pub fn digest(config: &RuntimeConfig, role: Role) -> String {
    if role == Role::Orders {
        return common::digest(&(
            &config.system,
            &config.transaction_coordinator,
            &config.orders,
        ));
    }
    let mut consumed = config.clone();
    if !matches!(role, Role::Api | Role::All) {
        consumed.payment = Payment {
            paid_after_close: consumed.payment.paid_after_close,
            ..Payment::default()
        };
    }
    if !matches!(role, Role::Worker | Role::All) {
        consumed.payment.paid_after_close = PaidAfterClose::default();
    }
    if !matches!(role, Role::Worker | Role::All) {
        consumed.worker = Worker::default();
    }
    if !matches!(role, Role::Reconcile | Role::All) {
        consumed.reconciliation = Reconciliation::default();
    }
    if role != Role::All {
        consumed.orders = None;
    }
    // Whoever records a charge needs to know that it is to be confirmed, the worker alone how.
    let confirming = consumed.confirmation.is_some();
    if !matches!(role, Role::Worker | Role::All) {
        consumed.confirmation = None;
    }
    common::digest(&(consumed, confirming))
}
