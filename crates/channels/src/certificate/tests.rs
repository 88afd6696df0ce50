//! `testdata` was made with OpenSSL and its private halves were thrown away; the names expected of
//! it were computed from what OpenSSL prints. `roots.pem` holds, in this order: a root signed with
//! SM2, one with RSA and SHA-256 whose serial number has its top bit set, one with ECDSA, and one
//! with RSA and SHA-1. `leaf.pem` was issued by the second and has a serial number of 2^63.

use super::*;
use crate::testing::{self, Certified};

const ROOTS: &str = include_str!("../../testdata/roots.pem");
const LEAF: &str = include_str!("../../testdata/leaf.pem");

fn roots() -> Vec<Certificate> {
    Certificate::parse_bundle(ROOTS).unwrap()
}

fn parsed(pem: &str) -> Certificate {
    Certificate::parse(pem).unwrap()
}

fn root() -> Certified {
    Certified {
        is_authority: true,
        years: (2020, 2040),
        ..Certified::new("Root", testing::authority(), "01")
    }
}

#[test]
fn a_name_is_the_md5_of_issuer_and_decimal_serial() {
    let leaf = parsed(LEAF);
    assert_eq!(
        leaf.issuer_text,
        "CN=Example R1,OU=Certification Authority,O=Example Financial,C=CN"
    );
    assert_eq!(leaf.serial_decimal, "9223372036854775808");
    assert_eq!(leaf.serial_hex(), "8000000000000000");
    assert_eq!(leaf.sn(), "f23873c2de6d1c2e2d915c56d259cb12");
}

#[test]
fn a_bundles_name_is_made_of_its_rsa_members_in_their_order() {
    assert_eq!(
        bundle_sn(&roots()).unwrap(),
        "b495ab7c231e0f124b53d035578c6604_7c56c3ce7c7c97e5afb6604a6fc70059"
    );
    let texts: Vec<String> = roots().into_iter().map(|root| root.issuer_text).collect();
    assert!(
        texts.contains(&"CN=Example Class 3 Root,O=Example,L=Hangzhou,ST=浙江,C=CN".to_owned()),
        "{texts:?}"
    );
}

#[test]
fn a_member_that_cannot_be_read_does_not_take_the_others_down() {
    let strange = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    let roots = Certificate::parse_bundle(&format!("{strange}{ROOTS}")).unwrap();
    assert!(bundle_sn(&roots).unwrap().starts_with("b495ab7c"));
    assert_eq!(
        Certificate::parse_bundle(strange).err(),
        Some(CertificateProblem::Unreadable)
    );
}

#[test]
fn a_bundle_without_rsa_has_no_name() {
    let roots: Vec<Certificate> = roots()
        .into_iter()
        .filter(|root| !root.is_signed_with_rsa())
        .collect();
    assert_eq!(roots.len(), 2);
    assert_eq!(bundle_sn(&roots), Err(CertificateProblem::NoRsaRoot));
}

#[test]
fn what_is_no_certificate_is_refused() {
    for text in ["", "x", testing::OPENSSL_PUBLIC_KEY] {
        assert_eq!(
            Certificate::parse(text).err(),
            Some(CertificateProblem::Unreadable),
            "{text}"
        );
    }
}

#[test]
fn openssl_s_chain_is_followed() {
    assert!(chained(&parsed(LEAF), &[], &roots()).is_some());
    let foreign = parsed(&root().self_signed());
    assert!(chained(&parsed(LEAF), &[], &[foreign]).is_none());
}

#[test]
fn a_chain_counts_as_long_as_all_of_it_does() {
    let between = Certified {
        is_authority: true,
        years: (2025, 2027),
        ..Certified::new("Between", testing::other(), "02")
    };
    let leaf = Certified::new("Leaf", testing::channel(), "03");
    let (leaf, roots) = (
        parsed(&leaf.issued_by(&between)),
        [parsed(&root().self_signed())],
    );
    let middle = [parsed(&between.issued_by(&root()))];
    let validity = chained(&leaf, &middle, &roots).unwrap();
    assert!(validity.holds(testing::now()));
    assert!(
        !validity.holds("2025-06-01T00:00:00Z".parse().unwrap()),
        "before the leaf"
    );
    assert!(
        !validity.holds("2027-06-01T00:00:00Z".parse().unwrap()),
        "after the one between"
    );
    assert!(chained(&leaf, &[], &roots).is_none(), "a link is missing");
}

#[test]
fn who_is_no_authority_vouches_for_nobody() {
    let between = Certified::new("Between", testing::other(), "02");
    let leaf = Certified::new("Leaf", testing::channel(), "03").issued_by(&between);
    let middle = [parsed(&between.issued_by(&root()))];
    let roots = [parsed(&root().self_signed())];
    assert!(chained(&parsed(&leaf), &middle, &roots).is_none());
}

#[test]
fn a_root_s_name_alone_proves_nothing() {
    let impostor = Certified {
        keys: testing::other(),
        ..root()
    };
    let leaf = Certified::new("Leaf", testing::channel(), "03").issued_by(&impostor);
    assert!(chained(&parsed(&leaf), &[], &[parsed(&root().self_signed())]).is_none());
}

#[test]
fn certificates_that_issue_each_other_end_the_search() {
    let ring = |name, keys| Certified {
        is_authority: true,
        ..Certified::new(name, keys, "05")
    };
    let (a, b) = (ring("A", testing::channel()), ring("B", testing::other()));
    let members = [parsed(&a.issued_by(&b)), parsed(&b.issued_by(&a))];
    let roots = [parsed(&root().self_signed())];
    assert!(chained(&members[0], &members, &roots).is_none());
}
