use contract::names::channel_key as key;
use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::alipay::orders::{PRECREATE, QUERY};
use crate::certificate::Certificate;
use crate::testing::{Certified, Keys};

fn root() -> Certified {
    Certified {
        is_authority: true,
        years: (2020, 2040),
        ..Certified::new("Root", testing::authority(), "01")
    }
}

fn alipay_of(serial: &'static str, keys: &'static Keys) -> Certified {
    Certified::new("Alipay", keys, serial)
}

fn app() -> Certified {
    Certified::new(
        "App",
        testing::merchant(),
        "8000000000000000000000000000000A",
    )
}

/// The SN of a certificate that [`root`] issued.
fn sn(certificate: &Certified) -> String {
    Certificate::parse(&certificate.issued_by(&root()))
        .unwrap()
        .sn()
}

/// Credentials in certificate mode; the bare public key is gone.
fn credentials(alipay: &str) -> TempDir {
    let files = testing::credentials();
    std::fs::remove_file(files.path().join(key::ALIPAY_PUBLIC_KEY)).unwrap();
    for (name, text) in [
        (
            key::ALIPAY_APP_CERTIFICATE,
            app().issued_by(&root()).as_str(),
        ),
        (key::ALIPAY_CERTIFICATE, alipay),
        (key::ALIPAY_ROOT_CERTIFICATES, &root().self_signed()),
    ] {
        testing::write(files.path(), name, text);
    }
    files
}

fn usual() -> Certified {
    alipay_of("02", testing::channel())
}

fn load(base: &str, files: &TempDir) -> Result<Arc<Channel>, String> {
    let config = testing::config(base, files.path());
    let channels = Channels::load(&config).map_err(|error| error.to_string())?;
    Ok(channels.get(ChannelKind::Alipay).unwrap())
}

fn by_certificate(base: &str) -> Arc<Channel> {
    load(base, &credentials(&usual().issued_by(&root()))).unwrap()
}

