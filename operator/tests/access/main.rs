//! What the operator is granted is what it needs: nothing less, and nothing more.
//!
//! Guarantees: while a system lives through all that can happen to it, every question that the API
//! server asks about the operator (may it do this?) has a rule that grants it, and every verb of
//! every rule is asked about. The questions are seen by an authorizer beside RBAC, so that those
//! count, too, that no request shows: whether an apply may create, whether an owner may be named.
//!
//! Not here: whether the operator does the right things with its rights.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests"
)]

mod grants;
mod life;
mod namespaces;
mod questions;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use grants::{Grant, granted};
use life::Life;
use payment_operator::install::{self, Installation};
use questions::{Question, Questions};
use support::{cluster::NAMESPACE, process};

/// Rules that no question was covered by, and questions that no rule covers.
fn findings(grants: &[Grant], questions: &BTreeSet<Question>) -> Vec<String> {
    let idle = grants
        .iter()
        .filter(|grant| !questions.iter().any(|question| grant.covers(question)))
        .map(|grant| format!("granted, and never needed: {grant:?}"));
    let missing = questions
        .iter()
        .filter(|question| !grants.iter().any(|grant| grant.covers(question)))
        .map(|question| format!("needed, and not granted: {question:?}"));
    idle.chain(missing).collect()
}

/// Lives a life under an installation, and compares.
async fn grants_are_what_is_needed(installation: &Installation, arguments: &[&str]) {
    let questions = Questions::listen(process::USER).await;
    let life = Life::begin(installation, &questions, arguments).await;
    life.live(&questions).await;
    let grants = granted(&install::yaml(installation).unwrap());
    let found = findings(&grants, &questions.asked());
    println!(
        "{} rights, {} questions",
        grants.len(),
        questions.asked().len()
    );
    assert!(
        found.is_empty(),
        "{} findings:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_of_the_installation_is_needed_and_none_is_missing() {
    grants_are_what_is_needed(&process::installation(), &[]).await;
}

/// As on OpenShift.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_where_the_api_server_guards_owner_references() {
    let installation = Installation {
        owner_references_enforced: true,
        ..process::installation()
    };
    let plugin = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement";
    grants_are_what_is_needed(&installation, &[plugin]).await;
}

/// Without any right in the cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_in_a_namespace_with_nothing_but_roles() {
    let installation = Installation {
        watch_namespaces: vec![NAMESPACE.to_owned()],
        ..process::installation()
    };
    let grants = granted(&install::yaml(&installation).unwrap());
    assert!(grants.iter().all(|grant| grant.namespace.is_some()));
    grants_are_what_is_needed(&installation, &[]).await;
}
