//! Paths, methods and queries that do not exist, and ids of nothing.

use reqwest::Method;

use super::{Case, Scene};

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = methods(scene);
    cases.extend(paths(scene));
    cases.extend(ids(scene));
    cases.extend(queries(scene));
    cases
}

fn methods(scene: &Scene) -> Vec<Case> {
    let payment = format!("/api/payments/{}", scene.paid);
    let of = |path: &str, methods: &[Method]| -> Vec<Case> {
        let case = |method: &Method| {
            let name = format!("{method} {path}");
            Case::new(name, method.clone(), path, "METHOD_NOT_ALLOWED")
        };
        methods.iter().map(case).collect()
    };
    let (put, patch, delete) = (Method::PUT, Method::PATCH, Method::DELETE);
    let others = [put.clone(), patch, delete, Method::OPTIONS, Method::TRACE];
    let mut cases = of("/api/payments", &others);
    cases.extend(of(&payment, &others));
    cases.extend(of(&payment, &[Method::POST]));
    for action in ["close", "attempts"] {
        cases.extend(of(
            &format!("{payment}/{action}"),
            &[Method::GET, put.clone()],
        ));
    }
    for list in ["events", "refunds/R-1"] {
        cases.extend(of(
            &format!("{payment}/{list}"),
            &[Method::POST, Method::DELETE],
        ));
    }
    cases.extend(of(
        &format!("{payment}/refunds"),
        &[put.clone(), Method::DELETE],
    ));
    cases.extend(of("/api/openapi.json", &[Method::POST]));
    for channel in ["wechat", "alipay"] {
        cases.extend(of(
            &format!("/callbacks/{channel}"),
            &[Method::GET, put.clone(), Method::DELETE],
        ));
    }
    cases
}

fn paths(scene: &Scene) -> Vec<Case> {
    let payment = format!("/api/payments/{}", scene.paid);
    let mut paths: Vec<String> = [
        "/index.html",
        "/api",
        "/api/",
        "/api/payment",
        "/api/payments/",
        "/API/PAYMENTS",
        "/api/openapi",
        "/openapi.json",
        "/callbacks",
        "/callbacks/",
        "/callbacks/paypal",
        "/callbacks/wechat/",
        "/actuator/prometheus",
        "/.env",
        "/api/%70ayment",
        "/v3/pay",
    ]
    .map(str::to_owned)
    .into();
    paths.extend(
        [
            "/",
            "/refund",
            "/refunds/",
            "/refunds/R-1/x",
            "/Events",
            "/close/now",
        ]
        .map(|end| format!("{payment}{end}")),
    );
    paths
        .iter()
        .map(|path| Case::get(path, "NOT_FOUND"))
        .collect()
}

fn ids(scene: &Scene) -> Vec<Case> {
    let (paid, upper) = (&scene.paid, scene.paid.to_uppercase());
    let mut bad: Vec<String> = [
        "pay_0",
        "0",
        "'%20OR%201=1",
        "%00",
        "..%2F..",
        "%F0%9F%82%A1",
        "null",
    ]
    .map(str::to_owned)
    .into();
    bad.extend([
        upper,
        format!("{paid}%20"),
        format!("{paid}%00"),
        format!("%20{paid}"),
        paid[4..].to_owned(),
        "p".repeat(8000),
    ]);
    let mut cases: Vec<Case> = bad
        .iter()
        .map(|id| Case::get(&format!("/api/payments/{id}"), "PAYMENT_NOT_FOUND"))
        .collect();
    cases.push(Case::post(
        "/api/payments//close",
        "{}",
        "PAYMENT_NOT_FOUND",
    ));
    for list in ["events", "refunds", "refunds/R-1"] {
        for id in ["pay_0", "%00"] {
            cases.push(Case::get(
                &format!("/api/payments/{id}/{list}"),
                "PAYMENT_NOT_FOUND",
            ));
        }
    }
    for number in ["R-0", "r-1", "R-1%20", "%00", "late-1", "%F0%9F%82%A1"] {
        cases.push(Case::get(
            &format!("/api/payments/{paid}/refunds/{number}"),
            "REFUND_NOT_FOUND",
        ));
    }
    for path in ["%FF", "%C0%80", "pay_%ED%A0%80/events"] {
        cases.push(Case::get(&format!("/api/payments/{path}"), "BAD_REQUEST"));
    }
    cases
}

fn queries(scene: &Scene) -> Vec<Case> {
    let payment = format!("/api/payments/{}", scene.paid);
    let events = format!("{payment}/events");
    let mut cases = Vec::new();
    let mut add = |path: &str, code, queries: &[&str]| {
        cases.extend(
            queries
                .iter()
                .map(|query| Case::get(&format!("{path}?{query}"), code)),
        );
    };
    let long = format!("cursor=c{}", "f".repeat(5000));
    for path in ["/api/payments", &events] {
        add(
            path,
            "VALIDATION_FAILED",
            &[
                "limit=0",
                "limit=201",
                "limit=4294967295",
                "cursor=",
                "cursor=x",
                "cursor=c",
                "cursor=cg",
                "cursor=c-1",
                "cursor=c%2B1",
                "cursor=cFF",
                "cursor=c00",
                "cursor=10",
                "cursor=c1%20",
                "cursor=%FF",
                "cursor=c10000000000000000",
                "limit=1&cursor=no",
                &long,
            ],
        );
        add(
            path,
            "BAD_REQUEST",
            &[
                "limit=-1",
                "limit=abc",
                "limit=1.5",
                "limit=",
                "limit=4294967296",
                "limit=1&limit=2",
                "cursor=c1&cursor=c2",
                "offset=1",
                "page=2",
                "Limit=1",
                "limit=1%00",
                "limit[]=1",
            ],
        );
    }
    add(
        "/api/payments",
        "VALIDATION_FAILED",
        &[
            "orderId=",
            "orderId=a%20b",
            "orderId=%00",
            "orderId=O-1&limit=0",
            "orderId=O-1&cursor=x",
            "orderId=%E8%AE%A2",
        ],
    );
    add(
        "/api/payments",
        "BAD_REQUEST",
        &["orderId=a&orderId=b", "orderid=a", "order_id=a"],
    );
    for path in [&payment, &format!("{payment}/refunds/R-1")] {
        add(
            path,
            "VALIDATION_FAILED",
            &[
                "refresh=",
                "refresh=yes",
                "refresh=CHANNEL",
                "refresh=channel%20",
            ],
        );
        add(
            path,
            "BAD_REQUEST",
            &[
                "refresh=channel&refresh=channel",
                "Refresh=channel",
                "limit=1",
            ],
        );
    }
    add(
        &format!("{payment}/refunds"),
        "BAD_REQUEST",
        &["limit=1", "cursor=c1", "refresh=channel"],
    );
    cases
}
