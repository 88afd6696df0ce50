//! The error catalogue: every code that an answer can carry, with the facts that never change.
//!
//! Guarantees: a code has one status, one meaning and one advice; docs/errors.md is written from
//! this table, the OpenAPI document quotes it, and a problem's `type` leads to its place there.
//!
//! Names are part of the API: add, never reword.

use axum::http::StatusCode;

/// Whether the payment that an answer is about may have been charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeMayExist {
    No,
    Yes,
    /// It depends on the payment's state, and each answer says it.
    ByState,
}

/// What is known of a code before anything happens.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub name: &'static str,
    pub status: StatusCode,
    /// The same request can succeed later.
    pub retryable: bool,
    pub charge: ChargeMayExist,
    pub cause: &'static str,
    pub advice: &'static str,
}

macro_rules! catalogue {
    ($($code:ident $name:literal $status:ident $retryable:literal $charge:ident
       $cause:literal $advice:literal)*) => {
        /// Why a request failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($code),* }

        impl Code {
            /// In the order of docs/errors.md.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            pub const fn facts(self) -> Facts {
                match self {
                    $(Self::$code => Facts {
                        name: $name,
                        status: StatusCode::$status,
                        retryable: $retryable,
                        charge: ChargeMayExist::$charge,
                        cause: $cause,
                        advice: $advice,
                    }),*
                }
            }
        }
    };
}

