//! The transaction travels between services in the header `TX_XID`.
//!
//! [`JoinLayer`] reads it on the way in (axum, tonic, any tower service over `http` requests),
//! [`PropagateLayer`] writes it on the way out (hyper, tonic), and [`WithXid`] does for reqwest.
//!
//! Take it only from services you trust: whoever sends the header joins the transaction. Strip it
//! where requests come from outside.

mod join;
mod propagate;

#[cfg(test)]
mod tests;

pub use join::{Join, JoinLayer};
pub use propagate::{Propagate, PropagateLayer, WithXid};

use http::{HeaderName, HeaderValue};

use crate::branch::Xid;

/// [`Xid::HEADER`] as the `http` crate wants it; names of headers know no case.
static HEADER: HeaderName = HeaderName::from_static("tx_xid");

/// The coordinator's own column is no wider.
const XID_BYTES: usize = 128;

fn value_of(xid: &Xid) -> Option<HeaderValue> {
    HeaderValue::from_str(xid.as_str()).ok()
}

/// `Err` if there is a header and it cannot be a transaction's name.
fn read(headers: &http::HeaderMap) -> Result<Option<Xid>, ()> {
    let mut values = headers.get_all(&HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| ())?;
    let fits = !text.is_empty() && text.len() <= XID_BYTES && !text.contains(char::is_whitespace);
    if fits && values.next().is_none() {
        Ok(Some(Xid::new(text)))
    } else {
        Err(())
    }
}
