//! The way from outside to the callback service: an HTTPRoute or an Ingress for the two callback
//! paths and nothing else.

use contract::{
    names::{ALIPAY_CALLBACK_PATH, WECHAT_CALLBACK_PATH},
    ports,
};
use crds::operations::{GatewayExposure, IngressExposure};
use serde_json::{Map, Value, json};

use super::{Manifest, Stage, common, labels::component::CALLBACK, names};
use crate::{kinds::Kind, observe::Observed, validate::ValidSystem};

pub fn manifests(system: &ValidSystem, observed: &Observed) -> Vec<Manifest> {
    let Some(expose) = &system.spec.expose else {
        return Vec::new();
    };
    let gateway = expose
        .gateway
        .as_ref()
        .filter(|_| observed.installed.contains(&Kind::HttpRoute));
    let route = gateway.map(|gateway| http_route(system, gateway));
    let ingress = expose
        .ingress
        .as_ref()
        .map(|settings| ingress(system, settings));
    route.into_iter().chain(ingress).collect()
}

/// The callback paths of the channels that are switched on.
fn paths(system: &ValidSystem) -> Vec<&'static str> {
    let wechat = system.wechat().then_some(WECHAT_CALLBACK_PATH);
    let alipay = system.alipay().then_some(ALIPAY_CALLBACK_PATH);
    wechat.into_iter().chain(alipay).collect()
}

fn http_route(system: &ValidSystem, gateway: &GatewayExposure) -> Manifest {
    let parents: Vec<Value> = gateway
        .parent_refs
        .iter()
        .map(|parent| {
            let mut value = Map::new();
            value.insert("name".to_owned(), json!(parent.name));
            if let Some(namespace) = &parent.namespace {
                value.insert("namespace".to_owned(), json!(namespace));
            }
            if let Some(section) = &parent.section_name {
                value.insert("sectionName".to_owned(), json!(section));
            }
            Value::Object(value)
        })
        .collect();
    let matches: Vec<Value> = paths(system)
        .into_iter()
        .map(|path| json!({"path": {"type": "Exact", "value": path}, "method": "POST"}))
        .collect();
    let name = names::callback(&system.name);
    let spec = json!({
        "parentRefs": parents,
        "hostnames": gateway.hostnames,
        "rules": [{
            "matches": matches,
            "backendRefs": [{"name": name, "port": ports::CALLBACK_SERVICE}],
        }],
    });
    common::owned(
        system,
        (Kind::HttpRoute, name, CALLBACK),
        Stage::Operations,
        json!({"spec": spec}),
    )
}

fn ingress(system: &ValidSystem, settings: &IngressExposure) -> Manifest {
    let name = names::callback(&system.name);
    let backend = json!({"service": {"name": name, "port": {"number": ports::CALLBACK_SERVICE}}});
    let paths: Vec<Value> = paths(system)
        .into_iter()
        .map(|path| json!({"path": path, "pathType": "Exact", "backend": backend}))
        .collect();
    let spec = json!({
        "ingressClassName": settings.class_name,
        "tls": [{"hosts": [settings.host], "secretName": settings.tls_secret_name}],
        "rules": [{"host": settings.host, "http": {"paths": paths}}],
    });
    common::owned(
        system,
        (Kind::Ingress, name, CALLBACK),
        Stage::Operations,
        json!({"spec": spec}),
    )
}
