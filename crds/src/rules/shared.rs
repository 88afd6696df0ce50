//! Rules on what several sections have: names, images, resources, volumes, schedules, amounts.

use super::{Rule, rule};

/// On every name of an object that the user provides.
pub(crate) const OBJECT_NAME: &[Rule] = &[rule(
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    "the name of an object has only a-z, 0-9, '-' and '.', with a letter or digit at both ends of each part",
)];

/// On every list of namespaces.
pub(crate) const NAMESPACES: &[Rule] = &[
    rule(
        "self.all(n, self.exists_one(m, m == n))",
        "the list names a namespace twice: remove one",
    ),
    rule(
        "self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
        "the name of a namespace has only a-z, 0-9 and '-', with a letter or digit at both ends",
    ),
];

/// On every `resources`. Kubernetes takes `256m` of memory for a quarter of a byte.
pub(crate) const RESOURCES: &[Rule] = &[
    rule(
        "!has(self.limits) || !has(self.limits.cpu) || !has(self.requests.cpu) || !quantity(self.limits.cpu).isLessThan(quantity(self.requests.cpu))",
        "limits.cpu must not be smaller than requests.cpu",
    ),
    rule(
        "!has(self.limits) || !has(self.limits.memory) || !has(self.requests.memory) || quantity(self.limits.memory).isLessThan(quantity('1Mi')) || !quantity(self.limits.memory).isLessThan(quantity(self.requests.memory))",
        "limits.memory must not be smaller than requests.memory",
    ),
    rule(
        "!has(self.requests.cpu) || quantity(self.requests.cpu).isGreaterThan(quantity('0'))",
        "requests.cpu must be more than 0: the scheduler reserves it, and autoscaling is a percentage of it",
    ),
    rule(
        "!has(self.requests.memory) || !quantity(self.requests.memory).isLessThan(quantity('1Mi'))",
        "requests.memory is in bytes and must be at least 1Mi: write 256Mi for 256 mebibytes, not 256m",
    ),
    rule(
        "!has(self.limits) || !has(self.limits.memory) || !quantity(self.limits.memory).isLessThan(quantity('1Mi'))",
        "limits.memory is in bytes and must be at least 1Mi: write 256Mi for 256 mebibytes, not 256m",
    ),
];

/// On every `storage`.
pub(crate) const STORAGE: &[Rule] = &[
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
    rule(
        "!isQuantity(self.size) || !quantity(self.size).isGreaterThan(quantity('0')) || !quantity(self.size).isLessThan(quantity('100Mi'))",
        "storage.size is in bytes and must be at least 100Mi: write 20Gi, not 20",
    ),
];

/// On every `autoscaling`.
pub(crate) const AUTOSCALING: &[Rule] = &[
    rule(
        "self.minReplicas <= self.maxReplicas",
        "autoscaling.minReplicas must not be larger than autoscaling.maxReplicas",
    ),
    rule(
        "self.scaleDown.percent < 100 || self.scaleDown.stabilizationSeconds > 0",
        "autoscaling.scaleDown would remove all but minReplicas in the first quiet moment: set percent below 100, or stabilizationSeconds above 0",
    ),
];

/// On every section that has `autoscaling` and `resources`. A container is held at its limit, so
/// its use never gets beyond it.
pub(crate) const SCALED: &[Rule] = &[
    rule(
        "!self.autoscaling.enabled || !has(self.resources.limits) || !has(self.resources.limits.cpu) || !has(self.resources.requests.cpu) || quantity(self.resources.limits.cpu).asApproximateFloat() * 100.0 >= quantity(self.resources.requests.cpu).asApproximateFloat() * double(self.autoscaling.cpuUtilizationPercent)",
        "autoscaling.cpuUtilizationPercent of requests.cpu is more than limits.cpu and never reached: raise the limit or lower the percentage",
    ),
    rule(
        "!self.autoscaling.enabled || !has(self.resources.limits) || !has(self.resources.limits.memory) || !has(self.resources.requests.memory) || quantity(self.resources.limits.memory).asApproximateFloat() * 100.0 >= quantity(self.resources.requests.memory).asApproximateFloat() * double(self.autoscaling.memoryUtilizationPercent)",
        "autoscaling.memoryUtilizationPercent of requests.memory is more than limits.memory and never reached: raise the limit or lower the percentage",
    ),
];

