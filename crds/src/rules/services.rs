//! Rules on the services, the channels, and the ways to and from them.

use super::{Rule, rule};

/// On `spec.orders`.
pub(crate) const ORDERS: &[Rule] = &[
    rule(
        "has(self.external) == has(oldSelf.external)",
        "orders.external cannot be added or removed on a living system: orders and stock would stay behind in the other service",
    ),
    rule(
        "!has(self.external) || !has(self.clientNamespaces)",
        "orders.clientNamespaces has no effect on an external order service: remove it, and keep others away from there",
    ),
];

/// On `spec.orders.external.url`. `http` is for Services of the cluster alone, as in [`NOTIFY`].
pub(crate) const ORDERS_URL: &[Rule] = &[
    rule(
        "self.matches('^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?$') && !self.endsWith('/')",
        "orders.external.url is an address such as https://orders.example.com, without a user, spaces and a final slash",
    ),
    rule(
        "!self.startsWith('http://') || self.matches('^http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.]cluster[.]local)?(:[0-9]{1,5})?(/.*)?$')",
        "orders.external.url must start with https://, or name a Service of this cluster such as http://orders.shop.svc:8080",
    ),
];

/// On `spec.payment`. `kubectl scale` and autoscalers of one's own write `replicas`; where nothing
/// would come of it they are told.
pub(crate) const PAYMENT: &[Rule] = &[
    rule(
        "self.expiresInSeconds >= self.idempotencyWindowSeconds",
        "payment.expiresInSeconds must not be smaller than payment.idempotencyWindowSeconds",
    ),
    rule(
        "self.replicas == oldSelf.replicas || !self.autoscaling.enabled || !oldSelf.autoscaling.enabled",
        "payment.replicas has no effect while payment.autoscaling is on: change its minReplicas and maxReplicas, or set payment.autoscaling.enabled to false",
    ),
];

/// On `spec.reconciliation`.
pub(crate) const RECONCILIATION: &[Rule] = &[
    rule(
        "!self.dailyRun.enabled || self.dailyRun.schedule != self.schedule",
        "reconciliation.dailyRun.schedule must differ from reconciliation.schedule: the runs would start together",
    ),
    rule(
        "!has(self.notify) || !has(self.peopleSecretRef) || self.notify.secretRef.name != self.peopleSecretRef.name || self.notify.secretRef.key != self.peopleSecretRef.key",
        "reconciliation.peopleSecretRef and reconciliation.notify.secretRef name the same key: one is a list of people, the other signs messages",
    ),
];

/// On `spec.reconciliation.dailyRun.schedule`, beside what every schedule must be.
pub(crate) const DAILY: &[Rule] = &[rule(
    "!self.matches('^[^ ]+ [^ ]+ ') || self.matches('^[0-9]+ [0-9]+ ')",
    "reconciliation.dailyRun.schedule names one minute and one hour, such as '0 2 * * *': more than one run a day is for reconciliation.schedule",
)];

/// On `spec.reconciliation.corrections`.
pub(crate) const CORRECTIONS: &[Rule] = &[rule(
    "!self.dailyAmount.matches('^[0.]*$')",
    "corrections.dailyAmount must be more than 0: to correct nothing, set corrections.enabled to false",
)];

/// On `spec.reconciliation.notify`. `http` is for Services of the cluster alone: the evidence in
/// a message must not cross a network in the clear.
pub(crate) const NOTIFY: &[Rule] = &[
    rule(
        "self.url.matches('^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?$')",
        "notify.url is an address such as https://hooks.example.com/differences, without a user and without spaces",
    ),
    rule(
        "!self.url.startsWith('http://') || self.url.matches('^http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.]cluster[.]local)?(:[0-9]{1,5})?(/.*)?$')",
        "notify.url must start with https://, or name a Service of this cluster such as http://name.namespace.svc:8080/path",
    ),
];

