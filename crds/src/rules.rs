//! The CEL rules: what a schema cannot say, each with a message that says what to do.
//!
//! The API server evaluates them on every write, so a resource that breaks one never reaches the
//! operator. Each rule stands in the table test `bad_resources` with a resource that breaks it.

use serde::Serialize;

/// One `x-kubernetes-validations` entry.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rule {
    pub rule: &'static str,
    pub message: &'static str,
}

const fn rule(rule: &'static str, message: &'static str) -> Rule {
    Rule { rule, message }
}

/// On the whole object.
pub const ROOT: &[Rule] = &[
    rule(
        "self.metadata.name.size() <= 30",
        "metadata.name must have at most 30 characters: names of its objects are made from it",
    ),
    rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must start with a letter and have only a-z, 0-9 and '-': Services are named after it",
    ),
];

/// On `spec`: what concerns several sections, and what the defaults alone do not satisfy (the
/// schema's own defaults must pass the rules of their section).
pub const SPEC: &[Rule] = &[
    rule(
        "self.channels.simulator || self.channels.wechat.enabled || self.channels.alipay.enabled",
        "switch on a channel: set channels.wechat.enabled, channels.alipay.enabled or channels.simulator to true",
    ),
    rule(
        "self.channels.simulator || has(self.channels.callbackBaseUrl) || has(self.expose)",
        "the channels must know where to call back: set channels.callbackBaseUrl or expose",
    ),
    rule(
        "has(self.mysql.external) || self.mysql.maxConnections >= 50 + 10 * (2 + self.payment.workers.replicas + (self.payment.autoscaling.enabled ? self.payment.autoscaling.maxReplicas : self.payment.replicas) + (self.callback.autoscaling.enabled ? self.callback.autoscaling.maxReplicas : self.callback.replicas) + (has(self.orders) && !has(self.orders.external) ? self.orders.replicas : 0))",
        "mysql.maxConnections is too small for the replicas: allow 10 per replica of payment (at its maximum), callback (at its maximum), orders and workers, 20 for reconciliation and 50 for the coordinator",
    ),
    rule(
        "has(self.orders) || !has(oldSelf.orders)",
        "orders cannot be removed from a living system: charged payments that wait to be confirmed would wait for ever",
    ),
    rule(
        "has(self.mysql.external) || !has(self.mysql.resources.limits) || !has(self.mysql.resources.limits.memory) || quantity(self.mysql.innodbBufferPoolSize).isLessThan(quantity(self.mysql.resources.limits.memory))",
        "mysql.innodbBufferPoolSize must be smaller than mysql.resources.limits.memory: raise the limit or shrink the pool",
    ),
];

/// On `spec.mysql`.
pub const MYSQL: &[Rule] = &[
    rule(
        "has(self.external) == has(oldSelf.external)",
        "mysql.external cannot be added or removed on a living system: payments would stay behind in the other database; make a new PaymentSystem and move the data",
    ),
    rule(
        "!has(self.external) || self.retention == 'Retain'",
        "mysql.retention: Delete has no effect on an external database: remove it",
    ),
    rule(
        "isQuantity(self.innodbBufferPoolSize) && !quantity(self.innodbBufferPoolSize).isLessThan(quantity('8Mi'))",
        "mysql.innodbBufferPoolSize must be a quantity of at least 8Mi, such as 1Gi",
    ),
];

/// On `spec.redis`.
pub const REDIS: &[Rule] = &[rule(
    "!has(self.external) || self.retention == 'Retain'",
    "redis.retention: Delete has no effect on an external cache: remove it",
)];

/// On `spec.transactionCoordinator`.
pub const COORDINATOR: &[Rule] = &[
    rule(
        "self.transactionGroup == oldSelf.transactionGroup",
        "transactionCoordinator.transactionGroup cannot be changed: open global transactions belong to it",
    ),
    rule(
        "has(self.external) == has(oldSelf.external)",
        "transactionCoordinator.external cannot be added or removed on a living system: open global transactions would be lost",
    ),
    rule(
        "!has(self.jvmOptions) || self.jvmOptions.all(o, o.startsWith('-'))",
        "each of transactionCoordinator.jvmOptions must start with '-'",
    ),
    rule(
        "!has(self.jvmOptions) || !self.jvmOptions.exists(o, o.startsWith('-Xmx') || o.startsWith('-Xms'))",
        "set the heap by transactionCoordinator.heap, not by jvmOptions",
    ),
    rule(
        "!self.image.matches('seata[^/]*:v?2[.]0([.-]|$)')",
        "Seata 2.0 rolls back branches in the wrong order: use 1.8.0, or 2.1 or later",
    ),
];

