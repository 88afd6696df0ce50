//! TLS: what is mounted, what is waited for, and what a renewal restarts.

use crds::{
    PaymentSystem,
    stores::ExternalCoordinator,
    tls::{CaRef, CertificateRef, ServerTls, StoreTls},
};
use payment_operator::{
    build::build,
    cache::{KeyDigest, NamedSecret},
    gates::gates,
    kinds::Kind,
    observe::Observed,
    validate::ValidSystem,
};
use serde_json::json;

use super::{example, find, manifests, observed, valid};

fn certificate(name: &str) -> CertificateRef {
    CertificateRef {
        name: name.to_owned(),
    }
}

fn shown(name: &str) -> StoreTls {
    StoreTls {
        certificate_ref: certificate(name),
    }
}

fn verified(name: &str, key: &str) -> ServerTls {
    let (name, key) = (name.to_owned(), key.to_owned());
    ServerTls {
        ca_ref: CaRef { name, key },
    }
}

/// Stores of the operator's, all of them encrypted.
fn stores() -> PaymentSystem {
    let mut object = example("demo");
    object.spec.mysql.tls = Some(shown("mysql-tls"));
    object.spec.redis.tls = Some(shown("redis-tls"));
    object
}

/// Everything that can be encrypted is.
fn encrypted() -> PaymentSystem {
    let mut object = example("production");
    object.spec.payment.certificate_ref = Some(certificate("payment-tls"));
    object.spec.callback.certificate_ref = Some(certificate("callback-tls"));
    object.spec.redis.tls = Some(shown("redis-tls"));
    let external = object.spec.mysql.external.as_mut().unwrap();
    external.tls = Some(verified("database-ca", "root.pem"));
    object
}

/// With Secrets whose values have these digests.
fn with_secrets(system: &ValidSystem, secrets: &[(&str, &[&str])], hash: &str) -> Observed {
    let mut observed = observed(system);
    for (name, keys) in secrets {
        let digest = KeyDigest {
            hash: hash.to_owned(),
            plain: true,
            empty: false,
        };
        let keys = keys.iter().map(|key| ((*key).to_owned(), digest.clone()));
        let present = NamedSecret::Present(keys.collect());
        observed.named_secrets.insert((*name).to_owned(), present);
    }
    observed
}

/// Names of the manifests that differ between two values of these keys.
fn changed(object: &PaymentSystem, secrets: &[(&str, &[&str])]) -> Vec<String> {
    let system = valid(object);
    let made = |hash| build(&system, &with_secrets(&system, secrets, hash)).unwrap();
    let (before, after) = (made("a"), made("b"));
    assert_eq!(before.len(), after.len());
    let pairs = before.iter().zip(&after);
    pairs
        .filter(|(old, new)| old.value != new.value)
        .map(|(old, _)| old.name.clone())
        .collect()
}

const PAIR: &[&str] = &["tls.crt", "tls.key"];

#[test]
fn a_renewed_certificate_of_a_service_restarts_nothing() {
    let secrets = [("payment-tls", PAIR), ("callback-tls", PAIR)];
    assert_eq!(changed(&encrypted(), &secrets), Vec::<String>::new());
}

#[test]
fn a_service_with_a_certificate_mounts_it_and_says_what_it_speaks() {
    let made = manifests(&encrypted());
    for (name, secret) in [
        ("production-payment", "payment-tls"),
        ("production-callback", "callback-tls"),
    ] {
        let pod = &find(&made, Kind::Deployment, name)["spec"]["template"]["spec"];
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|it| it["name"] == "certificate");
        let volume = &volume.unwrap()["secret"];
        assert_eq!(volume["secretName"], secret);
        assert_eq!(
            volume["items"],
            json!([{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}])
        );
        let container = &pod["containers"][0];
        let args = container["args"].as_array().unwrap();
        assert_eq!(
            args[args.len() - 2..],
            [json!("--certificate"), json!("/etc/payment/certificate")]
        );
        // A link of the volume that is replaced as a whole: no sub-path.
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|it| it["name"] == "certificate");
        assert!(mount.unwrap().get("subPath").is_none());
        assert_eq!(container["readinessProbe"]["httpGet"]["port"], "management");
        let service = find(&made, Kind::Service, name);
        for port in service["spec"]["ports"].as_array().unwrap() {
            let spoken = (port["targetPort"] == "http").then(|| json!("https"));
            assert_eq!(port.get("appProtocol"), spoken.as_ref(), "{port}");
        }
    }
}

/// What differs from the example.
fn snapshot(name: &str, object: &PaymentSystem, plain: &str) {
    let plain = manifests(&example(plain));
    let differing: Vec<String> = manifests(object)
        .iter()
        .filter(|manifest| !plain.iter().any(|old| old.value == manifest.value))
        .map(|manifest| serde_saphyr::to_string(&manifest.value).unwrap())
        .collect();
    insta::assert_snapshot!(name, differing.join("---\n"));
}

