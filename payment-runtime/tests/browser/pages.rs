//! The pages over plain HTTP: what they let out, and whom they let act.

use payment_runtime::reconcile::books::{DifferenceRecord, DifferenceState};
use reqwest::{RequestBuilder, Response, StatusCode, redirect};

use crate::world::{TOKEN, World};

struct Site {
    root: String,
    http: reqwest::Client,
}

impl Site {
    fn of(world: &World) -> Self {
        let http = reqwest::Client::builder().no_proxy();
        Self {
            root: world.root(),
            http: http.redirect(redirect::Policy::none()).build().unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.root);
        self.http.get(url).send().await.unwrap()
    }

    /// A form as a browser sends it from our own page.
    fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let url = format!("{}{path}", self.root);
        self.http
            .post(url)
            .header("sec-fetch-site", "same-origin")
            .form(fields)
    }

    fn signed(&self, path: &str, name: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.form(path, fields).basic_auth(name, Some(TOKEN))
    }
}

fn page_of(difference: &DifferenceRecord) -> String {
    format!("/reconciliation/differences/{}", difference.id)
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

async fn sent(request: RequestBuilder) -> (StatusCode, String, String) {
    let answer = request.send().await.unwrap();
    let to = header(&answer, "location").to_owned();
    (answer.status(), to, answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_guarded_and_escape_what_came_from_outside() {
    let world = World::start().await;
    let (small, _) = world.with_differences().await;
    let site = Site::of(&world);
    let home = site.get("/").await;
    assert_eq!(
        (home.status(), header(&home, "location")),
        (StatusCode::SEE_OTHER, "/reconciliation")
    );
    for path in [
        "/reconciliation".to_owned(),
        "/reconciliation/differences".to_owned(),
        page_of(&small),
        "/reconciliation/runs/1".to_owned(),
        "/reconciliation/nowhere".to_owned(),
    ] {
        let page = site.get(&path).await;
        let policy = header(&page, "content-security-policy");
        assert!(policy.starts_with("default-src 'self'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(header(&page, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&page, "cache-control"), "no-store", "{path}");
        let text = page.text().await.unwrap();
        assert!(!text.contains("<script>alert"), "{path}");
        assert!(!text.contains(" style="), "{path}");
    }
    let text = site.get(&page_of(&small)).await.text().await.unwrap();
    assert!(text.contains("&#60;script&#62;alert(1)"), "{text}");
    let hostile = "/reconciliation/differences?number=%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    let text = site.get(hostile).await.text().await.unwrap();
    assert!(!text.contains("<script>alert"), "{text}");
    let name = text
        .split("href=\"/reconciliation/static/style-")
        .nth(1)
        .unwrap();
    let name = name.split('"').next().unwrap();
    let style = site
        .get(&format!("/reconciliation/static/style-{name}"))
        .await;
    assert!(header(&style, "cache-control").contains("immutable"));
    assert!(header(&style, "content-type").starts_with("text/css"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_people_act_and_only_from_our_own_page() {
    let world = World::start().await;
    let (small, large) = world.with_differences().await;
    let site = Site::of(&world);
    let comment = format!("{}/comment", page_of(&small));
    let note = [("note", "looked at it")];
    let answer = site.form(&comment, &note).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let challenge = header(&answer, "www-authenticate");
    assert_eq!(challenge, "Basic realm=\"reconciliation\"");
    let wrong = site
        .form(&comment, &note)
        .basic_auth("li.na", Some("guess"));
    assert_eq!(sent(wrong).await.0, StatusCode::UNAUTHORIZED);
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let url = format!("{}{comment}", site.root);
        let other = site.http.post(url).header(name, value).form(&note);
        let (status, _, text) = sent(other.basic_auth("li.na", Some(TOKEN))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{name} {value}");
        assert!(text.contains("another site"), "{text}");
    }
    let (status, to, _) = sent(site.signed(&comment, "li.na", &note)).await;
    let done = format!("{}?done=comment", page_of(&small));
    assert_eq!(
        (status, to.as_str()),
        (StatusCode::SEE_OTHER, done.as_str())
    );
    assert_eq!(
        world.difference(small.id).await.state,
        DifferenceState::Open
    );
    assigns_both(&site, &small, &large).await;
    assert_eq!(
        world.difference(large.id).await.assignee.as_deref(),
        Some("wang.wei")
    );
    world.stop().await;
}

async fn assigns_both(site: &Site, small: &DifferenceRecord, large: &DifferenceRecord) {
    let (one, two) = (small.id.to_string(), large.id.to_string());
    let fields = [
        ("id", one.as_str()),
        ("id", two.as_str()),
        ("to", "wang.wei"),
        ("channel", ""),
        ("state", "open"),
    ];
    let all = "/reconciliation/differences/assign";
    let (status, to, text) = sent(site.signed(all, "li.na", &fields)).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{text}");
    assert_eq!(to, "/reconciliation/differences?state=open&assigned=2");
    let text = site.get(&to).await.text().await.unwrap();
    assert!(text.contains("2 differences assigned."), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_holds_for_what_its_page_showed() {
    let world = World::start().await;
    let (small, large) = world.with_differences().await;
    let site = Site::of(&world);
    let seen = |difference: &DifferenceRecord| difference.changed_at.as_millisecond().to_string();
    let typed = |seen: &str| {
        let fields = ["resolution=explained", "reason=known", "note=%3Cb%3Enote"];
        format!("{}&seen={seen}", fields.join("&"))
    };
    let resolve = |difference: &DifferenceRecord, body: String| {
        let url = format!("{}{}/resolve", site.root, page_of(difference));
        let form = "application/x-www-form-urlencoded";
        let request = site.http.post(url).header("content-type", form).body(body);
        request.basic_auth("li.na", Some(TOKEN))
    };
    let (status, _, text) = sent(resolve(&small, typed("1"))).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text.contains("look at the difference again"), "{text}");
    assert!(
        text.contains("&#60;b&#62;note"),
        "what was typed is kept: {text}"
    );
    let (status, _, _) = sent(resolve(&small, typed(&seen(&small)))).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (status, _, _) = sent(resolve(&large, typed(&seen(&large)))).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let large = world.difference(large.id).await;
    let approve = format!("{}/approve", page_of(&large));
    let stand = seen(&large);
    let fields = [("seen", stand.as_str()), ("note", "")];
    let (status, _, text) = sent(site.signed(&approve, "li.na", &fields)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text.contains("another person has to agree"), "{text}");
    let (status, to, _) = sent(site.signed(&approve, "wang.wei", &fields)).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(to.ends_with("?done=approve"), "{to}");
    let comment = format!("{}/comment", page_of(&small));
    sent(site.signed(&comment, "li.na", &[("note", "afterwards")])).await;
    let after = world.difference(small.id).await;
    assert_eq!(
        after.resolution.as_deref(),
        Some("explained"),
        "a note changes nothing else"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_people_the_pages_are_for_reading() {
    let world = World::without_people().await;
    world.paid("wechat", "10.00", "Tea").await;
    world.system.fault("bill-truncated", "wechat").await;
    let two_days = serde_json::json!({"advanceSeconds": 2 * 86_400});
    world.system.admin("/clock", &two_days).await;
    world.compare_again().await.unwrap_err();
    let site = Site::of(&world);
    let text = site.get("/reconciliation").await.text().await.unwrap();
    assert!(
        text.contains("Bill refused") && text.contains("Not in order"),
        "{text}"
    );
    world.system.fault("bill-missing-row", "wechat").await;
    world.compare_again().await.unwrap();
    let difference = world.unresolved().await.remove(0);
    let text = site.get(&page_of(&difference)).await.text().await.unwrap();
    assert!(
        text.contains("peopleSecretRef") && !text.contains("<textarea"),
        "{text}"
    );
    let comment = format!("{}/comment", page_of(&difference));
    let (status, _, text) = sent(site.signed(&comment, "li.na", &[("note", "x")])).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("peopleSecretRef"), "{text}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_and_nothing_else() {
    let world = World::start().await;
    let site = Site::of(&world);
    for (path, expected) in [
        ("/reconciliation/differences/77", StatusCode::NOT_FOUND),
        ("/reconciliation/differences/x", StatusCode::NOT_FOUND),
        ("/reconciliation/runs/77", StatusCode::NOT_FOUND),
        ("/reconciliation/static/other.css", StatusCode::NOT_FOUND),
        (
            "/reconciliation/differences?state=odd",
            StatusCode::BAD_REQUEST,
        ),
        ("/reconciliation/differences?odd=1", StatusCode::BAD_REQUEST),
        (
            "/reconciliation/differences?cursor=x",
            StatusCode::BAD_REQUEST,
        ),
        (
            "/reconciliation/differences?day=2026-02-30",
            StatusCode::BAD_REQUEST,
        ),
        ("/reconciliation-sign-in", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(site.get(path).await.status(), expected, "{path}");
    }
    let long = "n".repeat(100_000);
    let path = "/reconciliation/differences/1/comment";
    let (status, _, _) = sent(site.signed(path, "li.na", &[("note", &long)])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let url = format!("{}/reconciliation-sign-in?to=//evil.example", site.root);
    let request = site.http.get(url).basic_auth("li.na", Some(TOKEN));
    assert_eq!(sent(request).await.1, "/reconciliation");
    let text = site.get("/reconciliation").await.text().await.unwrap();
    assert!(
        text.contains("No whole day has been compared yet"),
        "{text}"
    );
    world.stop().await;
}
