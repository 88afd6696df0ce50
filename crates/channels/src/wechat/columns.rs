//! Which columns of WeChat Pay's trade bill are read.
//!
//! Not here: what they mean (`bill`).

use crate::bill::{BillError, Column, Columns};

/// Where the columns stand. Those that older files or other kinds of bill lack are optional.
pub(super) struct Layout {
    pub(super) time: Column,
    pub(super) app_id: Option<Column>,
    pub(super) merchant_no: Option<Column>,
    pub(super) transaction_id: Column,
    pub(super) order_no: Column,
    pub(super) state: Column,
    pub(super) currency: Column,
    pub(super) settled: Option<Column>,
    pub(super) face: Option<Column>,
    pub(super) refund_no: Option<Column>,
    pub(super) refund_settled: Option<Column>,
    pub(super) refund_face: Option<Column>,
    pub(super) coupon_refund: Option<Column>,
    pub(super) refund_status: Option<Column>,
    pub(super) fee: Column,
    pub(super) fee_rate: Option<Column>,
}

impl Layout {
    pub(super) fn find(columns: &Columns) -> Result<Self, BillError> {
        Ok(Self {
            time: columns.required("交易时间")?,
            app_id: columns.optional("公众账号ID")?,
            merchant_no: columns.optional("商户号")?,
            transaction_id: columns.required("微信订单号")?,
            order_no: columns.required("商户订单号")?,
            state: columns.required("交易状态")?,
            currency: columns.required("货币种类")?,
            settled: columns.optional("应结订单金额")?,
            face: columns.optional("订单金额")?,
            refund_no: columns.optional("商户退款单号")?,
            refund_settled: columns.optional("退款金额")?,
            refund_face: columns.optional("申请退款金额")?,
            coupon_refund: columns.optional("充值券退款金额")?,
            refund_status: columns.optional("退款状态")?,
            fee: columns.required("手续费")?,
            fee_rate: columns.optional("费率")?,
        })
    }
}