/// On every `external` with a host.
pub(crate) const HOST: &[Rule] = &[
    rule(
        "!self.host.contains('://')",
        "external.host is a DNS name or an address: remove the scheme",
    ),
    rule(
        "self.host.contains('://') || !self.host.contains(':') || isIP(self.host)",
        "external.host must not carry a port: set external.port",
    ),
    rule(
        "self.host.contains(':') || self.host.matches('^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$')",
        "external.host must be a DNS name such as db.databases.svc, or an IP address",
    ),
];

/// On every `image`.
pub(crate) const IMAGE: &[Rule] = &[
    rule(
        "self.matches('(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$')",
        "an image needs a tag or a digest, such as mysql:9.7",
    ),
    rule(
        "!self.endsWith(':latest')",
        "an image tagged latest changes under a running system: name a version",
    ),
    rule(
        "!self.contains('://') && !self.contains(' ')",
        "an image has neither a scheme nor spaces, such as registry.example.com/mysql:9.7",
    ),
];

/// On every cron schedule.
pub(crate) const CRON: &[Rule] = &[
    rule(
        "self.matches('^[^ ]+( [^ ]+){4}$')",
        "a schedule needs five fields (minute, hour, day of month, month, day of week), such as '0/30 * * * *'",
    ),
    rule(
        "self.matches('^[0-9A-Za-z*/,? -]*$')",
        "a schedule may have digits, names of days and months, and * / , - ?",
    ),
    rule(
        "!self.matches('^[0-9A-Za-z*/,?-]+( [0-9A-Za-z*/,?-]+){4}$') || self.matches('(?i)^([*?]|[0-5]?[0-9](-[0-5]?[0-9])?)(/[1-9][0-9]?)?(,([*?]|[0-5]?[0-9](-[0-5]?[0-9])?)(/[1-9][0-9]?)?)* ([*?]|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/[1-9][0-9]?)?(,([*?]|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/[1-9][0-9]?)?)* ([*?]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]?)?(,([*?]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]?)?)* ([*?]|(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(-(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))?)(/[1-9][0-9]?)?(,([*?]|(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(-(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))?)(/[1-9][0-9]?)?)* ([*?]|([0-6]|sun|mon|tue|wed|thu|fri|sat)(-([0-6]|sun|mon|tue|wed|thu|fri|sat))?)(/[1-9][0-9]?)?(,([*?]|([0-6]|sun|mon|tue|wed|thu|fri|sat)(-([0-6]|sun|mon|tue|wed|thu|fri|sat))?)(/[1-9][0-9]?)?)*$')",
        "a schedule has minutes 0-59, hours 0-23, days 1-31, months 1-12 or JAN-DEC and days of the week 0-6 or SUN-SAT",
    ),
    rule(
        "!self.matches('^([*?](/[1-4])?|[0-9]+(-[0-9]+)?/[1-4]) ')",
        "a run every few minutes asks the channels for bills that come once a day: leave at least five minutes, such as '0/5 * * * *'",
    ),
];

/// On every amount of money.
pub(crate) const AMOUNT: &[Rule] = &[rule(
    "self.matches('^(0|[1-9][0-9]{0,11})([.][0-9]{1,2})?$')",
    "an amount is yuan with at most two decimals, such as '10000.00'",
)];

/// On every rate.
pub(crate) const RATE: &[Rule] = &[rule(
    "self.matches('^[0-9]{1,2}([.][0-9]{1,4})?%$')",
    "a rate is a percentage below 100 with at most four decimals, such as '0.6%'",
)];
