//! The OpenAPI 3.1 document of the api role: schemas and operations come from the types and
//! handlers themselves; headers, problems and examples are added here, by rule.
//!
//! Guarantees: every route that is served is documented; each operation lists every code it can
//! answer with, from the error catalogue; equal code gives equal bytes, so the committed copy
//! (docs/openapi.json) is compared by a test.
//!
//! Deliberately not here: the callback role, whose paths belong to the channels (docs/api.md).

use std::borrow::Cow;
use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use payment_core::{ChannelKind, PayMethod, PaymentState, RefundState};
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{Schema, SchemaFormat, Type};
use utoipa::openapi::{Info, ObjectBuilder, OneOfBuilder, OpenApi, Paths, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::code::{ChargeMayExist, Code};
use super::problem;
use crate::records::RefundOrigin;

static DOCUMENT: LazyLock<String> = LazyLock::new(super::document);

/// `GET /api/openapi.json`.
pub(super) async fn serve() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.as_str(),
    )
}

/// The document before any route.
pub(super) fn introduction() -> OpenApi {
    let mut info = Info::new("Payment API", "v1");
    info.description = Some(
        "Takes payments over WeChat Pay and Alipay. Amounts are exact decimals, times RFC 3339 in \
         UTC. Every answer carries `Request-Id`; every error is a problem (RFC 9457) whose codes \
         docs/errors.md explains. A W3C `traceparent` header is taken up."
            .to_owned(),
    );
    OpenApi::new(info, Paths::new())
}

/// A schema that no type of ours carries by itself.
macro_rules! schema {
    ($name:ident, $schema:expr) => {
        pub(super) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T($schema.into())
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).trim_end_matches("Schema").into()
            }
        }
    };
}

schema!(
    PaymentStatus,
    names(PaymentState::ALL.map(PaymentState::as_str))
);
schema!(
    RefundStatus,
    names(RefundState::ALL.map(RefundState::as_str))
);
schema!(
    ChannelName,
    names(ChannelKind::ALL.map(ChannelKind::as_str))
);
schema!(Refresh, names(["channel"]));
schema!(
    RefundOriginName,
    names(RefundOrigin::ALL.map(RefundOrigin::as_str))
);
schema!(MethodName, names(methods()));
schema!(
    Decimal,
    text("An exact decimal amount in the currency's major unit.").examples(["99.99"])
);
schema!(
    Amount,
    OneOfBuilder::new()
        .description(Some(
            "An exact decimal amount in the currency's major unit, as a string or as a number \
             without an exponent; never more decimals than the currency has."
        ))
        .item(ObjectBuilder::new().schema_type(Type::Number))
        .item(text("").pattern(Some(r"^[0-9]+(\.[0-9]+)?$")))
        .examples([json!("99.99"), json!(99.99)])
);
schema!(ActionSchema, actions());

fn names(names: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    text("").enum_values(Some(names))
}

fn text(description: &str) -> ObjectBuilder {
    let description = Some(description).filter(|text| !text.is_empty());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(description)
}

/// `app` exists on both channels.
fn methods() -> Vec<&'static str> {
    let mut names = PayMethod::ALL.map(PayMethod::as_str).to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

fn actions() -> OneOfBuilder {
    let url = || text("").format(Some(SchemaFormat::Custom("uri".to_owned())));
    let map = || {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(Schema::from(text(""))))
    };
    let variants = [
        ("QR_CODE", "url", text(""), "Show this text as a QR code."),
        ("REDIRECT", "url", url(), "Send the payer's browser there."),
        (
            "WECHAT_JSAPI",
            "parameters",
            map(),
            "Hand these to `WeixinJSBridge` or `wx.requestPayment`.",
        ),
        (
            "WECHAT_APP",
            "parameters",
            map(),
            "Hand these to WeChat's app SDK.",
        ),
        (
            "ALIPAY_APP",
            "orderString",
            text(""),
            "Hand this to Alipay's app SDK.",
        ),
        (
            "ALIPAY_TRADE",
            "tradeNo",
            text(""),
            "Hand this to `my.tradePay`.",
        ),
    ];
    let what = "What the payer's side does next.";
    let mut schema = OneOfBuilder::new().description(Some(what));
    for (name, field, value, description) in variants {
        let variant = ObjectBuilder::new()
            .description(Some(description))
            .property("type", text("").enum_values(Some([name])))
            .property(field, value)
            .required("type")
            .required(field);
        schema = schema.item(variant);
    }
    schema
}

