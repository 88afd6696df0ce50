use contract::names::channel_key as key;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::testing::Certified;
use crate::{CertificateError, CertificateRefresh, Notice, Refusal, Reload};

const OLD: &str = "7132D72A03E93CDDF8C03BBD1F37EEDF00000001";
const NEW: &str = "7132D72A03E93CDDF8C03BBD1F37EEDF00000002";

fn old() -> Certified {
    Certified {
        years: (2024, 2028),
        ..Certified::new("Old", testing::channel(), OLD)
    }
}

fn new() -> Certified {
    Certified::new("New", testing::other(), NEW)
}

fn by_old() -> Signature {
    Signature {
        key_id: OLD,
        ..right()
    }
}

fn by_new() -> Signature {
    Signature {
        age: 0,
        key_id: NEW,
        keys: testing::other(),
    }
}

fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn item(serial: &str, pem: &str) -> Value {
    json!({
        "serial_no": serial, "effective_time": "2026-01-01T08:00:00+08:00",
        "expire_time": "2031-01-01T08:00:00+08:00",
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM", "nonce": "61f9c719728a",
            "associated_data": "certificate",
            "ciphertext": testing::seal(b"61f9c719728a", "certificate", pem),
        },
    })
}

fn list(certificates: &[Certified]) -> Value {
    let items: Vec<Value> = certificates
        .iter()
        .map(|certificate| item(certificate.serial, &certificate.self_signed()))
        .collect();
    json!({"data": items})
}

fn listed(signature: &Signature, certificates: &[Certified]) -> Reply {
    signature.reply(200, list(certificates).to_string())
}

