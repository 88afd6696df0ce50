//! Compute resources, storage and autoscaling, shared by all sections.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// A Kubernetes quantity such as `500m`, `1Gi` or `2`.
pub(crate) const QUANTITY: &str = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$";

/// Compute resources of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::RESOURCES))]
pub struct Resources {
    /// What the scheduler reserves. Autoscaling targets are percentages of these. Each has a
    /// default of its own.
    pub requests: Amounts,
    /// What the container may use at most. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Amounts {
    /// Cores, such as `500m` for half a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = QUANTITY))]
    pub cpu: Option<String>,
    /// Bytes, such as `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = QUANTITY))]
    pub memory: Option<String>,
}

impl Resources {
    /// Requests without limits.
    pub fn requesting(cpu: &str, memory: &str) -> Self {
        Self {
            requests: Amounts {
                cpu: Some(cpu.to_owned()),
                memory: Some(memory.to_owned()),
            },
            limits: None,
        }
    }
}

/// One type per store, because each has its own default size and a schema default belongs to a
/// type.
macro_rules! storage {
    ($name:ident, $size:literal, $about:literal) => {
        #[doc = $about]
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        #[schemars(extend("x-kubernetes-validations" = rules::STORAGE))]
        pub struct $name {
            /// Size of the volume. It may grow later, if the StorageClass allows expansion; it
            /// never shrinks.
            #[schemars(length(max = 20), regex(pattern = QUANTITY))]
            pub size: String,
            /// StorageClass of the volume. It cannot be changed later.
            #[schemars(
                                        length(min = 1, max = 253),
                                        extend("x-kubernetes-validations" = rules::OBJECT_NAME)
                                    )]
            pub storage_class_name: String,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    size: $size.to_owned(),
                    storage_class_name: "fast-ssd".to_owned(),
                }
            }
        }
    };
}

storage!(DatabaseStorage, "20Gi", "The volume of the database.");
storage!(CacheStorage, "2Gi", "The volume of the cache.");

/// What happens to a store's volume and credentials when the PaymentSystem is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retention {
    /// They stay. A PaymentSystem of the same name takes them over again.
    #[default]
    Retain,
    /// They are deleted with the PaymentSystem, and with them all payments.
    Delete,
}

/// When a service gets more or fewer replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::AUTOSCALING))]
pub struct Autoscaling {
    /// `true` lets a HorizontalPodAutoscaler choose the number of replicas; `false` keeps it at
    /// `replicas`.
    pub enabled: bool,
    /// Fewest replicas.
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// Most replicas. An alert fires while the service stays there.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// Average CPU use, in percent of the request, above which replicas are added.
    #[schemars(range(min = 1, max = 1000))]
    pub cpu_utilization_percent: i32,
    /// Average memory use, in percent of the request, above which replicas are added.
    #[schemars(range(min = 1, max = 1000))]
    pub memory_utilization_percent: i32,
    /// How fast replicas are added: by the larger of the two steps.
    pub scale_up: ScaleUp,
    /// How fast replicas are removed.
    pub scale_down: ScaleDown,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            enabled: true,
            min_replicas: 3,
            max_replicas: 10,
            cpu_utilization_percent: 70,
            memory_utilization_percent: 80,
            scale_up: ScaleUp::default(),
            scale_down: ScaleDown::default(),
        }
    }
}

/// Steps by which replicas are added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleUp {
    /// Replicas added per period, in percent of the present number.
    #[schemars(range(min = 1, max = 1000))]
    pub percent: i32,
    /// Replicas added per period, as a number.
    #[schemars(range(min = 1, max = 100))]
    pub pods: i32,
    /// Length of a period in seconds.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

impl Default for ScaleUp {
    fn default() -> Self {
        Self {
            percent: 100,
            pods: 2,
            period_seconds: 30,
        }
    }
}

/// Steps by which replicas are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleDown {
    /// Replicas removed per period, in percent of the present number.
    #[schemars(range(min = 1, max = 100))]
    pub percent: i32,
    /// Length of a period in seconds.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
    /// How long load must stay low before replicas are removed, in seconds.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_seconds: i32,
}

impl Default for ScaleDown {
    fn default() -> Self {
        Self {
            percent: 30,
            period_seconds: 60,
            stabilization_seconds: 300,
        }
    }
}
