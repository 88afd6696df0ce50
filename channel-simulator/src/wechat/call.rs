//! Which call a method and path name.

use axum::http::Method;
use serde_json::Value;

use super::Input;
use super::prepay::TradeKind;
use crate::faults::Operation;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Prepay(TradeKind),
    QueryByNumber(String),
    QueryById(String),
    Close(String),
    Refund,
    RefundQuery(String),
    /// By refund_id.
    RetryRefund(String),
    TradeBill,
    FundFlowBill,
    BillFile,
    Certificates,
}

impl Call {
    pub(super) fn parse(method: &Method, path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix("/v3/")?.split('/').collect();
        let get = *method == Method::GET;
        let post = *method == Method::POST;
        Some(match segments.as_slice() {
            ["pay", "transactions", "out-trade-no", number] if get => {
                Self::QueryByNumber(decoded(number))
            }
            ["pay", "transactions", "out-trade-no", number, "close"] if post => {
                Self::Close(decoded(number))
            }
            ["pay", "transactions", "id", id] if get => Self::QueryById(decoded(id)),
            ["pay", "transactions", kind] if post => Self::Prepay(TradeKind::parse(kind)?),
            ["refund", "domestic", "refunds"] if post => Self::Refund,
            ["refund", "domestic", "refunds", number] if get => Self::RefundQuery(decoded(number)),
            ["refund", "domestic", "refunds", id, "apply-abnormal-refund"] if post => {
                Self::RetryRefund(decoded(id))
            }
            ["bill", "fundflowbill"] if get => Self::FundFlowBill,
            ["bill", "tradebill"] if get => Self::TradeBill,
            ["billdownload", "file"] if get => Self::BillFile,
            ["certificates"] if get => Self::Certificates,
            _ => return None,
        })
    }

    pub(super) const fn operation(&self) -> Operation {
        match self {
            Self::Prepay(_) => Operation::Create,
            Self::QueryByNumber(_) | Self::QueryById(_) | Self::Certificates => Operation::Query,
            Self::Close(_) => Operation::Close,
            Self::Refund | Self::RetryRefund(_) => Operation::Refund,
            Self::RefundQuery(_) => Operation::RefundQuery,
            Self::TradeBill | Self::FundFlowBill => Operation::Bill,
            Self::BillFile => Operation::Download,
        }
    }

    /// The merchant's number, if the request names it.
    pub(super) fn out_trade_no(&self, input: &Input<'_>) -> Option<String> {
        match self {
            Self::QueryByNumber(number) | Self::Close(number) => Some(number.clone()),
            Self::Prepay(_) | Self::Refund => {
                let body: Value = serde_json::from_slice(input.body).ok()?;
                Some(body.get("out_trade_no")?.as_str()?.to_owned())
            }
            _ => None,
        }
    }
}

/// Percent-decoded; no number contains a `+`, so the form rules do no harm.
fn decoded(segment: &str) -> String {
    form_urlencoded::parse(segment.as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_calls() {
        let get = |path| Call::parse(&Method::GET, path);
        let post = |path| Call::parse(&Method::POST, path);
        let number = || "a|b".to_owned();
        assert_eq!(
            post("/v3/pay/transactions/native"),
            Some(Call::Prepay(TradeKind::Native))
        );
        assert_eq!(
            get("/v3/pay/transactions/out-trade-no/a%7Cb"),
            Some(Call::QueryByNumber(number()))
        );
        assert_eq!(
            post("/v3/pay/transactions/out-trade-no/a|b/close"),
            Some(Call::Close(number()))
        );
        assert_eq!(get("/v3/billdownload/file"), Some(Call::BillFile));
        assert_eq!(
            post("/v3/refund/domestic/refunds/5030/apply-abnormal-refund"),
            Some(Call::RetryRefund("5030".to_owned()))
        );
        assert_eq!(get("/v3/pay/transactions/native"), None);
        assert_eq!(post("/v3/pay/transactions/coins"), None);
    }
}
