//! Whether a request that changes something comes from our own page.
//!
//! Guarantees: a page of another site cannot act with the name that a browser remembers for us.
//!
//! Deliberately not here: who is asking (`people`). Programs send neither header and are let
//! through: nobody lures them to a page.

use axum::http::{HeaderMap, Uri, header};

/// `false`: a browser says that another site sent this.
pub(in crate::reconcile) fn same_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match headers.get(header::ORIGIN) {
        None => true,
        Some(origin) => {
            let authority = origin.to_str().ok().and_then(authority);
            let host = headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok());
            authority.is_some_and(|ours| host.is_some_and(|host| ours.eq_ignore_ascii_case(host)))
        }
    }
}

/// `host:port` of an origin; `null` has none.
fn authority(origin: &str) -> Option<String> {
    let uri: Uri = origin.parse().ok()?;
    uri.scheme()?;
    uri.authority().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_our_own_page_may_act() {
        let same = |pairs: &[(&'static str, &'static str)]| same_site(&headers(pairs));
        assert!(same(&[("sec-fetch-site", "same-origin")]));
        assert!(same(&[("sec-fetch-site", "none")]));
        for other in ["cross-site", "same-site", "", "SAME-ORIGIN, none"] {
            assert!(!same(&[("sec-fetch-site", other)]), "{other}");
        }
        let host = ("host", "pay.example:8088");
        assert!(same(&[host]));
        assert!(same(&[host, ("origin", "https://pay.example:8088")]));
        for other in [
            "https://evil.example",
            "null",
            "",
            "https://pay.example",
            "pay.example:8088",
        ] {
            assert!(!same(&[host, ("origin", other)]), "{other}");
        }
        assert!(!same(&[("origin", "https://pay.example:8088")]));
    }

    #[test]
    fn what_the_browser_says_of_the_site_counts_before_the_origin() {
        let pairs = [
            ("host", "pay.example"),
            ("origin", "https://pay.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert!(!same_site(&headers(&pairs)));
    }
}