catalogue! {
    BadRequest "BAD_REQUEST" BAD_REQUEST false No
        "The body, the query or the path cannot be read: no JSON object, an unknown or doubled \
         field, a value of another type, a parameter that does not exist, bytes that are no text."
        "Correct the request; `detail` names the place."
    IdempotencyKeyInvalid "IDEMPOTENCY_KEY_INVALID" BAD_REQUEST false No
        "The header `Idempotency-Key` comes twice, or does not hold 1 to 255 printable ASCII \
         characters without quotes inside and without spaces at its ends."
        "Send a UUID."
    NotSignedIn "NOT_SIGNED_IN" UNAUTHORIZED false No
        "Reconciliation: acting on a difference needs a name, and name or token are missing or wrong."
        "Send HTTP Basic with your name and token; who keeps the list of people gives you one."
    PaymentFailed "PAYMENT_FAILED" PAYMENT_REQUIRED false No
        "The channel declined the order, or was surely never reached: nothing was charged."
        "See the payment's events for the channel's reason. `POST …/attempts` tries the same order \
         again, over another channel too."
    NobodyMayAct "NOBODY_MAY_ACT" FORBIDDEN false No
        "Reconciliation: there is no list of people who may act on differences, or it cannot be read."
        "Set `spec.reconciliation.peopleSecretRef` (docs/reconciliation.md), or act on the command line."
    CrossSite "CROSS_SITE" FORBIDDEN false No
        "Reconciliation: a browser sent the request on behalf of another site."
        "Act on the reconciliation page itself; programs send neither `Origin` nor `Sec-Fetch-Site`."
    NotFound "NOT_FOUND" NOT_FOUND false No
        "Nothing is served at this path."
        "Compare the path with docs/openapi.json."
    PaymentNotFound "PAYMENT_NOT_FOUND" NOT_FOUND false No
        "No payment has this id."
        "Use the `paymentId` of the answer that created it, or look it up by `?orderId=`."
    RefundNotFound "REFUND_NOT_FOUND" NOT_FOUND false No
        "The payment has no refund of this number."
        "List the payment's refunds. If you asked for this one and got no answer, ask again with \
         the same body: it is carried out once."
    DifferenceNotFound "DIFFERENCE_NOT_FOUND" NOT_FOUND false No
        "Reconciliation: no difference has this id."
        "List the differences; `state=all` shows the resolved ones, too."
    OrderNotFound "ORDER_NOT_FOUND" NOT_FOUND false No
        "Orders: no order has this id."
        "Place it, or see whether the id is right."
    ProductNotFound "PRODUCT_NOT_FOUND" NOT_FOUND false No
        "Orders: no stock was ever set for this product."
        "Set it with `PUT /api/stock/{productId}`."
    MethodNotAllowed "METHOD_NOT_ALLOWED" METHOD_NOT_ALLOWED false No
        "The path does not take this method; the header `Allow` says which it takes."
        "Use one of those."
    PaymentAlreadyCharged "PAYMENT_ALREADY_CHARGED" CONFLICT false ByState
        "The payment was charged: it can be neither closed nor attempted again."
        "Refund it if it is not wanted."
    PaymentStillOpen "PAYMENT_STILL_OPEN" CONFLICT true Yes
        "Another attempt was asked for while this one may still be charged."
        "Close the payment first. Once it is `CLOSED` or `FAILED` the same request begins the \
         next attempt."
    AttemptSuperseded "ATTEMPT_SUPERSEDED" CONFLICT false Yes
        "The order has a later attempt; `paymentId` names it."
        "Go on with that one."
    PaymentNotCharged "PAYMENT_NOT_CHARGED" CONFLICT false ByState
        "A refund was asked for, but the payment holds no money to give back: it is \
         not paid."
        "Close an open payment instead. If `chargeMayExist`, see whether it becomes `PAID`."
    TooManyRefunds "TOO_MANY_REFUNDS" CONFLICT false No
        "The payment has as many refunds as the channels take for one order, 50."
        "Pay the rest back by other means."
    RequestInFlight "REQUEST_IN_FLIGHT" CONFLICT true Yes
        "A request with this `Idempotency-Key` is being worked on."
        "Send the same request again after `Retry-After`: it gets that request's answer."
    DifferenceStateConflict "DIFFERENCE_STATE_CONFLICT" CONFLICT false No
        "Reconciliation: the difference is in a state that does not take this step."
        "`detail` says which state, and what can be done in it."
    DifferenceChanged "DIFFERENCE_CHANGED" CONFLICT false No
        "Reconciliation: somebody else changed the difference meanwhile. This request did nothing."
        "Look at it again, then decide again."
    SecondPersonNeeded "SECOND_PERSON_NEEDED" CONFLICT false No
        "Reconciliation: who proposed a resolution cannot agree to it."
        "Another person has to approve."
    InsufficientStock "INSUFFICIENT_STOCK" CONFLICT false Yes
        "Orders: there is less of a product than the order needs. Nothing was deducted."
        "The payment that asked is refused and its money goes back."
    OrderRefused "ORDER_REFUSED" CONFLICT false Yes
        "Orders: this payment will never pay the order: another one has, or the amounts differ."
        "The payment that asked is refused and its money goes back."
    PayloadTooLarge "PAYLOAD_TOO_LARGE" PAYLOAD_TOO_LARGE false No
        "The body is larger than the path takes: 64 KiB for the API, 256 KiB for callbacks."
        "Send less; a real request is below 2 kB."
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" UNSUPPORTED_MEDIA_TYPE false No
        "The request is not `application/json` in UTF-8."
        "Set `Content-Type: application/json`."
    ValidationFailed "VALIDATION_FAILED" UNPROCESSABLE_ENTITY false No
        "A field could be read and cannot be used; `param` names it."
        "Correct the field as `detail` says."
    OrderIdReused "ORDER_ID_REUSED" UNPROCESSABLE_ENTITY false No
        "The order was placed before with other contents. This request did nothing; the order's \
         payment goes on."
        "Use another `orderId`, or send the contents of the first request. `?orderId=` shows its \
         payments."
    RefundNoReused "REFUND_NO_REUSED" UNPROCESSABLE_ENTITY false No
        "The payment has a refund of this number with other contents. This request did nothing."
        "Use another `refundNo`, or send the contents of the first request."
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" UNPROCESSABLE_ENTITY false No
        "The `Idempotency-Key` came before, on this path, with another body."
        "A new request needs a new key."
    RefundExceedsPayment "REFUND_EXCEEDS_PAYMENT" UNPROCESSABLE_ENTITY false No
        "The refund, and those that succeeded or still may, are more than the payment."
        "Refund at most what `detail` says is left."
    Internal "INTERNAL" INTERNAL_SERVER_ERROR true Yes
        "The request could not be finished; how far it came is not known."
        "Send the same request again: it finds the payment if there is one. Tell the operator the \
         `requestId`."
    Overloaded "OVERLOADED" SERVICE_UNAVAILABLE true No
        "More requests are in flight than the process takes. This one was not begun."
        "Send it again after `Retry-After`, with growing pauses."
    OrderBusy "ORDER_BUSY" SERVICE_UNAVAILABLE true Yes
        "Orders: another transaction is at work on the same order or stock. This one did nothing."
        "Send it again after `Retry-After`, in a new global transaction."
    DatabaseUnavailable "DATABASE_UNAVAILABLE" SERVICE_UNAVAILABLE true Yes
        "The database does not answer; whether the request took effect is not known."
        "Send the same request again: it finds the payment if there is one."
}

