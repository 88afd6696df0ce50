//! The stores: MySQL, Redis and the transaction coordinator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    resources::{CacheStorage, DatabaseStorage, QUANTITY, Resources, Retention},
    rules, schema,
    tls::{ServerTls, StoreTls},
};

/// A MySQL server with one replica on a persistent volume, or an existing server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::MYSQL))]
pub struct Mysql {
    /// Image of the server. It must offer `mysqld`, `mysql`, `mysqladmin` and `sh`.
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-validations" = rules::IMAGE))]
    pub image: String,
    /// The volume that holds the databases.
    pub storage: DatabaseStorage,
    /// Connections the server accepts. Every replica of a service opens up to 10.
    #[schemars(range(min = 10, max = 100_000))]
    pub max_connections: i32,
    /// Memory for cached pages (`innodb_buffer_pool_size`). The memory request should be about
    /// 1.5 times this.
    #[schemars(length(max = 20), regex(pattern = QUANTITY))]
    pub innodb_buffer_pool_size: String,
    /// When a commit reaches the disk. `1`: before it is acknowledged; no payment is lost when a
    /// host dies. `2` and `0` are faster and may lose the last second of acknowledged payments.
    #[schemars(range(min = 0, max = 2))]
    pub innodb_flush_log_at_trx_commit: i32,
    /// Commits after which the binary log is written to disk. `1` is safe; `0` leaves it to the
    /// operating system.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub sync_binlog: i32,
    /// Compute resources of the server.
    pub resources: Resources,
    /// Whether volume and credentials outlive the PaymentSystem.
    pub retention: Retention,
    /// Encrypts every connection to the server: plain ones are refused. A renewed certificate is
    /// taken up within an hour, without a restart. Left out: connections are plain, or encrypted
    /// and not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<StoreTls>,
    /// An existing MySQL server to use instead. The other fields of this section then have no
    /// effect. It must have a database `payment`, a database `seata` with the tables of
    /// `docs/coordinator-tables.sql` if the transaction coordinator is managed, and a database
    /// `orders` if the order service is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMysql>,
}

impl Default for Mysql {
    fn default() -> Self {
        Self {
            image: "mysql:9.7".to_owned(),
            storage: DatabaseStorage::default(),
            max_connections: 500,
            innodb_buffer_pool_size: "1Gi".to_owned(),
            innodb_flush_log_at_trx_commit: 1,
            sync_binlog: 1,
            resources: Resources::requesting("100m", "512Mi"),
            retention: Retention::Retain,
            tls: None,
            external: None,
        }
    }
}

/// An existing MySQL server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::HOST))]
pub struct ExternalMysql {
    /// DNS name or address of the server, without scheme and port.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port of the server.
    #[serde(default = "mysql_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Secret in this namespace with the keys `password` (of the user `payment`), if the
    /// transaction coordinator is managed `coordinator-password` (of the user `seata`), and if the
    /// order service is, `orders-password` (of the user `orders`).
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub secret_name: String,
    /// Reaches the server over TLS and verifies it. Left out: encrypted if the server offers it,
    /// and not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

/// A Redis server with one replica on a persistent volume, or an existing server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::REDIS))]
pub struct Redis {
    /// Image of the server: Redis or Valkey. It must offer `redis-server`.
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-validations" = rules::IMAGE))]
    pub image: String,
    /// The volume that holds the append-only file.
    pub storage: CacheStorage,
    /// Memory for data (`maxmemory`), in Redis units such as `1gb` or `256mb`.
    #[schemars(length(max = 20), regex(pattern = r"^[1-9][0-9]*(k|kb|m|mb|g|gb)?$"))]
    pub maxmemory: String,
    /// What is evicted when the memory is full. Evicting is harmless: the database decides.
    pub maxmemory_policy: MaxmemoryPolicy,
    /// When the append-only file reaches the disk.
    pub appendfsync: Appendfsync,
    /// Compute resources of the server.
    pub resources: Resources,
    /// Whether volume and credentials outlive the PaymentSystem.
    pub retention: Retention,
    /// Encrypts every connection to the server: plain ones are refused. A renewed certificate
    /// restarts the server, which loses nothing. Left out: connections are plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<StoreTls>,
    /// An existing Redis server to use instead. The other fields of this section then have no
    /// effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRedis>,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            image: "redis:8".to_owned(),
            storage: CacheStorage::default(),
            maxmemory: "1gb".to_owned(),
            maxmemory_policy: MaxmemoryPolicy::AllkeysLru,
            appendfsync: Appendfsync::Everysec,
            resources: Resources::requesting("25m", "64Mi"),
            retention: Retention::Retain,
            tls: None,
            external: None,
        }
    }
}

