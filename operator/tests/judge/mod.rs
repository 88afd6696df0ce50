//! What tools that do not know a PaymentSystem make of it, as the API server gives it back.
//!
//! Guarantees: Argo CD's health check is `docs/argocd/health.lua` itself, run by Lua 5.1 with no
//! more libraries than Argo CD opens; kstatus is the Go library itself, which Flux, Helm 4 and kpt
//! wait with, in a program of a few lines that `KSTATUS_BIN` names (`e2e/cluster/kstatus.sh`).
//!
//! Deliberately not here: Argo CD. Its part is to hand the object to Lua as `obj`.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crds::PaymentSystem;
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
};
use mlua::{Lua, LuaOptions, LuaSerdeExt as _, StdLib, Table, serde::SerializeOptions};
use serde_json::Value;

use super::cluster::{Cluster, NAMESPACE};

const HEALTH: &str = include_str!("../../../docs/argocd/health.lua");

/// A state, and why.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) status: String,
    pub(crate) message: String,
}

/// Both judge the system `demo` as it is now; their messages have these words.
pub(crate) async fn judged(
    cluster: &Cluster,
    (by_kstatus, words): (&str, &str),
    (by_argo, argo_words): (&str, &str),
) {
    let resource = ApiResource::erase::<PaymentSystem>(&());
    let systems =
        Api::<DynamicObject>::namespaced_with(cluster.client.clone(), NAMESPACE, &resource);
    let object = serde_json::to_value(systems.get("demo").await.unwrap()).unwrap();
    for (judge, verdict, status, words) in [
        ("kstatus", kstatus(&object), by_kstatus, words),
        ("Argo CD", argo(&object), by_argo, argo_words),
    ] {
        assert_eq!(verdict.status, status, "{judge}: {verdict:?} of {object}");
        assert!(
            verdict.message.contains(words),
            "{judge}: {verdict:?} without {words:?}"
        );
    }
}

fn argo(object: &Value) -> Verdict {
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).unwrap();
    // As Argo CD does it: arrays are plain tables, and null is nil.
    let options = SerializeOptions::new()
        .set_array_metatable(false)
        .serialize_none_to_null(false)
        .serialize_unit_to_null(false);
    let object = lua.to_value_with(object, options).unwrap();
    lua.globals().set("obj", object).unwrap();
    let health: Table = lua.load(HEALTH).set_name("health.lua").eval().unwrap();
    Verdict {
        status: health.get("status").unwrap(),
        message: health.get("message").unwrap(),
    }
}

fn kstatus(object: &Value) -> Verdict {
    let program = std::env::var_os("KSTATUS_BIN")
        .expect("set KSTATUS_BIN to the program that e2e/cluster/kstatus.sh builds");
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(object.to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kstatus cannot read {object}");
    let told = String::from_utf8(output.stdout).unwrap();
    let (status, message) = told.split_once('\n').unwrap();
    Verdict {
        status: status.to_owned(),
        message: message.to_owned(),
    }
}