impl Code {
    /// Codes of the reconciliation service alone; the OpenAPI document is the payment API's.
    pub const OF_RECONCILIATION: &[Self] = &[
        Self::NotSignedIn,
        Self::NobodyMayAct,
        Self::CrossSite,
        Self::DifferenceNotFound,
        Self::DifferenceStateConflict,
        Self::DifferenceChanged,
        Self::SecondPersonNeeded,
    ];

    /// Codes of the order service alone.
    pub const OF_ORDERS: &[Self] = &[
        Self::OrderNotFound,
        Self::ProductNotFound,
        Self::InsufficientStock,
        Self::OrderRefused,
        Self::OrderBusy,
    ];

    /// Codes of the payment API, in the order of docs/errors.md.
    pub fn of_payments() -> impl Iterator<Item = Self> {
        let elsewhere = [Self::OF_RECONCILIATION, Self::OF_ORDERS].concat();
        Self::ALL
            .iter()
            .copied()
            .filter(move |code| !elsewhere.contains(code))
    }

    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Where a person reads about the code (`type` of RFC 9457).
    pub fn type_uri(self) -> String {
        let anchor = self.name().to_lowercase();
        format!("https://paymentsystem.dev/docs/errors.md#{anchor}")
    }
}

const INTRODUCTION: &str = "\
# Errors

<!-- Written by `cargo run -p payment-runtime -- errors > docs/errors.md`; a test compares. -->

Every error of the payment API, of the reconciliation service and of the order service, is `application/problem+json`
(RFC 9457):

```json
{
  \"type\": \"https://paymentsystem.dev/docs/errors.md#payment_still_open\",
  \"title\": \"Conflict\",
  \"status\": 409,
  \"code\": \"PAYMENT_STILL_OPEN\",
  \"detail\": \"The payment is PENDING: it may still be charged. …\",
  \"retryable\": true,
  \"chargeMayExist\": true,
  \"requestId\": \"req_01936d5e7a1c7b9a8f3e2d1c0b9a8f7e\",
  \"paymentId\": \"pay_01936d5e7a1c7b9a8f3e2d1c0b9a8f7e\"
}
```

- `code` never changes its meaning; decide by it, not by `detail`, which is for people.
- `retryable`: the same request, unchanged, can succeed later; `Retry-After` says when to try.
- `chargeMayExist`: the payment that the answer is about may have been charged, or may yet be. While
  it is true, never pay for the same thing in another way: ask, or send the same request again.
- `requestId` also stands in the header `Request-Id` and in the logs.
- `param` names the field, where one is at fault; `paymentId` the payment, where one is known.

A payment whose outcome is not known is no error: it answers 202 with `status` `UNKNOWN`. What a
server in between, or the HTTP layer itself, refuses (a request line or headers beyond any use)
carries no such body.

| code | status | retryable | chargeMayExist |
|---|---|---|---|
";

/// docs/errors.md.
pub fn catalogue() -> String {
    let rows = Code::ALL.iter().map(|code| {
        let (name, facts, charge) = (code.name(), code.facts(), charge_in_words(*code));
        let anchor = name.to_lowercase();
        let (status, retryable) = (facts.status.as_u16(), facts.retryable);
        format!("| [`{name}`](#{anchor}) | {status} | {retryable} | {charge} |\n")
    });
    let sections = Code::ALL.iter().map(|code| {
        let (name, facts) = (code.name(), code.facts());
        let (cause, advice, status) = (facts.cause, facts.advice, facts.status);
        format!("\n## {name}\n\n{status}. {cause}\n\n**What to do.** {advice}\n")
    });
    let introduction = std::iter::once(INTRODUCTION.to_owned());
    introduction.chain(rows).chain(sections).collect()
}

fn charge_in_words(code: Code) -> &'static str {
    match code.facts().charge {
        ChargeMayExist::No => "false",
        ChargeMayExist::Yes => "true",
        ChargeMayExist::ByState => "by state",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_written_catalogue_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == catalogue(),
            "docs/errors.md differs; write it with\n\
             cargo run -p payment-runtime -- errors > docs/errors.md"
        );
    }

    #[test]
    fn each_code_has_a_name_and_an_anchor_of_its_own() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let page = catalogue();
        let heads: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        assert_eq!(heads, names);
    }

    #[test]
    fn whoever_may_try_again_is_never_told_to_correct_the_request() {
        for code in Code::ALL {
            let facts = code.facts();
            assert!(
                !facts.retryable || facts.status.as_u16() >= 409,
                "{facts:?}"
            );
        }
    }
}