fn named(method: &str, node: &Value, keys: &Keys, sn: Option<&str>) -> Reply {
    let node = node.to_string();
    let sign = keys.sign(&node);
    let name = method.replace('.', "_");
    let sn = sn.map(|sn| format!(r#""alipay_cert_sn":"{sn}","#));
    Reply::plain(
        200,
        format!(
            r#"{{"{name}_response":{node},{}"sign":"{sign}"}}"#,
            sn.unwrap_or_default()
        ),
    )
}

#[tokio::test]
async fn requests_name_our_certificate_and_the_roots() {
    let reply = named(
        PRECREATE,
        &created(),
        testing::channel(),
        Some(&sn(&usual())),
    );
    let server = Server::start(|_| vec![reply]).await;
    let alipay = by_certificate(&server.base);
    assert_eq!(short(alipay.create(&order(), now()).await), "done");
    let seen = &server.seen()[0];
    let mut parameters = form(seen.target.split_once('?').unwrap().1);
    parameters.extend(form(&seen.body));
    assert_eq!(parameters["app_cert_sn"], sn(&app()));
    let root_sn = Certificate::parse(&root().self_signed()).unwrap().sn();
    assert_eq!(parameters["alipay_root_cert_sn"], root_sn);
    let expected = testing::merchant().sign(joined(&parameters, &["sign"]));
    assert_eq!(parameters["sign"], expected);
}

#[tokio::test]
async fn urls_and_order_strings_name_them_too() {
    let alipay = by_certificate("http://127.0.0.1:1");
    let order = testing::order_by(PayMethod::AlipayApp);
    let Action::AlipayApp { order_string } =
        result(alipay.create(&order, now()).await).unwrap().action
    else {
        panic!("no order string");
    };
    assert_eq!(form(&order_string)["app_cert_sn"], sn(&app()));
}

#[tokio::test]
async fn an_answer_counts_only_under_a_certificate_we_trust() {
    let (channel, other) = (testing::channel(), testing::other());
    let (ours, unknown) = (sn(&usual()), sn(&alipay_of("03", other)));
    for (name, keys, sn, expected) in [
        ("ours", channel, Some(ours.as_str()), "done"),
        ("unknown", channel, Some(unknown.as_str()), "?unverifiable"),
        (
            "unknown with its own key",
            other,
            Some(unknown.as_str()),
            "?unverifiable",
        ),
        (
            "another key under our name",
            other,
            Some(ours.as_str()),
            "?unverifiable",
        ),
        ("unnamed", channel, None, "?unverifiable"),
    ] {
        let server = Server::start(|_| vec![named(QUERY, &trade("TRADE_SUCCESS"), keys, sn)]).await;
        let alipay = by_certificate(&server.base);
        assert_eq!(short(alipay.query(NUMBER, now()).await), expected, "{name}");
    }
}

#[tokio::test]
async fn two_certificates_of_alipay_live_together() {
    let next = alipay_of("03", testing::other());
    let file = usual().issued_by(&root()) + &next.issued_by(&root());
    for (keys, certificate) in [(testing::channel(), usual()), (testing::other(), next)] {
        let reply = named(
            QUERY,
            &trade("TRADE_SUCCESS"),
            keys,
            Some(&sn(&certificate)),
        );
        let server = Server::start(|_| vec![reply]).await;
        let alipay = load(&server.base, &credentials(&file)).unwrap();
        assert_eq!(short(alipay.query(NUMBER, now()).await), "done");
    }
}

#[tokio::test]
async fn an_expired_certificate_counts_no_more() {
    let expired = Certified {
        years: (2020, 2026),
        ..usual()
    };
    let file = expired.issued_by(&root());
    let sn = Certificate::parse(&file).unwrap().sn();
    let reply = named(
        QUERY,
        &trade("TRADE_SUCCESS"),
        testing::channel(),
        Some(&sn),
    );
    let server = Server::start(|_| vec![reply]).await;
    let alipay = load(&server.base, &credentials(&file)).unwrap();
    assert_eq!(short(alipay.query(NUMBER, now()).await), "?unverifiable");
    let before: Timestamp = "2025-06-01T00:00:00Z".parse().unwrap();
    assert_eq!(short(alipay.query(NUMBER, before).await), "done");
}

#[test]
fn all_three_files_or_none() {
    for missing in key::ALIPAY_CERTIFICATE_MODE {
        let files = credentials(&usual().issued_by(&root()));
        std::fs::remove_file(files.path().join(missing)).unwrap();
        let error = load("http://localhost", &files).unwrap_err();
        assert!(error.contains(&format!("add {missing}")), "{error}");
    }
}

#[test]
fn certificates_that_do_not_fit_are_told_apart() {
    let between = Certified {
        is_authority: true,
        ..Certified::new("Between", testing::other(), "07")
    };
    let stranger = usual().issued_by(&between);
    let foreign_app = Certified::new("App", testing::other(), "0A").issued_by(&root());
    for (name, text, expected) in [
        (
            key::ALIPAY_APP_CERTIFICATE,
            foreign_app.as_str(),
            "another private key",
        ),
        (key::ALIPAY_APP_CERTIFICATE, "x", "no X.509"),
        (key::ALIPAY_CERTIFICATE, &stranger, "no root"),
        (key::ALIPAY_CERTIFICATE, &usual().self_signed(), "no root"),
        (key::ALIPAY_CERTIFICATE, &root().self_signed(), "no X.509"),
        (
            key::ALIPAY_CERTIFICATE,
            testing::OPENSSL_PUBLIC_KEY,
            "no X.509",
        ),
        (key::ALIPAY_ROOT_CERTIFICATES, &stranger, "no root"),
        (key::ALIPAY_ROOT_CERTIFICATES, "x", "no X.509"),
    ] {
        let files = credentials(&usual().issued_by(&root()));
        testing::write(files.path(), name, text);
        let error = load("http://localhost", &files).unwrap_err();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let files = credentials(&(stranger + &between.issued_by(&root())));
    assert!(load("http://localhost", &files).is_ok());
}

// --- callbacks ---

fn notified(fields: &BTreeMap<String, String>) -> Result<Notice, CallbackError> {
    let alipay = by_certificate("http://localhost");
    alipay.verify_callback(&|_| None, encoded(fields).as_bytes(), now())
}

/// Signed with everything in `without` left out.
fn signed_fields(extra: &[(&str, &str)], without: &[&str]) -> BTreeMap<String, String> {
    let mut fields = notify(extra);
    let without = [without, &["sign_type"]].concat();
    let sign = testing::channel().sign(joined(&fields, &without));
    fields.insert("sign".to_owned(), sign);
    fields
}

#[test]
fn a_notice_may_name_its_certificate_or_not_and_sign_that_or_not() {
    let ours = sn(&usual());
    let name = ("alipay_cert_sn", ours.as_str());
    let empty = ("passback_params", "");
    for (extra, without) in [
        (vec![], vec![]),
        (vec![name], vec![]),
        (vec![name], vec!["alipay_cert_sn"]),
        (vec![name, empty], vec!["passback_params"]),
        (vec![name, empty], vec!["alipay_cert_sn"]),
        (vec![name, empty], vec!["alipay_cert_sn", "passback_params"]),
    ] {
        let fields = signed_fields(&extra, &without);
        assert!(notified(&fields).is_ok(), "{extra:?} {without:?}");
    }
    let mut changed = signed_fields(&[name], &["alipay_cert_sn"]);
    changed.insert("total_amount".to_owned(), "0.01".to_owned());
    assert_eq!(notified(&changed), Err(CallbackError::BadSignature));
}

#[test]
fn a_notice_under_an_unknown_certificate_is_not_believed() {
    let fields = signed_fields(&[("alipay_cert_sn", "00")], &[]);
    assert_eq!(notified(&fields), Err(CallbackError::UnknownKey));
}

#[test]
fn in_key_mode_the_name_is_a_field_like_any_other() {
    let fields = signed_fields(&[("alipay_cert_sn", "00")], &[]);
    assert!(deliver(&encoded(&fields)).is_ok());
    let fields = signed_fields(&[("alipay_cert_sn", "00")], &["alipay_cert_sn"]);
    assert_eq!(deliver(&encoded(&fields)), Err(CallbackError::BadSignature));
}

#[test]
fn the_seller_is_checked_when_configured() {
    let files = testing::credentials();
    testing::write(files.path(), key::ALIPAY_SELLER_ID, "2088000000000001\n");
    let alipay = load("http://localhost", &files).unwrap();
    let deliver = |extra: &[(&str, &str)]| {
        let body = signed_form(notify(extra));
        alipay.verify_callback(&|_| None, body.as_bytes(), now())
    };
    assert!(deliver(&[("seller_id", "2088000000000001")]).is_ok());
    for extra in [
        vec![("seller_id", "2088000000000002")],
        vec![("seller_id", "")],
        vec![],
    ] {
        assert_eq!(
            deliver(&extra),
            Err(CallbackError::WrongMerchant),
            "{extra:?}"
        );
    }
}

#[test]
fn debug_names_certificates_and_shows_no_key() {
    let text = format!("{:?}", by_certificate("http://localhost"));
    assert!(text.contains(&sn(&usual())), "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
}
