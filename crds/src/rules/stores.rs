//! Rules on the database, the cache and the transaction coordinator.

use super::{Rule, rule};

/// On `spec.mysql`. An image's version is what its tag begins with; one without is not compared.
pub(crate) const MYSQL: &[Rule] = &[
    rule(
        "has(self.external) == has(oldSelf.external)",
        "mysql.external cannot be added or removed on a living system: payments would stay behind in the other database; make a new PaymentSystem and move the data",
    ),
    rule(
        "!has(self.external) || self.retention == 'Retain'",
        "mysql.retention: Delete has no effect on an external database: remove it",
    ),
    rule(
        "!has(self.external) || !has(self.tls)",
        "mysql.tls is for the managed database: remove it, and set mysql.external.tls",
    ),
    rule(
        "isQuantity(self.innodbBufferPoolSize) && !quantity(self.innodbBufferPoolSize).isLessThan(quantity('8Mi'))",
        "mysql.innodbBufferPoolSize must be a quantity of at least 8Mi, such as 1Gi",
    ),
    rule(
        "has(self.external) || !has(self.resources.limits) || !has(self.resources.limits.memory) || quantity(self.innodbBufferPoolSize).isLessThan(quantity(self.resources.limits.memory))",
        "mysql.innodbBufferPoolSize must be smaller than mysql.resources.limits.memory: raise the limit or shrink the pool",
    ),
    rule(
        "has(self.external) || !self.image.matches(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$') || !oldSelf.image.matches(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$') || int(self.image.find(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$').find('[0-9]+')) > int(oldSelf.image.find(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$').find('[0-9]+')) || (int(self.image.find(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$').find('[0-9]+')) == int(oldSelf.image.find(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$').find('[0-9]+')) && (!self.image.matches(':[0-9]{1,4}[.][0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$') || !oldSelf.image.matches(':[0-9]{1,4}[.][0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$') || int(self.image.find(':[0-9]{1,4}[.][0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$').find('[.][0-9]+').substring(1)) >= int(oldSelf.image.find(':[0-9]{1,4}[.][0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$').find('[.][0-9]+').substring(1))))",
        "mysql.image: MySQL cannot be downgraded; keep the version, or make a new PaymentSystem with the older one and load a dump",
    ),
    rule(
        "has(self.external) || !oldSelf.image.matches(':8[.]0([.][0-9]{1,4})*([-_][^/:@]*)?$') || !self.image.matches(':(9|[1-9][0-9])([.][0-9]{1,4})*([-_][^/:@]*)?$')",
        "mysql.image: MySQL 8.0 cannot be upgraded to 9 in one step; upgrade to 8.4 first",
    ),
];

/// On `spec.redis`. `1gb` of Redis is `1Gi` of Kubernetes, `1g` is `1G`.
pub(crate) const REDIS: &[Rule] = &[
    rule(
        "!has(self.external) || self.retention == 'Retain'",
        "redis.retention: Delete has no effect on an external cache: remove it",
    ),
    rule(
        "!has(self.external) || !has(self.tls)",
        "redis.tls is for the managed cache: remove it, and set redis.external.tls",
    ),
    rule(
        "has(self.external) || !has(self.resources.limits) || !has(self.resources.limits.memory) || quantity(self.maxmemory.replace('gb', 'Gi').replace('mb', 'Mi').replace('kb', 'Ki').replace('g', 'G').replace('m', 'M')).isLessThan(quantity(self.resources.limits.memory))",
        "redis.maxmemory must be smaller than redis.resources.limits.memory: the server needs more than its data, and is killed beyond the limit",
    ),
    rule(
        "has(self.external) || !quantity(self.storage.size).isLessThan(quantity(self.maxmemory.replace('gb', 'Gi').replace('mb', 'Mi').replace('kb', 'Ki').replace('g', 'G').replace('m', 'M')).add(quantity(self.maxmemory.replace('gb', 'Gi').replace('mb', 'Mi').replace('kb', 'Ki').replace('g', 'G').replace('m', 'M'))))",
        "redis.storage.size must be at least twice redis.maxmemory: while the append-only file is rewritten, the old and the new one stand beside each other",
    ),
    rule(
        "has(self.external) || !self.image.matches(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$') || !oldSelf.image.matches(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$') || int(self.image.find(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$').find('[0-9]+')) >= int(oldSelf.image.find(':[0-9]{1,4}([.][0-9]{1,4})*([-_][^/:@]*)?$').find('[0-9]+'))",
        "redis.image: an older server cannot read the files of a later one; keep the version, or make a new PaymentSystem",
    ),
];

/// On `spec.transactionCoordinator`.
pub(crate) const COORDINATOR: &[Rule] = &[
    rule(
        "self.transactionGroup == oldSelf.transactionGroup",
        "transactionCoordinator.transactionGroup cannot be changed: open global transactions belong to it",
    ),
    rule(
        "has(self.external) == has(oldSelf.external)",
        "transactionCoordinator.external cannot be added or removed on a living system: open global transactions would be lost",
    ),
    rule(
        "!has(self.external) || !has(self.clientNamespaces)",
        "transactionCoordinator.clientNamespaces has no effect on an external coordinator: remove it, and keep others away from there",
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
        "!has(self.jvmOptions) || !self.jvmOptions.exists(o, o.matches('^-XX:(Initial|Min|Max)RAM(Percentage|Fraction)='))",
        "transactionCoordinator.jvmOptions: a share of the memory has no effect beside the heap's size; set transactionCoordinator.heap",
    ),
    rule(
        "!has(self.jvmOptions) || self.jvmOptions.exists(o, o == '-XX:-UseSerialGC') || !self.jvmOptions.exists(o, o.matches('^-XX:[+]Use[A-Za-z0-9]+GC$') && o != '-XX:+UseSerialGC')",
        "transactionCoordinator.jvmOptions: with two collectors the Java virtual machine does not start; put -XX:-UseSerialGC before the other one",
    ),
    rule(
        "!has(self.jvmOptions) || !self.jvmOptions.exists(o, o.matches('^(-jar|-cp|-classpath|--class-path)([ =].*)?$'))",
        "transactionCoordinator.jvmOptions: what is run is given by the image; remove -jar and the class path",
    ),
    rule(
        "!has(self.heap) || !has(self.resources.limits) || !has(self.resources.limits.memory) || quantity(self.heap.replace('m', 'Mi').replace('g', 'Gi')).isLessThan(quantity(self.resources.limits.memory))",
        "transactionCoordinator.heap must be smaller than transactionCoordinator.resources.limits.memory: the Java virtual machine needs more than its heap, and is killed beyond the limit",
    ),
    rule(
        "!self.image.matches('seata[^/]*:v?2[.]0([.-]|$)')",
        "Seata 2.0 rolls back branches in the wrong order: use 1.8.0, or 2.1 or later",
    ),
];
