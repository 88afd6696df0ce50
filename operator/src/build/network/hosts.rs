//! Ways to hosts that a specification names.
//!
//! A policy knows pods and addresses, no names, and a Service's port is not the one its pods listen
//! on. So a name that may be a Service's opens its namespace, whatever the port; and since any name
//! may stand for addresses elsewhere, its port is opened to everywhere.

use std::net::IpAddr;

use http::Uri;

use super::edges::{End, Port};

/// Longest value that a label may have, and longest name of a namespace.
const LONGEST: usize = 63;

/// How `host` is reached from `namespace`.
pub(super) fn ways(namespace: &str, host: &str, port: u16) -> Vec<(End, Vec<Port>)> {
    let ports = vec![Port::tcp(port)];
    if let Ok(address) = host.parse::<IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return vec![(End::Addresses(vec![format!("{address}/{bits}")]), ports)];
    }
    let within = namespace_of(namespace, host).map(|name| (End::Namespaces(vec![name]), vec![]));
    within.into_iter().chain([(End::Anyone, ports)]).collect()
}

/// Host and port of an address such as `https://orders.example.com/shop`.
pub(super) fn host_and_port(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let usual = if uri.scheme_str()? == "http" { 80 } else { 443 };
    Some((uri.host()?.to_owned(), uri.port_u16().unwrap_or(usual)))
}

/// The namespace of the Service that `host` may be: `db`, `db.databases`, `db.databases.svc` and
/// what is longer.
fn namespace_of(own: &str, host: &str) -> Option<String> {
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    let service = labels.iter().position(|label| *label == "svc");
    let namespace = match (service, labels.len()) {
        (Some(at), _) if at >= 2 => labels[at - 1],
        (_, 1) => own,
        (_, 2) => labels[1],
        _ => return None,
    };
    (namespace.len() <= LONGEST).then(|| namespace.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_that_of_a_service() {
        let of = |host| namespace_of("payment", host);
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(of("db"), some("payment"));
        assert_eq!(of("db.databases"), some("databases"));
        assert_eq!(of("db.databases.svc"), some("databases"));
        assert_eq!(of("db.databases.svc.cluster.local."), some("databases"));
        assert_eq!(of("db-0.db.databases.svc"), some("databases"));
        assert_eq!(of("db.example.com"), None);
        assert_eq!(of("svc.example.com"), None);
    }

    #[test]
    fn an_address_is_reached_there_alone() {
        let only = |cidr: &str| (End::Addresses(vec![cidr.to_owned()]), vec![Port::tcp(3306)]);
        assert_eq!(ways("payment", "10.1.2.3", 3306), [only("10.1.2.3/32")]);
        assert_eq!(ways("payment", "fd00::1", 3306), [only("fd00::1/128")]);
    }

    #[test]
    fn a_port_may_be_left_to_the_scheme() {
        let of = |url| host_and_port(url).unwrap().1;
        assert_eq!(of("https://hooks.example.com/a"), 443);
        assert_eq!(of("http://hooks.shop.svc"), 80);
        assert_eq!(of("http://hooks.shop.svc:8080/a"), 8080);
    }
}
