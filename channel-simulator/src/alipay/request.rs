//! A request's parameters, from query and form together, and its signature.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Failure;
use crate::clock::parse_plain;
use crate::{Simulator, clock};

/// Beijing time in `timestamp` may be this far off: a client that sends UTC is found out.
const WINDOW_SECONDS: u64 = 600;
const APP_CERTIFICATE: &str = "app_cert_sn";
const ROOT_CERTIFICATE: &str = "alipay_root_cert_sn";

/// How a request says which keys it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Key,
    Certificate,
}

impl Mode {
    pub(super) fn of(parameters: &Parameters) -> Self {
        let named = |name| parameters.get(name).is_some();
        if named(APP_CERTIFICATE) || named(ROOT_CERTIFICATE) {
            Self::Certificate
        } else {
            Self::Key
        }
    }
}

#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Decoded once; the form wins where both name a parameter.
    pub(super) fn merge(query: &str, form: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(form));
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Every parameter but `sign`, empty ones left out, sorted; `sign_type` stays.
    fn signed_text(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .filter(|(name, value)| *name != "sign" && !name.starts_with('@') && !value.is_empty())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("&")
    }
}

/// The business content of a request that is what it says it is.
pub(super) fn verify(simulator: &Simulator, parameters: &Parameters) -> Result<Value, Failure> {
    if parameters.get("sign_type") != Some("RSA2") {
        return Err(Failure::invalid(
            "isv.invalid-signature-type",
            "无效的签名类型",
        ));
    }
    let Some(sign) = parameters.get("sign") else {
        return Err(Failure::missing("isv.missing-signature", "缺少签名参数"));
    };
    let text = parameters.signed_text();
    let keys = simulator.keys.alipay();
    if !keys.app.verifies(text.as_bytes(), sign) {
        let message = format!(
            "验签出错，建议检查签名字符串或签名私钥与应用公钥是否匹配，网关生成的验签字符串为：{text}"
        );
        return Err(Failure::invalid("isv.invalid-signature", message));
    }
    check_certificates(simulator, parameters)?;
    check_timestamp(parameters)?;
    if !parameters
        .get("charset")
        .is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8"))
    {
        return Err(Failure::invalid(
            "isv.invalid-charset",
            "字符集错误，只支持utf-8",
        ));
    }
    let content = parameters.get("biz_content").unwrap_or("{}");
    match serde_json::from_str(content) {
        Ok(content @ Value::Object(_)) => Ok(content),
        _ => Err(Failure::invalid(
            "isv.invalid-json",
            "biz_content不是合法的JSON",
        )),
    }
}

/// Certificate mode names both certificates, and the right ones.
fn check_certificates(simulator: &Simulator, parameters: &Parameters) -> Result<(), Failure> {
    if Mode::of(parameters) == Mode::Key {
        return Ok(());
    }
    let keys = simulator.keys.alipay();
    let made = &keys.certificates;
    match parameters.get(APP_CERTIFICATE) {
        None => {
            let message = "缺少应用公钥证书序列号参数";
            return Err(Failure::missing("isv.missing-app-cert-sn", message));
        }
        Some(sn) if sn != made.app_sn => {
            let message = "无效的应用公钥证书序列号";
            return Err(Failure::invalid("isv.invalid-app-cert-sn", message));
        }
        Some(_) => {}
    }
    match parameters.get(ROOT_CERTIFICATE) {
        None => {
            let message = "缺少支付宝根证书序列号参数";
            Err(Failure::missing("isv.missing-root-cert-sn", message))
        }
        Some(sn) if sn != made.root_sn => {
            let message = "无效的支付宝根证书序列号";
            Err(Failure::invalid("isv.invalid-root-cert-sn", message))
        }
        Some(_) => Ok(()),
    }
}

fn check_timestamp(parameters: &Parameters) -> Result<(), Failure> {
    let Some(text) = parameters.get("timestamp") else {
        return Err(Failure::missing("isv.missing-timestamp", "缺少时间戳参数"));
    };
    let now = clock::now();
    match parse_plain(text) {
        Some(sent) if now.as_second().abs_diff(sent.as_second()) <= WINDOW_SECONDS => Ok(()),
        _ => Err(Failure::wrong_time()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_form_are_one_and_the_text_is_raw_and_sorted() {
        let parameters = Parameters::merge(
            "b=%E9%87%91+x&sign=s&empty=",
            b"a=1%252&sign_type=RSA2&@file=no",
        );
        assert_eq!(parameters.signed_text(), "a=1%2&b=金 x&sign_type=RSA2");
        assert_eq!(parameters.get("empty"), None);
    }
}