/// On `spec.orders`.
pub const ORDERS: &[Rule] = &[rule(
    "has(self.external) == has(oldSelf.external)",
    "orders.external cannot be added or removed on a living system: orders and stock would stay behind in the other service",
)];

/// On `spec.orders.external.url`. `http` is for Services of the cluster alone, as in [`NOTIFY`].
pub const ORDERS_URL: &[Rule] = &[
    rule(
        "self.matches('^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?$') && !self.endsWith('/')",
        "orders.external.url is an address such as https://orders.example.com, without a user, spaces and a final slash",
    ),
    rule(
        "!self.startsWith('http://') || self.matches('^http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.]cluster[.]local)?(:[0-9]{1,5})?(/.*)?$')",
        "orders.external.url must start with https://, or name a Service of this cluster such as http://orders.shop.svc:8080",
    ),
];

/// On `spec.payment`.
pub const PAYMENT: &[Rule] = &[
    rule(
        "self.expiresInSeconds >= self.idempotencyWindowSeconds",
        "payment.expiresInSeconds must not be smaller than payment.idempotencyWindowSeconds",
    ),
    rule(
        "!self.autoscaling.enabled || (has(self.resources.requests.cpu) && has(self.resources.requests.memory))",
        "payment.autoscaling needs resources.requests.cpu and resources.requests.memory: its targets are percentages of them",
    ),
];

/// On `spec.callback`.
pub const CALLBACK: &[Rule] = &[rule(
    "!self.autoscaling.enabled || (has(self.resources.requests.cpu) && has(self.resources.requests.memory))",
    "callback.autoscaling needs resources.requests.cpu and resources.requests.memory: its targets are percentages of them",
)];

/// On `spec.reconciliation`.
pub const RECONCILIATION: &[Rule] = &[rule(
    "!self.dailyRun.enabled || self.dailyRun.schedule != self.schedule",
    "reconciliation.dailyRun.schedule must differ from reconciliation.schedule: the runs would start together",
)];

/// On `spec.reconciliation.corrections`.
pub const CORRECTIONS: &[Rule] = &[rule(
    "!self.dailyAmount.matches('^[0.]*$')",
    "corrections.dailyAmount must be more than 0: to correct nothing, set corrections.enabled to false",
)];

/// On `spec.reconciliation.notify`. `http` is for Services of the cluster alone: the evidence in
/// a message must not cross a network in the clear.
pub const NOTIFY: &[Rule] = &[
    rule(
        "self.url.matches('^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?$')",
        "notify.url is an address such as https://hooks.example.com/differences, without a user and without spaces",
    ),
    rule(
        "!self.url.startsWith('http://') || self.url.matches('^http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.]cluster[.]local)?(:[0-9]{1,5})?(/.*)?$')",
        "notify.url must start with https://, or name a Service of this cluster such as http://name.namespace.svc:8080/path",
    ),
];

/// On every amount of money.
pub const AMOUNT: &[Rule] = &[rule(
    "self.matches('^(0|[1-9][0-9]{0,11})([.][0-9]{1,2})?$')",
    "an amount is yuan with at most two decimals, such as '10000.00'",
)];

/// On every rate.
pub const RATE: &[Rule] = &[rule(
    "self.matches('^[0-9]{1,2}([.][0-9]{1,4})?%$')",
    "a rate is a percentage below 100 with at most four decimals, such as '0.6%'",
)];

