//! Who may act on differences: names with the SHA-256 of a token each, from a file that the
//! platform team keeps (one `name:hex` on a line, `#` begins a comment).
//!
//! Guarantees: the file holds no token; it is read anew for each step, so that people come and go
//! without a restart; without the file nobody may act. Tokens are compared by their hashes, so
//! that the time it takes says nothing about them.
//!
//! Deliberately not here: reading, which whoever reaches the service may do, and TLS.

use std::path::Path;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::sha256_hex;

/// Lines of the file that are read.
const PEOPLE_MAX: usize = 1_000;
const NAME_MAX: usize = 64;

/// Why somebody may not act.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error(
        "nobody may act: set spec.reconciliation.peopleSecretRef (reconciliation.peopleFile) to a \
         file of name:sha256-of-token lines"
    )]
    NobodyMay,
    #[error("the file of people cannot be read: {0}")]
    Unreadable(String),
    #[error("say who you are: HTTP Basic with your name and token")]
    NotSaid,
    #[error("name or token is wrong")]
    Wrong,
}

/// The person a request comes from, by its `Authorization: Basic` header (RFC 7617).
pub fn who(file: Option<&Path>, headers: &HeaderMap) -> Result<String, NotAllowed> {
    let file = file.ok_or(NotAllowed::NobodyMay)?;
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(NotAllowed::NobodyMay);
        }
        Err(error) => return Err(NotAllowed::Unreadable(error.to_string())),
    };
    let (name, token) = credentials(headers).ok_or(NotAllowed::NotSaid)?;
    let hash = sha256_hex(token.as_bytes());
    let known = text.lines().take(PEOPLE_MAX).any(|line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        line.split_once(':').is_some_and(|(known, expected)| {
            known.trim() == name && expected.trim().eq_ignore_ascii_case(&hash)
        })
    });
    known.then_some(name).ok_or(NotAllowed::Wrong)
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, token) = decoded.split_once(':')?;
    let fits = !name.is_empty() && name.chars().count() <= NAME_MAX && name != "system";
    fits.then(|| (name.to_owned(), token.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn basic(text: &str) -> HeaderMap {
        let value = format!("Basic {}", STANDARD.encode(text));
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_the_right_token_of_a_known_person_counts() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let hash = sha256_hex(b"secret");
        writeln!(file, "# finance\nli.na: {hash} # since May\nsystem:{hash}").unwrap();
        let who = |headers: &HeaderMap| who(Some(file.path()), headers);
        assert_eq!(who(&basic("li.na:secret")), Ok("li.na".to_owned()));
        assert_eq!(who(&basic("li.na:Secret")), Err(NotAllowed::Wrong));
        assert_eq!(who(&basic("wang:secret")), Err(NotAllowed::Wrong));
        assert_eq!(who(&basic("system:secret")), Err(NotAllowed::NotSaid));
        assert_eq!(who(&HeaderMap::new()), Err(NotAllowed::NotSaid));
        let nobody = super::who(None, &basic("li.na:secret"));
        assert_eq!(nobody, Err(NotAllowed::NobodyMay));
        let absent = super::who(Some(Path::new("/nonexistent")), &basic("li.na:secret"));
        assert_eq!(absent, Err(NotAllowed::NobodyMay));
    }
}
