//! What the manifests say about the reconciliation: whose pods depend on it, and which of them
//! read its Secrets.

use crds::{
    PaymentSystem,
    reconciliation::{Notify, SecretKeyRef},
};
use payment_operator::{
    build::build,
    cache::{KeyDigest, NamedSecret},
    gates::gates,
    kinds::Kind,
};

use super::{changed, example, find, manifests, observed, valid};

fn secret_key(name: &str, key: &str) -> SecretKeyRef {
    SecretKeyRef {
        name: name.to_owned(),
        key: key.to_owned(),
    }
}

fn notify() -> Notify {
    Notify {
        url: "https://hooks.example.com/differences".to_owned(),
        secret_ref: secret_key("hook", "signing"),
    }
}

/// An edit of its settings restarts the reconciliation service alone.
#[test]
fn no_other_service_restarts_for_the_reconciliation() {
    let reconciliation: [fn(&mut PaymentSystem); 6] = [
        |o| o.spec.reconciliation.corrections.enabled = false,
        |o| "2.50".clone_into(&mut o.spec.reconciliation.second_person_above),
        |o| o.spec.reconciliation.late_rows.wait_days = 1,
        |o| o.spec.reconciliation.fee_rates.wechat = Some("0.6%".to_owned()),
        |o| o.spec.reconciliation.notify = Some(notify()),
        |o| o.spec.reconciliation.people_secret_ref = Some(secret_key("people", "list")),
    ];
    for edit in reconciliation {
        assert_eq!(changed(edit), ["demo-reconciliation"]);
    }
}

/// The service acts for people and tells of differences; a run only tells; nobody else does.
#[test]
fn the_secrets_of_the_reconciliation_are_files_where_they_are_read() {
    let mut object = example("demo");
    object.spec.reconciliation.daily_run.enabled = true;
    object.spec.reconciliation.notify = Some(notify());
    object.spec.reconciliation.people_secret_ref = Some(secret_key("access", "list"));
    let mut mounts: Vec<(String, String)> = Vec::new();
    let manifests = manifests(&object);
    for manifest in &manifests {
        let value = &manifest.value;
        let template = value
            .pointer("/spec/jobTemplate/spec/template/spec")
            .or_else(|| value.pointer("/spec/template/spec"));
        let volumes = template.and_then(|spec| spec["volumes"].as_array());
        for volume in volumes.into_iter().flatten() {
            let secret = &volume["secret"];
            if secret["secretName"] == "hook" || secret["secretName"] == "access" {
                assert_eq!(secret["defaultMode"], 0o440);
                mounts.push((
                    format!("{} {}", manifest.kind.name(), manifest.name),
                    secret["items"].to_string(),
                ));
            }
        }
    }
    mounts.sort();
    let hook = r#"[{"key":"signing","path":"secret"}]"#;
    let access = r#"[{"key":"list","path":"people"}]"#;
    let expected = [
        ("CronJob demo-reconciliation", hook),
        ("CronJob demo-reconciliation-daily", hook),
        ("Deployment demo-reconciliation", access),
        ("Deployment demo-reconciliation", hook),
    ];
    let expected = expected.map(|(of, items)| (of.to_owned(), items.to_owned()));
    assert_eq!(mounts, expected);
    let yaml = find(&manifests, Kind::ConfigMap, "demo-runtime")["data"]["config.yaml"].clone();
    let config = contract::RuntimeConfig::parse(yaml.as_str().unwrap()).unwrap();
    let read = config.reconciliation;
    assert_eq!(
        (read.notify.unwrap().secret_file, read.people_file.unwrap()),
        (
            "/etc/payment/notify/secret".into(),
            "/etc/payment/people/people".into()
        )
    );
}

/// A changed list of people or signing secret restarts the reconciliation service, nothing else.
#[test]
fn a_changed_secret_of_the_reconciliation_rolls_its_service_alone() {
    let mut object = example("demo");
    object.spec.reconciliation.people_secret_ref = Some(secret_key("access", "list"));
    let system = valid(&object);
    let templates = |hash: &str| {
        let mut observed = observed(&system);
        let digest = KeyDigest {
            hash: hash.to_owned(),
            plain: true,
            empty: false,
        };
        let present = NamedSecret::Present([("list".to_owned(), digest)].into());
        observed.named_secrets.insert("access".to_owned(), present);
        build(&system, &observed).unwrap()
    };
    let (before, after) = (templates("a"), templates("b"));
    let changed: Vec<&str> = before
        .iter()
        .zip(&after)
        .filter(|(old, new)| old.value != new.value)
        .map(|(old, _)| old.name.as_str())
        .collect();
    assert_eq!(changed, ["demo-reconciliation"]);
}

#[test]
fn a_missing_secret_of_the_reconciliation_is_named_and_holds_back_nothing_else() {
    let mut object = example("demo");
    object.spec.reconciliation.people_secret_ref = Some(secret_key("access", "list"));
    let system = valid(&object);
    let observed = observed(&system);
    let mut gates = gates(&system, &observed);
    let part = gates
        .parts
        .iter()
        .find(|part| part.condition == "ReconciliationConfigured")
        .unwrap();
    assert!(part.failed);
    assert_eq!(
        (part.reason, part.message.as_str()),
        (
            "SecretMissing",
            "Secret access does not exist: create it with the keys list"
        )
    );
    let mut held: Vec<String> = build(&system, &observed)
        .unwrap()
        .iter()
        .filter(|manifest| !gates.may_change(manifest))
        .map(|manifest| format!("{} {}", manifest.kind.name(), manifest.name))
        .collect();
    held.sort();
    assert_eq!(
        held,
        [
            "CronJob demo-reconciliation",
            "Deployment demo-reconciliation"
        ]
    );
    for part in &mut gates.parts {
        part.open = !part.condition.starts_with("Reconciliation");
    }
    let waiting: Vec<String> = build(&system, &observed)
        .unwrap()
        .iter()
        .filter(|manifest| !gates.may_create(manifest))
        .map(|manifest| format!("{} {}", manifest.kind.name(), manifest.name))
        .collect();
    assert_eq!(
        waiting.len(),
        held.len(),
        "the alerts do not wait for it: {waiting:?}"
    );
}