/// Redis' eviction policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MaxmemoryPolicy {
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
    Noeviction,
}

/// Redis' choices for writing the append-only file to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Appendfsync {
    Always,
    Everysec,
    No,
}

/// An existing Redis server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::HOST))]
pub struct ExternalRedis {
    /// DNS name or address of the server, without scheme and port.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port of the server.
    #[serde(default = "redis_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Secret in this namespace with the key `password`. Left out: the server asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub secret_name: Option<String>,
    /// Reaches the server over TLS and verifies it. Left out: plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

/// An Apache Seata server that keeps its state in MySQL, or an existing one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::COORDINATOR))]
pub struct TransactionCoordinator {
    /// Image of the server, with its files under `/seata-server`. Use 2.1 or later in
    /// production: 2.0 rolls back branches in the wrong order.
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-validations" = rules::IMAGE))]
    pub image: String,
    /// Where the server keeps global transactions. `db`: in the database `seata` of MySQL.
    pub store_mode: StoreMode,
    /// Name that services and coordinator share. It cannot be changed later.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub transaction_group: String,
    /// Least severe messages that are logged. `INFO` logs every request and halves the speed.
    pub log_level: LogLevel,
    /// Namespaces whose pods may take part in global transactions, beside the system's own pods;
    /// this one only if it is named. The protocol asks nobody who they are, so a NetworkPolicy
    /// keeps all others away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::namespaces")]
    pub client_namespaces: Vec<String>,
    /// Further options of the Java virtual machine, one per entry. The heap is set by `heap`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 2, max = 500)))]
    pub jvm_options: Vec<String>,
    /// Size of the Java heap, such as `512m`. Left out: half of `resources.limits.memory`, or
    /// `256m` without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10), regex(pattern = r"^[1-9][0-9]*(m|g)$"))]
    pub heap: Option<String>,
    /// Compute resources of the server.
    pub resources: Resources,
    /// An existing coordinator to use instead. The other fields of this section except
    /// `transactionGroup` then have no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalCoordinator>,
}

impl Default for TransactionCoordinator {
    fn default() -> Self {
        Self {
            image: "apache/seata-server:2.5.0".to_owned(),
            store_mode: StoreMode::Db,
            transaction_group: contract::names::TRANSACTION_GROUP.to_owned(),
            log_level: LogLevel::Warn,
            client_namespaces: Vec::new(),
            jvm_options: Vec::new(),
            heap: None,
            resources: Resources::requesting("100m", "384Mi"),
            external: None,
        }
    }
}

/// Where the coordinator keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    Db,
}

/// Severity of log messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl LogLevel {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

/// An existing transaction coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::HOST))]
pub struct ExternalCoordinator {
    /// DNS name or address of the coordinator, without scheme and port.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Protocol port of the coordinator.
    #[serde(default = "coordinator_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Reaches the coordinator over TLS and verifies it. Its own protocol has none: this is for one
    /// behind a proxy that does. Left out: plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

fn mysql_port() -> u16 {
    contract::ports::MYSQL
}
fn redis_port() -> u16 {
    contract::ports::REDIS
}
fn coordinator_port() -> u16 {
    contract::ports::COORDINATOR
}
