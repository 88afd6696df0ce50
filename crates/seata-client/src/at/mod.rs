//! Automatic branches over MySQL and MariaDB (AT mode).

pub mod error;
mod image;
mod lock_key;
mod sql;
mod table;
pub mod undo;
pub mod value;

pub use lock_key::{resource_id, resource_id_of_url};