/// What an operation can answer with, beside success and what any of them can.
fn codes(operation: &str) -> Vec<Code> {
    let own: &[Code] = match operation {
        "createPayment" => &[Code::PaymentFailed, Code::OrderIdReused],
        "createAttempt" => &[
            Code::PaymentFailed,
            Code::PaymentNotFound,
            Code::PaymentAlreadyCharged,
            Code::PaymentStillOpen,
            Code::AttemptSuperseded,
        ],
        "closePayment" => &[Code::PaymentNotFound, Code::PaymentAlreadyCharged],
        "createRefund" => &[
            Code::PaymentNotFound,
            Code::PaymentNotCharged,
            Code::TooManyRefunds,
            Code::RefundNoReused,
            Code::RefundExceedsPayment,
        ],
        "listPayments" => &[Code::ValidationFailed],
        "showPayment" | "listEvents" => &[Code::PaymentNotFound, Code::ValidationFailed],
        "listRefunds" => &[Code::PaymentNotFound],
        "showRefund" => &[
            Code::PaymentNotFound,
            Code::RefundNotFound,
            Code::ValidationFailed,
        ],
        _ => &[],
    };
    let every = [
        Code::BadRequest,
        Code::Internal,
        Code::Overloaded,
        Code::DatabaseUnavailable,
    ];
    let mut codes = [own, &every].concat();
    if operation.starts_with("create") || operation.starts_with("close") {
        codes.extend([Code::PayloadTooLarge, Code::IdempotencyKeyInvalid]);
        codes.extend([Code::RequestInFlight, Code::IdempotencyKeyReused]);
    }
    if operation.starts_with("create") {
        codes.extend([Code::UnsupportedMediaType, Code::ValidationFailed]);
    }
    codes
}

/// The document with headers, problems and examples, as text.
pub(super) fn complete(document: &OpenApi) -> String {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    for (_, path) in members(&mut document["paths"]) {
        for (method, operation) in members(path) {
            complete_operation(method == "post", operation);
        }
    }
    add_components(&mut document["components"]);
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

fn complete_operation(changes: bool, operation: &mut Value) {
    let id = operation["operationId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for (status, response) in members(&mut operation["responses"]) {
        complete_success(&id, changes, status, response);
    }
    for code in codes(&id) {
        add_problem(&mut operation["responses"], code);
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        responses.sort_keys();
    }
    if changes {
        add_key_parameter(operation);
    }
    if let Some(content) = operation.pointer_mut("/requestBody/content/application~1json") {
        content["examples"] = examples(&id);
    }
}

fn complete_success(id: &str, changes: bool, status: &str, response: &mut Value) {
    let about_refund = id == "createRefund";
    response["description"] = match (id, status) {
        ("createPayment" | "createAttempt", "201") => "The channel holds the order, or more.",
        ("createRefund", "201") => "The channel gave the money back.",
        (_, "202") => "The outcome is open: ask again, or send the same request again.",
        ("closePayment", _) => "It surely can no longer be paid.",
        _ => "Found.",
    }
    .into();
    let mut headers = vec!["Request-Id"];
    if changes {
        headers.push("Idempotent-Replayed");
    }
    if id.starts_with("create") {
        headers.push("Location");
    }
    response["headers"] = header_references(&headers);
    let Some(content) = response.pointer_mut("/content/application~1json") else {
        return;
    };
    let name = match id {
        "listPayments" => "paymentPage",
        "listEvents" => "eventPage",
        "listRefunds" => "refundPage",
        "showRefund" => "refund",
        _ if about_refund => "refund",
        _ => "payment",
    };
    content["examples"] = json!({name: reference("examples", name)});
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn header_references(names: &[&str]) -> Value {
    let entry = |name: &&str| ((*name).to_owned(), reference("headers", name));
    Value::Object(names.iter().map(entry).collect())
}

/// Adds a code to the response of its status: codes of one status share it.
fn add_problem(responses: &mut Value, code: Code) {
    let facts = code.facts();
    let response = &mut responses[facts.status.as_str()];
    if response.is_null() {
        let codes = json!({"properties": {"code": {"enum": []}}});
        let all = json!([reference("schemas", "Problem"), codes]);
        *response = json!({
            "description": facts.status.canonical_reason(),
            "headers": header_references(&["Request-Id"]),
            "content": {problem::CONTENT_TYPE: {"schema": {"allOf": all}, "examples": {}}},
        });
    }
    if code == Code::PaymentFailed {
        response["headers"]["Idempotent-Replayed"] = reference("headers", "Idempotent-Replayed");
    }
    if facts.retryable {
        response["headers"]["Retry-After"] = reference("headers", "Retry-After");
    }
    let content = &mut response["content"][problem::CONTENT_TYPE];
    content["examples"][facts.name] = reference("examples", facts.name);
    let names = content.pointer_mut("/schema/allOf/1/properties/code/enum");
    if let Some(names) = names.and_then(Value::as_array_mut) {
        names.push(facts.name.into());
    }
}

fn add_key_parameter(operation: &mut Value) {
    let key = reference("parameters", "Idempotency-Key");
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(key),
        None => operation["parameters"] = json!([key]),
    }
}

fn examples(operation: &str) -> Value {
    match operation {
        "createPayment" => json!({
            "QR code": {"value": ORDER.clone()},
            "inside WeChat": {"value": {
                "orderId": "ORDER-1002", "amount": 12.5, "currency": "CNY", "userId": "USER-7",
                "channel": "wechat", "method": "jsapi", "payerId": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
                "subject": "Two books", "items": [{"productId": "BOOK-1", "quantity": 2}],
                "expiresInSeconds": 900,
            }},
            "phone browser": {"value": {
                "orderId": "ORDER-1003", "amount": "8.00", "currency": "CNY", "userId": "USER-7",
                "channel": "alipay", "method": "wap", "returnUrl": "https://shop.example/paid",
            }},
        }),
        "createAttempt" => json!({
            "over the other channel": {"value": {"channel": "alipay", "method": "precreate"}},
        }),
        "createRefund" => json!({
            "a part": {"value": {"refundNo": "R-1", "amount": "10.00", "reason": "One was broken"}},
        }),
        _ => json!({}),
    }
}

static ORDER: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "orderId": "ORDER-1001", "amount": "99.99", "currency": "CNY", "userId": "USER-7",
        "channel": "wechat",
    })
});