#[test]
fn what_is_encrypted_is_as_committed() {
    snapshot("encrypted", &encrypted(), "production");
    snapshot("encrypted_stores", &stores(), "demo");
}

const WITH_AUTHORITY: &[&str] = &["tls.crt", "tls.key", "ca.crt"];

#[test]
fn a_renewed_certificate_of_the_database_restarts_nothing_and_of_the_cache_the_cache() {
    let names = |secrets: &[(&str, &[&str])]| changed(&stores(), secrets);
    assert_eq!(names(&[("mysql-tls", PAIR)]), Vec::<String>::new());
    assert_eq!(names(&[("redis-tls", PAIR)]), ["demo-redis"]);
}

#[test]
fn another_authority_of_the_database_restarts_everything_that_verifies_it() {
    let restarted = changed(&stores(), &[("mysql-tls", &["ca.crt"])]);
    assert_eq!(
        restarted,
        [
            "demo-coordinator",
            "demo-payment",
            "demo-callback",
            "demo-worker",
            "demo-reconciliation",
            "demo-orders",
        ]
    );
}

/// Whoever has the password of a store has the authority, too.
#[test]
fn every_pod_that_connects_can_verify() {
    let made = manifests(&stores());
    let pods = made.iter().filter_map(|manifest| {
        let spec = &manifest.value["spec"];
        let template = spec
            .get("template")
            .or_else(|| spec.pointer("/jobTemplate/spec/template"));
        Some((manifest.name.as_str(), &template?["spec"]))
    });
    let mut connecting = 0;
    for (name, pod) in pods {
        let volumes = pod["volumes"].as_array().unwrap();
        let has = |volume: &str| volumes.iter().any(|it| it["name"] == volume);
        let database = has("mysql") || has("orders") || name == "demo-coordinator";
        assert_eq!(has("mysql-ca"), database, "{name}");
        assert_eq!(has("redis-ca"), has("redis"), "{name}");
        connecting += u32::from(database);
    }
    assert_eq!(connecting, 8);
}

#[test]
fn a_store_waits_for_its_whole_certificate_and_so_does_what_reads_it() {
    let object = stores();
    let system = valid(&object);
    let observed = with_secrets(
        &system,
        &[("mysql-tls", WITH_AUTHORITY), ("redis-tls", PAIR)],
        "a",
    );
    let (said, held) = held(&object, &observed, "CacheReady");
    assert_eq!(
        said,
        "SecretKeyMissing: Secret redis-tls lacks ca.crt: add to its data"
    );
    assert!(
        held.contains(&"StatefulSet demo-redis".to_owned()),
        "{held:?}"
    );
}

#[test]
fn an_authority_that_is_missing_is_named_with_its_key() {
    let object = encrypted();
    let system = valid(&object);
    let mut secrets = OTHERS.to_vec();
    secrets.push(("database-ca", &["ca.crt"]));
    let observed = with_secrets(&system, &secrets, "a");
    let (said, _) = held(&object, &observed, "DatabaseReady");
    assert_eq!(
        said,
        "SecretKeyMissing: Secret database-ca lacks root.pem: add to its data"
    );
}

#[test]
fn who_takes_part_in_global_transactions_verifies_a_coordinator_behind_tls() {
    let mut object = example("demo");
    object.spec.transaction_coordinator.external = Some(ExternalCoordinator {
        host: "tc.example.com".to_owned(),
        port: 443,
        tls: Some(verified("tc-ca", "ca.crt")),
    });
    assert_eq!(
        changed(&object, &[("tc-ca", &["ca.crt"])]),
        ["demo-worker", "demo-orders"]
    );
    let made = manifests(&object);
    let config = &find(&made, Kind::ConfigMap, "demo-runtime")["data"]["config.yaml"];
    let config = contract::RuntimeConfig::parse(config.as_str().unwrap()).unwrap();
    let tls = config.transaction_coordinator.unwrap().tls.unwrap();
    let file = std::path::Path::new("/etc/payment/coordinator-ca/ca.crt");
    assert_eq!(tls.ca_file, file);
    let system = valid(&object);
    let (said, held) = held(
        &object,
        &with_secrets(&system, &[], "a"),
        "CoordinatorReady",
    );
    assert!(
        said.starts_with("SecretMissing: Secret tc-ca does not exist"),
        "{said}"
    );
    assert_eq!(held, ["Deployment demo-worker", "Deployment demo-orders"]);
}

