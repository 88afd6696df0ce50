//! A Go operator measured in the same way, to hold ours against.
//!
//! RabbitMQ's cluster operator, a snapshot 29 commits after 2.22.3, ten children a resource, on
//! the same servers without controllers and kubelets, counted in the same audit log, its webhooks
//! off, two shared cores at a load of 9 to 12: its times are upper bounds, its counts and its
//! memory are not. Figures are printed for each child, because resources differ in how many they
//! have.

/// Children of each of its resources.
const CHILDREN: f64 = 10.0;
const RESOURCES: f64 = 100.0;

/// One comment a line: what it is, in total and for each child.
pub(super) fn print() {
    println!("# RabbitMQ's cluster operator (Go), measured the same way, for each child:");
    for (what, total, children, unit) in [
        ("create: requests", 3183.0, CHILDREN * RESOURCES, "requests"),
        (
            "create: milliseconds until all exist",
            16_400.0,
            CHILDREN * RESOURCES,
            "ms",
        ),
        ("create: processor time", 2600.0, CHILDREN * RESOURCES, "ms"),
        (
            "waiting for pods, nothing changes, 1 minute",
            3519.0,
            CHILDREN * RESOURCES,
            "requests",
        ),
        (
            "waiting, statuses say ready but no pod answers, 1 minute",
            8045.0,
            CHILDREN * RESOURCES,
            "requests",
        ),
        (
            "memory above that of an idle operator (54.5 to 79 MB)",
            24.5 * 1024.0,
            CHILDREN * RESOURCES,
            "KB",
        ),
    ] {
        println!("#   {what}: {:.2} {unit}", total / children);
    }
    println!("#   idle, no resource, 1 minute: 30 requests, all of the lease; memory 54 to 55 MB");
}