fn code(signature: &Signature) -> Reply {
    signature.reply(200, r#"{"code_url":"weixin://x"}"#)
}

/// A merchant with platform certificates; with WeChat Pay public keys too only if asked for.
fn channels(base: &str, with_public_keys: bool) -> (Channels, TempDir) {
    let files = testing::credentials();
    if !with_public_keys {
        for name in [key::WECHAT_PUBLIC_KEY, key::WECHAT_PUBLIC_KEY_ID] {
            std::fs::remove_file(files.path().join(name)).unwrap();
        }
    }
    let mut config = testing::config(base, files.path());
    config.wechat.as_mut().unwrap().platform_certificates = true;
    (Channels::load(&config).unwrap(), files)
}

async fn serving(replies: Vec<Reply>, with_public_keys: bool) -> (Channels, Server, TempDir) {
    let server = Server::start(|_| replies).await;
    let (channels, files) = channels(&server.base, with_public_keys);
    (channels, server, files)
}

fn wechat(channels: &Channels) -> Arc<Channel> {
    channels.get(ChannelKind::Wechat).unwrap()
}

fn notify(
    channels: &Channels,
    signature: &Signature,
    now: Timestamp,
) -> Result<Notice, CallbackError> {
    let body = envelope("TRANSACTION.SUCCESS", &transaction("SUCCESS"));
    let headers = signature.headers(&body);
    let find = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    wechat(channels).verify_callback(&find, &body, now)
}

fn targets(server: &Server) -> Vec<String> {
    server.seen().into_iter().map(|seen| seen.target).collect()
}

const PREPAY: &str = "/v3/pay/transactions/native";
const CERTIFICATES: &str = "/v3/certificates?algorithm_type=RSA";

#[tokio::test]
async fn the_first_call_brings_the_first_certificates() {
    let replies = vec![listed(&by_old(), &[old()]), code(&by_old())];
    let (channels, server, _files) = serving(replies, false).await;
    let outcome = wechat(&channels).create(&testing::order(), now()).await;
    assert_eq!(short(outcome), "done");
    assert_eq!(targets(&server), [CERTIFICATES, PREPAY]);
    let seen = server.seen();
    assert!(!seen[0].headers.contains_key("wechatpay-serial"));
    assert_eq!(seen[1].headers["wechatpay-serial"], OLD);
    assert_authorized(&seen[0]);
}

#[tokio::test]
async fn calls_that_need_the_first_certificates_wait_for_one_download() {
    let replies = vec![listed(&by_old(), &[old()]), code(&by_old())];
    let (channels, server, _files) = serving(replies, false).await;
    let (wechat, order) = (wechat(&channels), testing::order());
    let (one, two) = tokio::join!(wechat.create(&order, now()), wechat.create(&order, now()));
    assert_eq!((short(one).as_str(), short(two).as_str()), ("done", "done"));
    assert_eq!(targets(&server), [CERTIFICATES, PREPAY, PREPAY]);
}

#[tokio::test]
async fn without_any_key_nothing_is_sent_that_could_not_be_verified() {
    let reply = Reply::plain(404, r#"{"code":"RESOURCE_NOT_EXISTS","message":"m"}"#);
    let (channels, server, _files) = serving(vec![reply], false).await;
    for _ in 0..2 {
        let outcome = wechat(&channels).create(&testing::order(), now()).await;
        let Outcome::Refused(refusal) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(refusal.code, Refusal::NO_VERIFYING_KEY);
        assert!(!refusal.sent);
    }
    // The second call comes too soon for another download.
    assert_eq!(targets(&server), [CERTIFICATES]);
    assert_eq!(
        channels.refresh_certificates(later(60)).await,
        CertificateRefresh::Failed(CertificateError::None)
    );
}

#[tokio::test]
async fn certificates_that_are_not_accepted() {
    let tampered = |name: &str, value: Value| {
        let mut body = list(&[old()]);
        body["data"][0]["encrypt_certificate"][name] = value;
        by_old().reply(200, body.to_string())
    };
    let sealed = |text| testing::seal(b"61f9c719728a", "certificate", text);
    let years = |from, until| Certified {
        years: (from, until),
        ..old()
    };
    let misnamed = json!({"data": [item(NEW, &old().self_signed())]}).to_string();
    let unlisted = Signature {
        keys: testing::merchant(),
        ..by_old()
    };
    let stale = Signature {
        age: 300,
        ..by_old()
    };
    let cases = [
        ("tag", tampered("ciphertext", json!("AAAA")), "decrypted"),
        ("base64", tampered("ciphertext", json!("*")), "decrypted"),
        (
            "nonce",
            tampered("nonce", json!("61f9c719728b")),
            "decrypted",
        ),
        ("short nonce", tampered("nonce", json!("61")), "decrypted"),
        ("aad", tampered("associated_data", json!("")), "decrypted"),
        (
            "algorithm",
            tampered("algorithm", json!("AEAD_SM4_GCM")),
            "encrypted",
        ),
        (
            "no PEM",
            tampered("ciphertext", json!(sealed("x"))),
            "X.509",
        ),
        ("serial", by_old().reply(200, misnamed), "serial"),
        (
            "expired",
            listed(&by_old(), &[years(2020, 2026)]),
            "valid now",
        ),
        (
            "early",
            listed(&by_old(), &[years(2027, 2030)]),
            "valid now",
        ),
        ("none", listed(&by_old(), &[]), "valid now"),
        ("by a key outside", listed(&unlisted, &[old()]), "signature"),
        ("by another serial", listed(&by_new(), &[old()]), "key"),
        ("stale", listed(&stale, &[old()]), "minutes"),
        (
            "unsigned",
            Reply::plain(200, list(&[old()]).to_string()),
            "missing",
        ),
        ("no list", by_old().reply(200, "{}"), "list"),
        ("refused", refusal(401, "SIGN_ERROR"), "401 SIGN_ERROR"),
        ("server", Reply::plain(500, ""), "500"),
        ("hang-up", Reply::HangUp, "broke off"),
    ];
    for (name, reply, expected) in cases {
        let (channels, _server, _files) = serving(vec![reply], false).await;
        let refresh = channels.refresh_certificates(now()).await;
        let CertificateRefresh::Failed(error) = refresh else {
            panic!("{name}: {refresh:?}");
        };
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert_eq!(
            notify(&channels, &by_old(), now()),
            Err(CallbackError::UnknownKey),
            "{name}"
        );
    }
}

#[tokio::test]
async fn an_unknown_serial_brings_the_new_certificate_and_the_old_one_stays() {
    let replies = vec![
        listed(&by_old(), &[old()]),
        code(&by_new()),
        listed(&by_new(), &[new()]),
    ];
    let (channels, server, _files) = serving(replies, false).await;
    assert_eq!(
        channels.refresh_certificates(later(-60)).await,
        CertificateRefresh::Refreshed { certificates: 1 }
    );
    let outcome = wechat(&channels).create(&testing::order(), now()).await;
    assert_eq!(short(outcome), "done");
    assert_eq!(targets(&server), [CERTIFICATES, PREPAY, CERTIFICATES]);
    assert!(notify(&channels, &by_old(), now()).is_ok());
    assert!(notify(&channels, &by_new(), now()).is_ok());
    // From now on answers are asked for under the newest.
    let _ = wechat(&channels).query(NUMBER, now()).await;
    assert_eq!(server.seen()[3].headers["wechatpay-serial"], NEW);
}

#[tokio::test]
async fn a_serial_that_stays_unknown_is_no_evidence() {
    let replies = vec![
        listed(&by_old(), &[old()]),
        code(&by_new()),
        listed(&by_old(), &[old()]),
    ];
    let (channels, _server, _files) = serving(replies, false).await;
    channels.refresh_certificates(later(-60)).await;
    let outcome = wechat(&channels).create(&testing::order(), now()).await;
    assert_eq!(short(outcome), "?unverifiable");
}

#[tokio::test]
async fn downloads_are_hourly_and_after_unknown_serials_at_most_every_minute() {
    let replies = vec![listed(&by_old(), &[old()])];
    let (channels, server, _files) = serving(replies, false).await;
    let refreshed = CertificateRefresh::Refreshed { certificates: 1 };
    assert_eq!(channels.refresh_certificates(now()).await, refreshed);
    assert_eq!(
        channels.refresh_certificates(later(299)).await,
        CertificateRefresh::NotDue
    );
    assert_eq!(
        notify(&channels, &by_new(), now()),
        Err(CallbackError::UnknownKey)
    );
    assert_eq!(
        channels.refresh_certificates(later(59)).await,
        CertificateRefresh::NotDue
    );
    assert_eq!(channels.refresh_certificates(later(60)).await, refreshed);
    assert_eq!(
        channels.refresh_certificates(later(120)).await,
        CertificateRefresh::NotDue
    );
    // A public key that is not configured is no reason to look for certificates.
    let by_public_key = Signature {
        key_id: "PUB_KEY_ID_9",
        ..right()
    };
    assert!(notify(&channels, &by_public_key, now()).is_err());
    assert_eq!(
        channels.refresh_certificates(later(180)).await,
        CertificateRefresh::NotDue
    );
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn an_hour_later_they_are_due_again() {
    let hour = Signature {
        age: -3_660,
        ..by_old()
    };
    let replies = vec![listed(&by_old(), &[old()]), listed(&hour, &[old(), new()])];
    let (channels, _server, _files) = serving(replies, false).await;
    channels.refresh_certificates(now()).await;
    assert_eq!(
        channels.refresh_certificates(later(3_599)).await,
        CertificateRefresh::NotDue
    );
    assert_eq!(
        channels.refresh_certificates(later(3_660)).await,
        CertificateRefresh::Refreshed { certificates: 2 }
    );
}

#[tokio::test]
async fn public_keys_and_certificates_live_together() {
    let replies = vec![listed(&right(), &[old()]), code(&by_old())];
    let (channels, server, _files) = serving(replies, true).await;
    assert_eq!(
        channels.refresh_certificates(now()).await,
        CertificateRefresh::Refreshed { certificates: 1 }
    );
    let outcome = wechat(&channels).create(&testing::order(), now()).await;
    assert_eq!(short(outcome), "done");
    assert_eq!(server.seen()[1].headers["wechatpay-serial"], KEY_ID);
    assert!(notify(&channels, &right(), now()).is_ok());
    assert!(notify(&channels, &by_old(), now()).is_ok());
}

#[tokio::test]
async fn a_certificate_ends_with_its_date() {
    let (channels, _server, _files) = serving(vec![listed(&by_old(), &[old()])], false).await;
    channels.refresh_certificates(now()).await;
    let after: Timestamp = "2028-01-02T00:00:00Z".parse().unwrap();
    let signature = Signature {
        age: now().as_second() - after.as_second(),
        ..by_old()
    };
    assert_eq!(
        notify(&channels, &signature, after),
        Err(CallbackError::UnknownKey)
    );
}

#[tokio::test]
async fn certificates_outlive_a_change_of_keys_but_not_of_the_merchant() {
    let (channels, _server, files) = serving(vec![listed(&by_old(), &[old()])], false).await;
    channels.refresh_certificates(now()).await;
    testing::write(files.path(), key::WECHAT_MERCHANT_SERIAL, "00");
    assert!(matches!(channels.reload(now()), Reload::Reloaded));
    assert!(notify(&channels, &by_old(), now()).is_ok());
    testing::write(files.path(), key::WECHAT_MCH_ID, "1900000110");
    assert!(matches!(channels.reload(later(10)), Reload::Reloaded));
    assert_eq!(
        notify(&channels, &by_old(), now()),
        Err(CallbackError::UnknownKey)
    );
}

#[tokio::test]
async fn certificates_are_left_alone_unless_configured() {
    let server = Server::start(|_| vec![Reply::HangUp]).await;
    let files = testing::credentials();
    let channels = Channels::load(&testing::config(&server.base, files.path())).unwrap();
    assert_eq!(
        channels.refresh_certificates(now()).await,
        CertificateRefresh::NotUsed
    );
    let mut config = testing::config(&server.base, files.path());
    config.wechat = None;
    let channels = Channels::load(&config).unwrap();
    assert_eq!(
        channels.refresh_certificates(now()).await,
        CertificateRefresh::NotUsed
    );
    assert!(server.seen().is_empty());
}

#[test]
fn half_a_public_key_is_an_error_even_then() {
    for name in [key::WECHAT_PUBLIC_KEY, key::WECHAT_PUBLIC_KEY_ID] {
        let files = testing::credentials();
        std::fs::remove_file(files.path().join(name)).unwrap();
        let mut config = testing::config("http://localhost", files.path());
        config.wechat.as_mut().unwrap().platform_certificates = true;
        let error = Channels::load(&config).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