fn example_payment() -> Value {
    json!({
        "paymentId": "pay_01936d5e7a1c7b9a8f3e2d1c0b9a8f7e", "orderId": "ORDER-1001", "attempt": 1,
        "channelOrderNo": "01936d5e7a1c7b9a8f3e2d1c0b9a8f7e", "status": "PENDING",
        "amount": "99.99", "refundedAmount": "0.00", "currency": "CNY", "userId": "USER-7",
        "channel": "wechat", "method": "native", "subject": "Order ORDER-1001",
        "action": {"type": "QR_CODE", "url": "weixin://wxpay/bizpayurl?pr=Qm3xkPZ"},
        "transactionId": null, "paidAt": null, "expiresAt": "2026-10-03T06:34:56Z",
        "createdAt": "2026-10-03T04:34:56Z", "updatedAt": "2026-10-03T04:34:56.21Z",
    })
}

fn example_refund() -> Value {
    json!({
        "refundNo": "R-1", "paymentId": "pay_01936d5e7a1c7b9a8f3e2d1c0b9a8f7e",
        "channelRefundNo": "01936d60112e7a5c9b3d4e5f60718293", "amount": "10.00", "currency": "CNY",
        "status": "PENDING", "reason": "One was broken", "origin": "api",
        "channelRefundId": "50300102026100300000000000001", "refundedAt": null,
        "needsAttention": false, "createdAt": "2026-10-03T05:00:00Z",
        "updatedAt": "2026-10-03T05:00:00.4Z",
    })
}

fn example_event() -> Value {
    json!({
        "id": 3, "at": "2026-10-03T04:36:10Z", "source": "callback", "observation": "paid",
        "from": "PENDING", "to": "PAID", "decision": "moved",
        "transactionId": "4200002345202610031234567890", "refundNo": null, "detail": "",
    })
}

fn page_of(value: &Value) -> Value {
    json!({"data": [value], "hasMore": true, "nextCursor": "c2a"})
}

fn add_components(components: &mut Value) {
    components["schemas"]["Problem"] = problem_schema();
    components["headers"] = headers();
    components["parameters"] = json!({"Idempotency-Key": {
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "Makes the request safe to repeat: the same key with the same body on the \
            same path gets the same answer, byte for byte, for 7 days. 1 to 255 printable ASCII \
            characters, bare or as a quoted string.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 257},
        "example": "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"",
    }});
    let (payment, refund) = (example_payment(), example_refund());
    let mut examples = Map::new();
    let mut add = |name: &str, value: Value| {
        examples.insert(name.to_owned(), json!({"value": value}));
    };
    add("paymentPage", page_of(&payment));
    add("payment", payment);
    add(
        "refundPage",
        json!({"data": [refund], "hasMore": false, "nextCursor": null}),
    );
    add("refund", refund);
    add("eventPage", page_of(&example_event()));
    for code in Code::of_payments() {
        add(code.name(), example_problem(code));
    }
    components["examples"] = Value::Object(examples);
}

