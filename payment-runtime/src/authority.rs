//! The authorities by which servers' certificates are verified.
//!
//! Guarantees: a file that is missing or holds none is an error that names it, at the start and not
//! at the first connection.

use std::path::Path;

use anyhow::{Context as _, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::files;

/// A bundle of all public authorities has a quarter of that.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The file as it is, once it was found to hold certificates and nothing that is none.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let pem = files::read_at_most(file, FILE_BYTES_MAX)
        .with_context(|| format!("cannot read the authorities in {}", file.display()))?
        .with_context(|| format!("{} is larger than {FILE_BYTES_MAX} bytes", file.display()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    if certificates.is_ok_and(|found| !found.is_empty()) {
        return Ok(pem);
    }
    bail!("{} is not a list of certificates in PEM", file.display())
}
