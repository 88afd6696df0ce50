//! What a merchant's page or app hands to WeChat to open a prepaid order.
//!
//! Guarantees: signed with the key that signed the prepay call, over exactly the values handed out.
//!
//! Not here: Native and H5, whose URLs need no signature.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Wechat, sign};
use crate::order::Action;
use crate::outcome::Fail;

impl Wechat {
    /// For `WeixinJSBridge` and mini programs: the fourth line is `prepay_id=` and the id.
    pub(super) fn invoke_jsapi(&self, prepay_id: &str, now: Timestamp) -> Result<Action, Fail> {
        let stamp = sign::Stamp::new(now);
        let (seconds, nonce) = (stamp.seconds.to_string(), stamp.nonce);
        let package = format!("prepay_id={prepay_id}");
        let signature = self.signature(&sign::invocation_message(
            &self.app_id,
            &seconds,
            &nonce,
            &package,
        ))?;
        Ok(Action::WechatJsapi {
            parameters: parameters([
                ("appId", self.app_id.clone()),
                ("timeStamp", seconds),
                ("nonceStr", nonce),
                ("package", package),
                ("signType", "RSA".to_owned()),
                ("paySign", signature),
            ]),
        })
    }

    /// For the app SDK: the fourth line is the bare id, and `package` is a fixed word.
    pub(super) fn invoke_app(&self, prepay_id: &str, now: Timestamp) -> Result<Action, Fail> {
        let stamp = sign::Stamp::new(now);
        let (seconds, nonce) = (stamp.seconds.to_string(), stamp.nonce);
        let signature = self.signature(&sign::invocation_message(
            &self.app_id,
            &seconds,
            &nonce,
            prepay_id,
        ))?;
        Ok(Action::WechatApp {
            parameters: parameters([
                ("appid", self.app_id.clone()),
                ("partnerid", self.merchant_id.clone()),
                ("prepayid", prepay_id.to_owned()),
                ("package", "Sign=WXPay".to_owned()),
                ("noncestr", nonce),
                ("timestamp", seconds),
                ("sign", signature),
            ]),
        })
    }
}

fn parameters<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
