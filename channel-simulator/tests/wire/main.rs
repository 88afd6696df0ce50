//! The simulator over HTTP, asked by a client written from the channels' documents.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod alipay;
mod bench;
mod bills;
mod callbacks;
mod certificates;
mod faults;
mod keys;
mod merchant;
mod wechat;
