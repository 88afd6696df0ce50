//! Files that somebody else writes, read up to a bound.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The whole file; `None` if it has more than `most` bytes.
pub(crate) fn read_at_most(file: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    let open = File::open(file)?;
    open.take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    let fits = u64::try_from(content.len()).is_ok_and(|length| length <= most);
    Ok(fits.then_some(content))
}
