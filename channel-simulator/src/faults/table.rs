//! The catalogue: every fault, where it strikes and what it does.

use super::Point;
use crate::Channel;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Accepted202,
    AckTimeout,
    BadSignature,
    BillDuplicateRow,
    BillExtraRow,
    BillLate,
    BillMissingRow,
    BillNextDayRow,
    BillNotReady,
    BillRefundNextDay,
    BillTruncated,
    BillWrongAmount,
    BillWrongHash,
    ClockSkew,
    CloseRateLimited,
    DropAnswer,
    DropRequest,
    DuplicateCallback,
    EmptyValueDroppedCallback,
    EmptyValueKeptCallback,
    Error500,
    Error500Before,
    ErrorResponseUnsigned,
    ExpiredBillUrl,
    ForgedCallback,
    FundChangeNo,
    FutureAnswer,
    LateCallback,
    MissingCallback,
    OldErrorCode,
    OtherKey,
    OtherKeyCallback,
    PaidDespiteClose,
    PayAfterCloseRace,
    QueryLag,
    RateLimited429,
    RateLimited429WithEffect,
    RefundAbnormal,
    RefundClosed,
    RefundFailedLater,
    RefundSlow,
    ReorderedCallback,
    RetryFlagYes,
    ServiceUnavailable20000,
    SigntestAnswer,
    SigntestCallback,
    SlowAnswer,
    StaleAnswer,
    SystemErrorMisspelt,
    UnknownSerial,
    UnsignedAnswer,
    WrongAmountCallback,
    WrongAppCallback,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub fault: Fault,
    pub name: &'static str,
    /// The only channel that can show it, if it is not both.
    pub only: Option<Channel>,
    pub point: Point,
    pub description: &'static str,
}

const fn both(fault: Fault, name: &'static str, point: Point, description: &'static str) -> Entry {
    Entry {
        fault,
        name,
        only: None,
        point,
        description,
    }
}

const fn wechat(
    fault: Fault,
    name: &'static str,
    point: Point,
    description: &'static str,
) -> Entry {
    Entry {
        fault,
        name,
        only: Some(Channel::Wechat),
        point,
        description,
    }
}

const fn alipay(
    fault: Fault,
    name: &'static str,
    point: Point,
    description: &'static str,
) -> Entry {
    Entry {
        fault,
        name,
        only: Some(Channel::Alipay),
        point,
        description,
    }
}