/// On `spec.channels`.
pub(crate) const CHANNELS: &[Rule] = &[
    rule(
        "!self.simulator || oldSelf.simulator",
        "channels.simulator cannot be switched on in a system of real channels: open payments would be looked for in the simulator and closed; make another PaymentSystem to try things out",
    ),
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
        "!self.simulator || !self.wechat.platformCertificates",
        "channels.simulator has no platform certificates: remove channels.wechat.platformCertificates, or set channels.simulator to false",
    ),
    rule(
        "!self.simulator || !self.alipay.certificateMode",
        "channels.simulator has no certificates: remove channels.alipay.certificateMode, or set channels.simulator to false",
    ),
    rule(
        "self.simulator || !has(self.callbackBaseUrl) || self.callbackBaseUrl.startsWith('https://')",
        "channels.callbackBaseUrl must start with https://: the channels call nothing else",
    ),
    rule(
        "self.simulator || !has(self.callbackBaseUrl) || !self.callbackBaseUrl.matches('^https://(localhost|127[.][0-9.]+|10[.][0-9.]+|192[.]168[.][0-9.]+|[^/:]*[.](svc|local|internal))(:[0-9]+)?$')",
        "channels.callbackBaseUrl must be reachable from the internet, where the channels call from: name a public host",
    ),
];

/// On `spec.expose`.
pub(crate) const EXPOSE: &[Rule] = &[
    rule(
        "!(has(self.gateway) && has(self.ingress))",
        "expose either by gateway or by ingress: remove one of them",
    ),
    rule(
        "has(self.gateway) || has(self.ingress)",
        "expose needs gateway or ingress: add one, or remove expose",
    ),
];

/// On `spec.expose.gateway`, as the Gateway API wants it.
pub(crate) const GATEWAY: &[Rule] = &[
    rule(
        "self.hostnames.all(h, self.hostnames.exists_one(g, g == h))",
        "expose.gateway.hostnames names a host twice: remove one",
    ),
    rule(
        "self.parentRefs.all(p, self.parentRefs.exists_one(q, q.name == p.name && (has(q.__namespace__) ? q.__namespace__ : '') == (has(p.__namespace__) ? p.__namespace__ : '') && (has(q.sectionName) ? q.sectionName : '') == (has(p.sectionName) ? p.sectionName : '')))",
        "expose.gateway.parentRefs names a listener twice: remove one",
    ),
    rule(
        "self.parentRefs.all(p, has(p.sectionName) || !self.parentRefs.exists(q, has(q.sectionName) && q.name == p.name && (has(q.__namespace__) ? q.__namespace__ : '') == (has(p.__namespace__) ? p.__namespace__ : '')))",
        "expose.gateway.parentRefs names a Gateway with and without a listener: add sectionName to each, or keep the one without",
    ),
];

/// On `spec.network`.
pub(crate) const NETWORK: &[Rule] = &[rule(
    "self.policies || !(has(self.clientNamespaces) || has(self.monitoringNamespaces) || has(self.egressCidrs))",
    "network.policies is false, so that clientNamespaces, monitoringNamespaces and egressCidrs have no effect: remove them, or set it to true",
)];

/// On `spec.network.egressCidrs`.
pub(crate) const CIDRS: &[Rule] = &[rule(
    "self.all(c, isCIDR(c) && string(cidr(c).masked()) == c)",
    "network.egressCidrs: a range of addresses is its first address and the length of their common part, such as 203.0.113.0/24",
)];

/// On `spec.monitoring`.
pub(crate) const MONITORING: &[Rule] = &[
    rule(
        "!has(self.labels) || self.labels.all(k, size(k) <= 317 && size(self.labels[k]) <= 63)",
        "monitoring.labels: a value must have at most 63 characters",
    ),
    rule(
        "!has(self.labels) || self.labels.all(k, self.labels[k].matches('^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$'))",
        "monitoring.labels: a value has only letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    ),
    rule(
        "!has(self.labels) || self.labels.all(k, k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$'))",
        "monitoring.labels: a name such as example.com/team has letters, digits, '-', '_' and '.', at most 63 after the slash",
    ),
    rule(
        "!has(self.labels) || !self.labels.exists(k, k.startsWith('app.kubernetes.io/') || k.startsWith('paymentsystem.dev/'))",
        "monitoring.labels must not use app.kubernetes.io/ or paymentsystem.dev/: the operator owns those",
    ),
];
