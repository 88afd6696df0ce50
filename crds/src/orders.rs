//! Orders and stock: the other half of a confirmed payment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{resources::Resources, rules, schema};

/// How charged payments are confirmed: payment, order and stock change together, in one global
/// transaction of the coordinator. The order service comes with the system, or is one of your own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::ORDERS))]
pub struct Orders {
    /// Replicas of the order service.
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,
    /// Compute resources of one replica.
    pub resources: Resources,
    /// Parts into which a product's stock is divided unless its owner says otherwise: as many
    /// buyers of one product do not wait for each other.
    #[schemars(range(min = 1, max = 64))]
    pub stock_buckets: i32,
    /// Namespaces whose pods may reach the order service, beside the system's own pods; this one
    /// only if it is named. It trusts whoever reaches it, so a NetworkPolicy keeps all others away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::namespaces")]
    pub client_namespaces: Vec<String>,
    /// How long the order service may take for one answer, in milliseconds.
    #[schemars(range(min = 100, max = 60_000))]
    pub timeout_milliseconds: i64,
    /// After so many tries without a clear answer a payment is refused and its money given back.
    /// 60 tries take about four hours and a half.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_tries: i32,
    /// An order service of your own to use instead. It keeps the contract of `docs/orders.md`;
    /// `replicas`, `resources`, `stockBuckets` and `clientNamespaces` then have no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalOrders>,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            replicas: 2,
            resources: Resources::requesting("25m", "48Mi"),
            stock_buckets: 8,
            client_namespaces: Vec::new(),
            timeout_milliseconds: 10_000,
            max_tries: 60,
            external: None,
        }
    }
}

/// An order service of your own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalOrders {
    /// Its address, such as `http://orders.shop.svc:8080`: it is asked at
    /// `/api/orders/{orderId}/pay` below it.
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-validations" = rules::ORDERS_URL))]
    pub url: String,
}