pub(crate) const TABLE: [Entry; 53] = [
    both(
        Fault::DropAnswer,
        "drop-answer",
        Point::Answer,
        "the effect happens, then the connection is closed without a byte of answer",
    ),
    both(
        Fault::DropRequest,
        "drop-request",
        Point::Before,
        "the connection is closed without a byte of answer, and nothing has happened",
    ),
    both(
        Fault::Error500,
        "error-500",
        Point::Answer,
        "the effect happens, the answer is HTTP 500",
    ),
    both(
        Fault::Error500Before,
        "error-500-before",
        Point::Before,
        "HTTP 500 and no effect",
    ),
    both(
        Fault::ClockSkew,
        "clock-skew",
        Point::Before,
        "the channel's clock is off: refused as sent too long ago (WeChat 401 SIGN_ERROR, Alipay isv.invalid-timestamp), no effect",
    ),
    both(
        Fault::SlowAnswer,
        "slow-answer",
        Point::Answer,
        "the effect happens, the answer comes after `seconds` (20)",
    ),
    both(
        Fault::UnsignedAnswer,
        "unsigned-answer",
        Point::Signature,
        "the right answer without a signature",
    ),
    both(
        Fault::BadSignature,
        "bad-signature",
        Point::Signature,
        "the right answer with a signature over other bytes",
    ),
    wechat(
        Fault::SigntestAnswer,
        "signtest-answer",
        Point::Signature,
        "the right answer with a WECHATPAY/SIGNTEST/ probe as its signature",
    ),
    wechat(
        Fault::StaleAnswer,
        "stale-answer",
        Point::Signature,
        "the right answer, rightly signed, `seconds` (3600) ago",
    ),
    wechat(
        Fault::FutureAnswer,
        "future-answer",
        Point::Signature,
        "the right answer, rightly signed, with a timestamp `seconds` (3600) ahead",
    ),
    wechat(
        Fault::UnknownSerial,
        "unknown-serial",
        Point::Signature,
        "the right answer under a Wechatpay-Serial nobody knows",
    ),
    both(
        Fault::OtherKey,
        "other-key",
        Point::Signature,
        "the right answer under the other kind of key than asked for: WeChat platform certificate instead of public key or the reverse (certificates are switched on), Alipay with alipay_cert_sn instead of without or the reverse; with `probability` a mixture",
    ),
    wechat(
        Fault::OldErrorCode,
        "old-error-code",
        Point::Answer,
        "an error code is spelt as of old, without underscores",
    ),
    wechat(
        Fault::Accepted202,
        "accepted-202",
        Point::Before,
        "HTTP 202 USER_PAYING: accepted, no effect; repeat with the same parameters",
    ),
    both(
        Fault::RateLimited429,
        "rate-limited-429",
        Point::Before,
        "refused by rate limit (WeChat HTTP 429, Alipay code 40005), no effect",
    ),
    both(
        Fault::RateLimited429WithEffect,
        "rate-limited-429-with-effect",
        Point::Answer,
        "the effect happens, the answer says rate limit (WeChat HTTP 429, Alipay code 40005)",
    ),
    alipay(
        Fault::ErrorResponseUnsigned,
        "error-response-unsigned",
        Point::Answer,
        "the effect happens, the answer is an error_response without a signature",
    ),
    alipay(
        Fault::SystemErrorMisspelt,
        "system-error-misspelt",
        Point::Answer,
        "the effect happens, the signed answer is 40004 AQC.SYSTEM_ERROR (sic)",
    ),
    alipay(
        Fault::ServiceUnavailable20000,
        "service-unavailable-20000",
        Point::Answer,
        "the effect happens, the signed answer is 20000 aop.unknow-error",
    ),
    both(
        Fault::QueryLag,
        "query-lag",
        Point::Inside,
        "a query of a paid charge answers NOTPAY (Alipay: ACQ.TRADE_NOT_EXIST)",
    ),
    both(
        Fault::PayAfterCloseRace,
        "pay-after-close-race",
        Point::Inside,
        "the payer pays just before the close: it answers ORDER_PAID (Alipay: ACQ.TRADE_STATUS_ERROR)",
    ),
    both(
        Fault::PaidDespiteClose,
        "paid-despite-close",
        Point::Inside,
        "the payer pays during the close, which nevertheless answers success",
    ),
    wechat(
        Fault::CloseRateLimited,
        "close-rate-limited",
        Point::Inside,
        "the payer pays during the close, which answers 429 FREQUENCY_LIMITED",
    ),
    alipay(
        Fault::RetryFlagYes,
        "retry-flag-y",
        Point::Inside,
        "a cancel does nothing and answers retry_flag Y",
    ),
    wechat(
        Fault::RefundAbnormal,
        "refund-abnormal",
        Point::Inside,
        "an accepted refund ends ABNORMAL",
    ),
    wechat(
        Fault::RefundClosed,
        "refund-closed",
        Point::Inside,
        "an accepted refund ends CLOSED",
    ),
    both(
        Fault::RefundSlow,
        "refund-slow",
        Point::Inside,
        "an accepted refund succeeds only after `seconds` (86400) of calendar time (Alipay until then: fund_change N, no refund_status)",
    ),
    both(
        Fault::RefundFailedLater,
        "refund-failed-later",
        Point::Inside,
        "an accepted refund fails after `seconds` (60) of calendar time (WeChat: CLOSED; Alipay: fund_change N, never a refund_status)",
    ),
    alipay(
        Fault::FundChangeNo,
        "fund-change-n",
        Point::Inside,
        "a refund happens, its answer says fund_change N",
    ),
    both(
        Fault::MissingCallback,
        "missing-callback",
        Point::Callback,
        "the callback is never sent, nor retried",
    ),
    both(
        Fault::LateCallback,
        "late-callback",
        Point::Callback,
        "the callback is first sent after `seconds` (60) of calendar time",
    ),
    both(
        Fault::DuplicateCallback,
        "duplicate-callback",
        Point::Callback,
        "the callback is sent three times, acknowledged or not",
    ),
    both(
        Fault::ForgedCallback,
        "forged-callback",
        Point::Callback,
        "a callback with a wrong signature and another amount precedes the real one",
    ),
    both(
        Fault::WrongAmountCallback,
        "wrong-amount-callback",
        Point::Callback,
        "a callback with another amount, rightly signed, precedes the real one",
    ),
    both(
        Fault::WrongAppCallback,
        "wrong-app-callback",
        Point::Callback,
        "a callback for another app (WeChat: and merchant), rightly signed, precedes the real one",
    ),
    wechat(
        Fault::SigntestCallback,
        "signtest-callback",
        Point::Callback,
        "the first attempt carries a WECHATPAY/SIGNTEST/ probe as its signature; retries are right",
    ),
    both(
        Fault::AckTimeout,
        "ack-timeout",
        Point::Callback,
        "the first acknowledgement reaches the channel too late: the callback is repeated by the ladder",
    ),
    wechat(
        Fault::OtherKeyCallback,
        "other-key-callback",
        Point::Callback,
        "signed with the other of public key and platform certificate than callbackPercent chose; certificates are switched on",
    ),
    alipay(
        Fault::EmptyValueKeptCallback,
        "empty-value-kept-callback",
        Point::Callback,
        "the callback has an empty field, signed as a field",
    ),
    alipay(
        Fault::EmptyValueDroppedCallback,
        "empty-value-dropped-callback",
        Point::Callback,
        "the callback has an empty field, left out of what is signed",
    ),
    both(
        Fault::ReorderedCallback,
        "reordered-callback",
        Point::Callback,
        "the callback waits until the channel's next callback has gone (or 60 s of calendar time)",
    ),
    both(
        Fault::BillNotReady,
        "bill-not-ready",
        Point::Bill,
        "a bill that should exist is still being made",
    ),
    both(
        Fault::BillLate,
        "bill-late",
        Point::Bill,
        "the day's bill is still being made for `seconds` (86400) of calendar time from now, however often it is asked for",
    ),
    both(
        Fault::BillMissingRow,
        "bill-missing-row",
        Point::Bill,
        "the first charge of the day is missing; totals and hash agree with the file",
    ),
    both(
        Fault::BillExtraRow,
        "bill-extra-row",
        Point::Bill,
        "a charge nobody made is added; totals and hash agree with the file",
    ),
    both(
        Fault::BillDuplicateRow,
        "bill-duplicate-row",
        Point::Bill,
        "the first charge of the day stands there twice; totals and hash agree with the file",
    ),
    both(
        Fault::BillNextDayRow,
        "bill-next-day-row",
        Point::Bill,
        "the first charge of the day stands in the next day's bill instead, for ever",
    ),
    both(
        Fault::BillRefundNextDay,
        "bill-refund-next-day",
        Point::Bill,
        "the first refund of the day stands in the next day's bill instead, for ever",
    ),
    both(
        Fault::BillWrongAmount,
        "bill-wrong-amount",
        Point::Bill,
        "the first charge is one fen too high; totals and hash agree with the file",
    ),
    both(
        Fault::BillWrongHash,
        "bill-wrong-hash",
        Point::Bill,
        "hash_value is not the file's (Alipay, which has none: the footer's total is wrong)",
    ),
    both(
        Fault::BillTruncated,
        "bill-truncated",
        Point::Bill,
        "the file ends in the middle",
    ),
    both(
        Fault::ExpiredBillUrl,
        "expired-bill-url",
        Point::Bill,
        "the download URL is already expired",
    ),
];
