//! What people do on the page, in a browser.

use payment_runtime::reconcile::books::DifferenceState;

use crate::chromium::{Driver, Visitor};
use crate::world::{TOKEN, World};

#[tokio::test(flavor = "multi_thread")]
async fn people_find_a_difference_and_resolve_it() {
    let world = World::start().await;
    let (small, large) = world.with_differences().await;
    let driver = Driver::start();
    let root = world.root();
    let li_na = driver.visitor("li.na").await;
    looks_at_the_overview(&li_na, &root).await;
    filters_the_list(&li_na, small.id).await;
    reads_a_difference(&li_na).await;
    li_na.signs_in(&root, "li.na", TOKEN).await;
    let page = format!("{root}/reconciliation/differences");
    resolves(&li_na, &format!("{page}/{}", small.id)).await;
    let after = world.difference(small.id).await;
    assert_eq!(after.state, DifferenceState::Resolved);
    assert_eq!(after.resolution.as_deref(), Some("explained"));
    proposes(&li_na, &format!("{page}/{}", large.id)).await;
    let between = world.difference(large.id).await;
    assert_eq!(between.state, DifferenceState::Proposed);
    let wang_wei = driver.visitor("wang.wei").await;
    wang_wei.signs_in(&root, "wang.wei", TOKEN).await;
    approves(&wang_wei, &format!("{page}/{}", large.id)).await;
    let after = world.difference(large.id).await;
    assert_eq!(after.state, DifferenceState::Resolved);
    fits_a_phone(&wang_wei, &root, large.id).await;
    for visitor in [li_na, wang_wei] {
        let complaints = visitor.complaints().await;
        assert!(complaints.is_empty(), "{complaints:?}");
        visitor.client.close().await.unwrap();
    }
    drop(driver);
    world.stop().await;
}

async fn looks_at_the_overview(visitor: &Visitor, root: &str) {
    visitor.client.goto(root).await.unwrap();
    let headline = visitor.text("h1").await;
    assert_eq!(headline, "2 differences, 1,334.55 CNY, need a person");
    visitor.screenshot("overview").await;
    visitor.follows("Proof holds").await;
    assert!(visitor.text(".level").await.contains("The proof holds"));
    assert!(visitor.text(".verdict").await.contains("both are the same"));
    visitor.screenshot("run").await;
}

async fn filters_the_list(visitor: &Visitor, id: u64) {
    visitor.follows("Differences").await;
    assert_eq!(visitor.count(".list tbody tr").await, 2);
    visitor.screenshot("list").await;
    visitor.chooses("#channel", "wechat").await;
    visitor.submits(".filter button").await;
    assert_eq!(visitor.count(".list tbody tr").await, 1);
    let row = visitor.text(".list tbody tr").await;
    assert!(
        row.contains("99.99 CNY") && row.contains("Missing at channel"),
        "{row}"
    );
    let csv = visitor.link("#csv").await;
    assert_eq!(csv, "/api/reconciliation/differences.csv?channel=wechat");
    visitor.click("#all").await;
    assert_eq!(visitor.count("input[name=id]:checked").await, 1);
    visitor.follows(&id.to_string()).await;
}

async fn reads_a_difference(visitor: &Visitor) {
    assert!(visitor.text("h1").await.starts_with("Missing at channel"));
    let ours = visitor.text("section[aria-labelledby=ours]").await;
    assert!(ours.contains("<script>alert(1)</script>"), "{ours}");
    let theirs = visitor.text("section[aria-labelledby=channels]").await;
    assert!(theirs.contains("no row under this number"), "{theirs}");
    assert!(
        visitor
            .count("section[aria-labelledby=timeline] tbody tr")
            .await
            > 1
    );
    assert!(
        visitor
            .count("section[aria-labelledby=entries] tbody tr")
            .await
            >= 1
    );
    assert!(!visitor.scrolls_sideways().await);
    visitor.screenshot("detail").await;
}

async fn resolves(visitor: &Visitor, page: &str) {
    visitor.client.goto(page).await.unwrap();
    visitor.click("#resolution-explained").await;
    visitor
        .types("#resolve-reason", "Paid in cash at the counter")
        .await;
    visitor.submits("#resolve button").await;
    let error = visitor.text("#resolve-error").await;
    assert_eq!(error, "Note is required. Nothing was done.");
    let kept = visitor.value("#resolve-reason").await;
    assert_eq!(kept, "Paid in cash at the counter");
    assert_eq!(visitor.count("#resolution-explained:checked").await, 1);
    visitor.screenshot("error").await;
    visitor
        .types(
            "#resolve-note",
            "Asked the shop; the receipt is in the folder.",
        )
        .await;
    visitor.submits("#resolve button").await;
    assert_eq!(visitor.text(".done").await, "The difference was resolved.");
    let trail = visitor.text(".trail").await;
    assert!(
        trail.contains("li.na") && trail.contains("the receipt is in the folder"),
        "{trail}"
    );
    visitor.screenshot("resolved").await;
}

async fn proposes(visitor: &Visitor, page: &str) {
    visitor.client.goto(page).await.unwrap();
    assert!(
        visitor
            .text("#resolve")
            .await
            .contains("More than 200.00 CNY")
    );
    visitor.click("#resolution-written-off").await;
    visitor
        .types("#resolve-reason", "The channel lost it")
        .await;
    visitor
        .types("#resolve-note", "Ticket 4711 with the channel is closed.")
        .await;
    visitor.submits("#resolve button").await;
    assert!(
        visitor
            .text(".done")
            .await
            .contains("A second person has to agree")
    );
    let said = visitor.text("#approve").await;
    assert!(said.contains("another person has to approve it"), "{said}");
    visitor.screenshot("proposed").await;
}

async fn approves(visitor: &Visitor, page: &str) {
    visitor.client.goto(page).await.unwrap();
    let said = visitor.text("#approve").await;
    assert!(said.contains("li.na proposes: Written off"), "{said}");
    assert!(said.contains("1,234.56 CNY: debit written-off"), "{said}");
    visitor.screenshot("approve").await;
    visitor.submits("#approve button:not(.plain)").await;
    assert!(
        visitor
            .text(".done")
            .await
            .contains("approved and carried out")
    );
    let trail = visitor.text(".trail").await;
    assert!(trail.contains("Approved by wang.wei"), "{trail}");
}

async fn fits_a_phone(visitor: &Visitor, root: &str, id: u64) {
    visitor.size(390, 844).await;
    for (name, path) in [
        ("phone-overview", "/reconciliation".to_owned()),
        (
            "phone-list",
            "/reconciliation/differences?state=all".to_owned(),
        ),
        ("phone-detail", format!("/reconciliation/differences/{id}")),
        ("phone-run", "/reconciliation/runs/1".to_owned()),
    ] {
        visitor.client.goto(&format!("{root}{path}")).await.unwrap();
        assert!(!visitor.scrolls_sideways().await, "{name}");
        visitor.screenshot(name).await;
    }
}
