//! Every credential is replaced while customers pay.

mod channel_keys;
mod customers;
mod passwords;
