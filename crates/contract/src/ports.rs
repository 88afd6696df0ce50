//! Port numbers. Containers listen on two ports whatever their role; Services keep the published
//! numbers of the system this one replaces.

/// What every runtime container listens on for its role's own HTTP traffic.
pub const HTTP: u16 = 8080;
/// What every runtime container listens on for `/actuator`.
pub const MANAGEMENT: u16 = 8081;

/// Service ports of the payment (api) role; 8080 is published beside them.
pub const PAYMENT_SERVICE: u16 = 8086;
pub const PAYMENT_SERVICE_MANAGEMENT: u16 = 8087;
/// Service ports of the callback role.
pub const CALLBACK_SERVICE: u16 = 8088;
pub const CALLBACK_SERVICE_MANAGEMENT: u16 = 8089;
/// Service ports of the reconciliation role.
pub const RECONCILIATION_SERVICE: u16 = 8090;
pub const RECONCILIATION_SERVICE_MANAGEMENT: u16 = 8091;

/// Service ports of the orders role.
pub const ORDERS_SERVICE: u16 = 8092;
pub const ORDERS_SERVICE_MANAGEMENT: u16 = 8093;

pub const MYSQL: u16 = 3306;
pub const REDIS: u16 = 6379;
/// The TC's protocol port.
pub const COORDINATOR: u16 = 8091;
/// The TC's console port, which serves `/health`.
pub const COORDINATOR_CONSOLE: u16 = 7091;
/// The TC's own Prometheus exporter.
pub const COORDINATOR_METRICS: u16 = 9898;
/// JVM metrics of the TC, where its image carries an exporter (docs/images.md).
pub const COORDINATOR_JVM_METRICS: u16 = 9899;

/// The simulator's public port: the channels' own paths.
pub const SIMULATOR: u16 = 8080;
/// The simulator's admin port.
pub const SIMULATOR_ADMIN: u16 = 8081;

/// Port names, as Services, probes and monitors refer to them.
pub const HTTP_NAME: &str = "http";
pub const MANAGEMENT_NAME: &str = "management";
