use contract::names::channel_key as key;

use governor::Quota;

use super::*;
use crate::limit::Limits;
use crate::testing::{self, now};

fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn key_ids(channels: &Channels) -> String {
    format!("{:?}", channels.get(ChannelKind::Wechat).unwrap())
}

#[test]
fn every_missing_or_broken_file_is_named_with_what_belongs_into_it() {
    for name in key::WECHAT.into_iter().chain(key::ALIPAY) {
        for broken in [None, Some(""), Some("two words")] {
            let directory = testing::credentials();
            match broken {
                None => std::fs::remove_file(directory.path().join(name)).unwrap(),
                Some(text) => testing::write(directory.path(), name, text),
            }
            let config = testing::config("http://localhost", directory.path());
            let error = Channels::load(&config).unwrap_err().to_string();
            assert!(error.contains(&format!("/{name}")), "{name}: {error}");
            assert!(!error.contains("two words"), "{name}: {error}");
            assert!(!error.ends_with("a value"), "{name}: {error}");
        }
    }
}

#[test]
fn a_channel_that_is_not_configured_needs_no_files() {
    let directory = testing::credentials();
    std::fs::remove_file(directory.path().join(key::ALIPAY_PRIVATE_KEY)).unwrap();
    let mut config = testing::config("http://localhost", directory.path());
    config.alipay = None;
    let channels = Channels::load(&config).unwrap();
    assert!(channels.get(ChannelKind::Alipay).is_none());
    let kinds: Vec<_> = channels.iter().map(|channel| channel.kind()).collect();
    assert_eq!(kinds, [ChannelKind::Wechat]);
}

#[test]
fn as_many_key_ids_as_keys() {
    let directory = testing::credentials();
    testing::write(directory.path(), key::WECHAT_PUBLIC_KEY_ID, testing::KEY_ID);
    let config = testing::config("http://localhost", directory.path());
    let error = Channels::load(&config).unwrap_err().to_string();
    assert!(error.contains("names 1 keys for 2"), "{error}");
}

#[test]
fn a_url_that_is_none_is_named() {
    let directory = testing::credentials();
    let config = testing::config("ftp://localhost", directory.path());
    let error = Channels::load(&config).unwrap_err().to_string();
    assert!(error.contains("channels.wechat.baseUrl"), "{error}");
}

#[test]
fn changed_keys_come_into_use_and_broken_ones_do_not() {
    let directory = testing::credentials();
    let path = directory.path();
    let config = testing::config("http://localhost", path);
    let channels = Channels::load(&config).unwrap();
    assert!(matches!(channels.reload(now()), Reload::Unchanged));

    testing::write(
        path,
        key::WECHAT_PUBLIC_KEY_ID,
        "PUB_KEY_ID_A\nPUB_KEY_ID_B",
    );
    assert!(matches!(channels.reload(later(1)), Reload::NotDue));
    assert!(matches!(channels.reload(later(5)), Reload::Reloaded));
    assert!(key_ids(&channels).contains("PUB_KEY_ID_B"));

    testing::write(path, key::WECHAT_PUBLIC_KEY, "broken");
    testing::write(path, key::WECHAT_PUBLIC_KEY_ID, "PUB_KEY_ID_C");
    assert!(matches!(channels.reload(later(10)), Reload::Failed(_)));
    assert!(matches!(channels.reload(later(15)), Reload::Failed(_)));
    assert!(key_ids(&channels).contains("PUB_KEY_ID_B"));

    testing::write(path, key::WECHAT_PUBLIC_KEY, &testing::other().public_pem);
    assert!(matches!(channels.reload(later(20)), Reload::Reloaded));
    assert!(key_ids(&channels).contains("PUB_KEY_ID_C"));
    assert!(matches!(channels.reload(later(25)), Reload::Unchanged));
}

#[test]
fn a_swapped_secret_volume_is_seen() {
    use std::os::unix::fs::symlink;

    let (old, new) = (testing::credentials(), testing::credentials());
    testing::write(
        new.path(),
        key::WECHAT_PUBLIC_KEY_ID,
        "PUB_KEY_ID_NEW\nPUB_KEY_ID_OLD",
    );
    let mount = tempfile::tempdir().unwrap();
    let data = mount.path().join("..data");
    symlink(old.path(), &data).unwrap();
    for name in key::WECHAT.into_iter().chain(key::ALIPAY) {
        symlink(format!("..data/{name}"), mount.path().join(name)).unwrap();
    }
    let config = testing::config("http://localhost", mount.path());
    let channels = Channels::load(&config).unwrap();
    std::fs::remove_file(&data).unwrap();
    symlink(new.path(), &data).unwrap();
    assert!(matches!(channels.reload(now()), Reload::Reloaded));
    assert!(key_ids(&channels).contains("PUB_KEY_ID_NEW"));
}

#[test]
fn acknowledgements_are_what_the_channels_expect() {
    assert_eq!(acknowledgement(ChannelKind::Alipay).1, b"success");
    let (_, body) = acknowledgement(ChannelKind::Wechat);
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["code"], "SUCCESS");
    assert_ne!(failure(ChannelKind::Alipay).1, b"success");
    let (_, body) = failure(ChannelKind::Wechat);
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["code"], "FAIL");
}

#[test]
fn optional_files_are_watched_too() {
    let directory = testing::credentials();
    let config = testing::config("http://localhost", directory.path());
    let channels = Channels::load(&config).unwrap();
    testing::write(directory.path(), key::ALIPAY_SELLER_ID, "2088000000000001");
    assert!(matches!(channels.reload(now()), Reload::Reloaded));
    for (index, name) in (1..).zip(key::ALIPAY_CERTIFICATE_MODE) {
        testing::write(directory.path(), name, "broken");
        assert!(
            matches!(channels.reload(later(index * 5)), Reload::Failed(_)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn limits_hold_before_sending_and_outlive_a_change_of_keys() {
    let server = testing::Server::start(|_| vec![testing::Reply::HangUp]).await;
    let directory = testing::credentials();
    let config = testing::config(&server.base, directory.path());
    let mut channels = Channels::load(&config).unwrap();
    let hourly = Quota::per_hour(std::num::NonZeroU32::MIN);
    channels.wire.limits = Arc::new(Limits::with(Duration::ZERO, |_| hourly));
    let mut at = 0;
    let mut reload = |channels: &Channels| {
        testing::write(
            directory.path(),
            key::WECHAT_MERCHANT_SERIAL,
            &"A".repeat(at + 1),
        );
        at += 1;
        let at = i64::try_from(at).unwrap();
        assert!(matches!(channels.reload(later(at * 5)), Reload::Reloaded));
    };
    reload(&channels);
    for kind in ChannelKind::ALL {
        let refund = || async {
            let channel = channels.get(kind).unwrap();
            testing::short(channel.refund(&testing::refund(), now()).await)
        };
        assert_eq!(refund().await, "?transport");
        reload(&channels);
        assert_eq!(refund().await, "!LOCAL_RATE_LIMIT");
    }
    assert_eq!(server.seen().len(), 2);
}