/// The coordinator's trust, made by `sh` with a stand-in for `keytool`.
#[test]
fn every_authority_goes_into_the_coordinators_trust() {
    let made = manifests(&stores());
    let pod = &find(&made, Kind::StatefulSet, "demo-coordinator")["spec"]["template"]["spec"];
    let script = pod["initContainers"][0]["command"][2].as_str().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let script = script
        .replace("/trust", path)
        .replace("/etc/payment/mysql-ca", path);
    let keytool = "keytool() { cat \"$6\"; echo \"as $4\"; }\n";
    let run = |bundle: &str| {
        std::fs::write(directory.path().join("ca.crt"), bundle).unwrap();
        let mut sh = std::process::Command::new("sh");
        sh.arg("-c")
            .arg(format!("{keytool}{script}"))
            .output()
            .unwrap()
    };
    let one =
        |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----");
    let done = run(&format!("subject=a\n{}\n# b\n{}", one("AAAA"), one("BBBB")));
    assert!(done.status.success(), "{done:?}");
    assert_eq!(
        String::from_utf8(done.stdout).unwrap(),
        format!(
            "{}\nas authority-2\n{}\nas authority-1\n",
            one("BBBB"),
            one("AAAA")
        )
    );
    let none = run("nothing");
    assert!(!none.status.success());
    let told = String::from_utf8(none.stderr).unwrap();
    assert!(told.contains("has no certificate in PEM"), "{told}");
}

/// What a fault of these Secrets says, and what it holds back.
fn held(object: &PaymentSystem, observed: &Observed, condition: &str) -> (String, Vec<String>) {
    let system = valid(object);
    let gates = gates(&system, observed);
    let mut parts = gates.parts.iter();
    let part = parts.find(|part| part.condition == condition).unwrap();
    assert!(part.failed, "{part:?}");
    let held = build(&system, observed)
        .unwrap()
        .iter()
        .filter(|manifest| !gates.may_change(manifest))
        .map(|manifest| format!("{} {}", manifest.kind.name(), manifest.name))
        .collect();
    (format!("{}: {}", part.reason, part.message), held)
}

/// The Secrets of the example itself, and of its stores.
const OTHERS: [(&str, &[&str]); 5] = [
    ("redis-tls", WITH_AUTHORITY),
    ("database-ca", &["root.pem"]),
    ("payment-database", &["password", "coordinator-password"]),
    ("payment-reconciliation", &["webhook-secret", "people"]),
    (
        "payment-service-secret",
        &[
            "wechat-app-id",
            "wechat-mch-id",
            "wechat-api-key",
            "wechat-private-key",
            "wechat-merchant-serial",
            "wechat-public-key-id",
            "wechat-public-key",
            "alipay-app-id",
            "alipay-private-key",
            "alipay-public-key",
        ],
    ),
];

#[test]
fn a_missing_certificate_is_named_and_holds_its_service_back() {
    let object = encrypted();
    let system = valid(&object);
    let mut secrets = OTHERS.to_vec();
    secrets.push(("payment-tls", PAIR));
    let observed = with_secrets(&system, &secrets, "a");
    assert_eq!(
        held(&object, &observed, "CallbackCertificatePresent"),
        (
            "SecretMissing: Secret callback-tls does not exist: create it with the keys tls.crt, tls.key"
                .to_owned(),
            vec!["Deployment production-callback".to_owned()]
        )
    );
}

#[test]
fn a_certificate_without_its_key_says_which_one() {
    let object = encrypted();
    let system = valid(&object);
    let mut secrets = OTHERS.to_vec();
    secrets.extend([("payment-tls", &["tls.crt"][..]), ("callback-tls", PAIR)]);
    let observed = with_secrets(&system, &secrets, "a");
    assert_eq!(
        held(&object, &observed, "PaymentCertificatePresent"),
        (
            "SecretKeyMissing: Secret payment-tls lacks tls.key: add to its data".to_owned(),
            vec!["Deployment production-payment".to_owned()]
        )
    );
}

#[test]
fn expiry_is_watched_where_there_is_a_certificate() {
    let names = |object: &PaymentSystem| {
        let made = manifests(object);
        let rule = made.iter().find(|it| it.kind == Kind::PrometheusRule);
        let rules = rule.unwrap().value["spec"]["groups"][0]["rules"].clone();
        super::alerts::takes(&rule.unwrap().value["spec"]["groups"], "encrypted");
        let rules = rules.as_array().unwrap().iter();
        let certificates =
            rules.filter(|rule| rule["alert"].as_str().unwrap().contains("Certificate"));
        certificates.cloned().collect::<Vec<_>>()
    };
    assert!(names(&example("production")).is_empty());
    let alerts = names(&encrypted());
    assert_eq!(alerts.len(), 2);
    for alert in alerts {
        super::alerts::has_runbook(&alert);
    }
}
