//! The web page of reconciliation against real servers: over plain HTTP, and as a person sees it
//! in a browser.

#![cfg(test)]

mod chromium;
mod pages;
mod person;
#[expect(dead_code, reason = "the other real tests use the rest of it")]
#[path = "../real/support.rs"]
mod support;
mod world;