/// On `spec.channels`.
pub const CHANNELS: &[Rule] = &[
    rule(
        "!self.simulator || self.secretName == 'payment-service-secret'",
        "channels.simulator makes its own keys: remove channels.secretName, or set channels.simulator to false",
    ),
    rule(
        "!self.simulator || self.wechat.baseUrl == 'https://api.mch.weixin.qq.com'",
        "channels.simulator replaces WeChat Pay: remove channels.wechat.baseUrl, or set channels.simulator to false",
    ),
    rule(
        "!self.simulator || self.alipay.gatewayUrl == 'https://openapi.alipay.com/gateway.do'",
        "channels.simulator replaces Alipay: remove channels.alipay.gatewayUrl, or set channels.simulator to false",
    ),
    rule(
        "self.simulator || !has(self.callbackBaseUrl) || self.callbackBaseUrl.startsWith('https://')",
        "channels.callbackBaseUrl must start with https://: the channels call nothing else",
    ),
];

/// On `spec.expose`.
pub const EXPOSE: &[Rule] = &[
    rule(
        "!(has(self.gateway) && has(self.ingress))",
        "expose either by gateway or by ingress: remove one of them",
    ),
    rule(
        "has(self.gateway) || has(self.ingress)",
        "expose needs gateway or ingress: add one, or remove expose",
    ),
];

/// On `spec.monitoring`.
pub const MONITORING: &[Rule] = &[
    rule(
        "!has(self.labels) || self.labels.all(k, size(k) <= 317 && size(self.labels[k]) <= 63)",
        "monitoring.labels: a value must have at most 63 characters",
    ),
    rule(
        "!has(self.labels) || !self.labels.exists(k, k.startsWith('app.kubernetes.io/') || k.startsWith('paymentsystem.dev/'))",
        "monitoring.labels must not use app.kubernetes.io/ or paymentsystem.dev/: the operator owns those",
    ),
];

/// On every `resources`.
pub const RESOURCES: &[Rule] = &[
    rule(
        "!has(self.limits) || !has(self.limits.cpu) || !has(self.requests.cpu) || !quantity(self.limits.cpu).isLessThan(quantity(self.requests.cpu))",
        "limits.cpu must not be smaller than requests.cpu",
    ),
    rule(
        "!has(self.limits) || !has(self.limits.memory) || !has(self.requests.memory) || !quantity(self.limits.memory).isLessThan(quantity(self.requests.memory))",
        "limits.memory must not be smaller than requests.memory",
    ),
];

/// On every `storage`.
pub const STORAGE: &[Rule] = &[
    rule(
        "self.storageClassName == oldSelf.storageClassName",
        "storageClassName cannot be changed: a volume stays in its class; make a new PaymentSystem and move the data",
    ),
    rule(
        "!quantity(self.size).isLessThan(quantity(oldSelf.size))",
        "storage.size may only grow: volumes cannot shrink",
    ),
    rule(
        "isQuantity(self.size) && quantity(self.size).isGreaterThan(quantity('0'))",
        "storage.size must be a positive quantity, such as 20Gi",
    ),
];

/// On every `autoscaling`.
pub const AUTOSCALING: &[Rule] = &[rule(
    "self.minReplicas <= self.maxReplicas",
    "autoscaling.minReplicas must not be larger than autoscaling.maxReplicas",
)];

/// On every `external`.
pub const HOST: &[Rule] = &[
    rule(
        "!self.host.contains('://')",
        "external.host is a DNS name or an address: remove the scheme",
    ),
    rule(
        "!self.host.contains(':') || isIP(self.host)",
        "external.host must not carry a port: set external.port",
    ),
];

/// On every `image`.
pub const IMAGE: &[Rule] = &[
    rule(
        "self.matches('(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$')",
        "an image needs a tag or a digest, such as mysql:9.7",
    ),
    rule(
        "!self.endsWith(':latest')",
        "an image tagged latest changes under a running system: name a version",
    ),
];

/// On every cron schedule.
pub const CRON: &[Rule] = &[
    rule(
        "self.matches('^[^ ]+( [^ ]+){4}$')",
        "a schedule needs five fields (minute, hour, day of month, month, day of week), such as '0/30 * * * *'",
    ),
    rule(
        "self.matches('^[0-9A-Za-z*/,? -]*$')",
        "a schedule may have digits, names of days and months, and * / , - ?",
    ),
];
