//! How a channel words its answers.

use std::collections::BTreeMap;

use channels::{
    Action, NewOrder, OrderState, OrderStatus, Outcome, RefundStatus, Refusal, Uncertainty,
    UncertaintyReason,
};
use payment_core::{ChannelKind, PayMethod};

use super::book::{BookRefund, Charge};

pub(super) fn unknown<T>(reason: UncertaintyReason, detail: &str) -> Outcome<T> {
    Outcome::Unknown(Uncertainty {
        reason,
        detail: detail.to_owned(),
    })
}

pub(super) fn refused<T>(code: &str, message: &str) -> Outcome<T> {
    Outcome::Refused(Refusal {
        code: code.to_owned(),
        message: message.to_owned(),
        sent: true,
    })
}

pub(super) fn status(state: OrderState, charge: Option<&Charge>) -> OrderStatus {
    OrderStatus {
        state,
        transaction_id: charge.map(|charge| charge.transaction_id.clone()),
        amount: charge.map(|charge| charge.amount),
        paid_at: charge.map(|charge| charge.paid_at),
    }
}

pub(super) fn shown(kind: ChannelKind, refund: &BookRefund) -> RefundStatus {
    RefundStatus {
        state: refund.state,
        channel_refund_id: refund.id.clone(),
        amount: (kind == ChannelKind::Wechat).then_some(refund.amount),
        refunded_at: refund.finished_at,
    }
}

pub(super) fn action(order: &NewOrder) -> Action {
    let number = &order.channel_order_no;
    let parameters = || BTreeMap::from([("package".to_owned(), format!("prepay_id={number}"))]);
    match order.method {
        PayMethod::WechatNative | PayMethod::AlipayPrecreate => Action::QrCode {
            url: format!("https://qr.example/{number}"),
        },
        PayMethod::WechatH5 | PayMethod::AlipayPage | PayMethod::AlipayWap => Action::Redirect {
            url: format!("https://pay.example/{number}"),
        },
        PayMethod::WechatJsapi => Action::WechatJsapi {
            parameters: parameters(),
        },
        PayMethod::WechatApp => Action::WechatApp {
            parameters: parameters(),
        },
        PayMethod::AlipayApp => Action::AlipayApp {
            order_string: format!("out_trade_no={number}"),
        },
        PayMethod::AlipayCreate => Action::AlipayTrade {
            trade_no: format!("T{number}"),
        },
    }
}