fn problem_schema() -> Value {
    let names: Vec<&str> = Code::of_payments().map(Code::name).collect();
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail", "retryable", "chargeMayExist",
            "requestId"],
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "Where the code is explained."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": names},
            "detail": {"type": "string", "description": "For people; may be reworded."},
            "retryable": {"type": "boolean",
                "description": "The same request, unchanged, can succeed later."},
            "chargeMayExist": {"type": "boolean",
                "description": "The payment that the answer is about may have been charged."},
            "requestId": {"type": "string", "description": "As in the header Request-Id."},
            "param": {"type": "string", "description": "The field that is at fault."},
            "paymentId": {"type": "string", "description": "The payment, where one is known."},
        },
    })
}

fn headers() -> Value {
    let header =
        |description: &str, schema: Value| json!({"description": description, "schema": schema});
    json!({
        "Request-Id": header(
            "Names the request in logs and problems.", json!({"type": "string"})),
        "Idempotent-Replayed": header(
            "The answer, or the payment or refund in it, was given before; absent otherwise.",
            json!({"type": "string", "enum": ["true"]})),
        "Location": header(
            "The path of what was created.", json!({"type": "string", "format": "uri-reference"})),
        "Retry-After": header(
            "Seconds to wait before the same request is sent again.", json!({"type": "integer"})),
    })
}

fn example_problem(code: Code) -> Value {
    let facts = code.facts();
    json!({
        "type": code.type_uri(), "title": facts.status.canonical_reason(),
        "status": facts.status.as_u16(), "code": facts.name,
        "detail": facts.cause.replace('`', ""), "retryable": facts.retryable,
        "chargeMayExist": facts.charge != ChargeMayExist::No,
        "requestId": "req_01936d5e7a1c7b9a8f3e2d1c0b9a8f7e",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::request::{check_order, check_refund, json as parse};

    fn document() -> Value {
        serde_json::from_str(&crate::api::document()).unwrap()
    }

    fn operations(document: &Value) -> Vec<&Value> {
        let paths = document["paths"].as_object().unwrap().values();
        let methods = paths.flat_map(|path| path.as_object().unwrap().values());
        methods.collect()
    }

    #[test]
    fn the_written_document_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == crate::api::document(),
            "docs/openapi.json differs; write it with\n\
             cargo run -p payment-runtime -- openapi > docs/openapi.json"
        );
    }

    #[test]
    fn every_code_that_a_route_can_give_is_documented_with_one() {
        let document = document();
        let mut documented = BTreeSet::from(["NOT_FOUND", "METHOD_NOT_ALLOWED"]);
        let operations = operations(&document);
        assert_eq!(operations.len(), 9);
        for operation in operations {
            let codes = codes(operation["operationId"].as_str().unwrap());
            assert!(codes.len() > 4, "{operation}");
            documented.extend(codes.iter().map(|code| code.name()));
        }
        let all = Code::of_payments().map(Code::name).collect();
        assert_eq!(documented, all);
    }

    #[test]
    fn references_lead_somewhere() {
        let document = document();
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn examples_are_requests_that_are_taken() {
        let document = document();
        for operation in operations(&document) {
            let examples = operation.pointer("/requestBody/content/application~1json/examples");
            for example in examples.and_then(Value::as_object).into_iter().flatten() {
                let body = example.1["value"].to_string();
                let taken = match operation["operationId"].as_str().unwrap() {
                    "createPayment" => parse(body.as_bytes())
                        .and_then(|body| check_order(body, &ChannelKind::ALL, 7200))
                        .is_ok(),
                    "createRefund" => parse(body.as_bytes())
                        .and_then(|body| check_refund(body, payment_core::Currency::CNY))
                        .is_ok(),
                    _ => parse::<crate::api::request::AttemptBody>(body.as_bytes()).is_ok(),
                };
                assert!(taken, "{body}");
            }
        }
    }

    #[test]
    fn examples_have_exactly_the_documented_fields() {
        let document = document();
        for (name, example) in [
            ("Payment", example_payment()),
            ("Refund", example_refund()),
            ("Event", example_event()),
        ] {
            let schema = &document["components"]["schemas"][name]["properties"];
            let fields = |value: &Value| -> BTreeSet<String> {
                value.as_object().unwrap().keys().cloned().collect()
            };
            assert_eq!(fields(schema), fields(&example), "{name}");
        }
    }
}
