//! Bills of both channels.

use serde_json::json;

use crate::bench::{Bench, NATIVE, today, tomorrow};

/// The bill that `target` leads to.
async fn wechat_file(bench: &Bench, target: &str) -> String {
    let answer = bench.wechat("GET", target, "").await.json();
    let url = answer["download_url"].as_str().unwrap();
    let path = url.splitn(4, '/').nth(3).unwrap();
    let file = bench.wechat_at("GET", &format!("/{path}"), "", 0).await;
    let file = file.unwrap();
    assert_eq!(file.header("wechatpay-signature"), "");
    String::from_utf8(file.body).unwrap()
}

fn trade_bill(day: &str) -> String {
    format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL")
}

/// The first file of the bill of today, decoded.
async fn alipay_file(bench: &Bench, kind: &str) -> String {
    let content = json!({"bill_type": kind, "bill_date": today()});
    let node = bench
        .alipay("alipay.data.dataservice.bill.downloadurl.query", content)
        .await;
    let url = node["bill_download_url"].as_str().unwrap();
    let reply = bench.send(bench.http.get(url)).await.unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(reply.body)).unwrap();
    assert_eq!(archive.len(), 2);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_index(0).unwrap(), &mut bytes).unwrap();
    encoding_rs::GBK.decode(&bytes).0.into_owned()
}

#[tokio::test]
async fn a_wechat_bill_comes_the_next_day_and_follows_its_faults() {
    let bench = Bench::start().await;
    for number in ["bill-01", "bill-02"] {
        bench
            .wechat("POST", NATIVE, &bench.order(number, 100))
            .await;
        bench.pay("wechat", number).await;
    }
    let target = format!("/v3/bill/tradebill?bill_date={}&bill_type=ALL", today());
    assert_eq!(
        bench.wechat("GET", &target, "").await.json()["code"],
        "PARAM_ERROR"
    );
    bench.advance(2 * 86_400).await;
    bench.arm("bill-not-ready", "wechat").await;
    assert_eq!(
        bench.wechat("GET", &target, "").await.json()["code"],
        "STATEMENT_CREATING"
    );
    for (fault, rows) in [
        (None, 2),
        (Some("bill-missing-row"), 1),
        (Some("bill-extra-row"), 3),
        (Some("bill-duplicate-row"), 3),
    ] {
        if let Some(fault) = fault {
            bench.arm(fault, "wechat").await;
        }
        let text = wechat_file(&bench, &target).await;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), rows + 3, "{fault:?}");
        assert!(lines[1].split(",`").count() == 27, "{}", lines[1]);
        assert!(
            lines[rows + 2].starts_with(&format!("`{rows},`{rows}.00,")),
            "{}",
            lines[rows + 2]
        );
    }
    bench.arm("expired-bill-url", "wechat").await;
    let url = bench.wechat("GET", &target, "").await.json()["download_url"].clone();
    let path = url
        .as_str()
        .unwrap()
        .splitn(4, '/')
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(
        bench.wechat("GET", &format!("/{path}"), "").await.status,
        400
    );
}

#[tokio::test]
async fn lines_can_stand_in_the_next_day_s_bill_and_a_bill_come_late() {
    let bench = Bench::start().await;
    bench.paid("moved-1", 100).await;
    bench.paid("moved-2", 100).await;
    bench.refund("moved-1", "moved-r", [30, 100]).await;
    bench.advance(3 * 86_400).await;
    for fault in ["bill-next-day-row", "bill-refund-next-day"] {
        bench.arm(fault, "wechat").await;
    }
    let first = wechat_file(&bench, &trade_bill(&today())).await;
    assert!(
        !first.contains("`moved-1,") && first.contains("`moved-2,"),
        "{first}"
    );
    let second = wechat_file(&bench, &trade_bill(&tomorrow())).await;
    assert!(
        second.contains("`moved-1,") && second.contains("`moved-r,"),
        "{second}"
    );
    assert!(
        !wechat_file(&bench, &trade_bill(&today()))
            .await
            .contains("`moved-1,")
    );

    bench.arm("bill-late", "wechat").await;
    for _ in 0..2 {
        let reply = bench.wechat("GET", &trade_bill(&today()), "").await;
        assert_eq!(reply.error(), (400, "STATEMENT_CREATING".to_owned()));
    }
    bench.advance(86_401).await;
    assert_eq!(
        bench.wechat("GET", &trade_bill(&today()), "").await.status,
        200
    );
}

#[tokio::test]
async fn the_fund_flow_bill_has_what_moved_and_its_totals() {
    let bench = Bench::start().await;
    bench.paid("fund-01", 10_000).await;
    bench.refund("fund-01", "fund-r", [5_000, 10_000]).await;
    bench.advance(2 * 86_400).await;
    let target = |account: &str| {
        let day = today();
        format!("/v3/bill/fundflowbill?bill_date={day}&account_type={account}")
    };
    let text = wechat_file(&bench, &target("BASIC")).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[1].split(",`").count(), 11);
    assert!(
        lines[1].contains(",`交易,`交易,`收入,`100.00,`1000100.00,"),
        "{text}"
    );
    assert!(lines[2].contains(",`扣除交易手续费,`支出,`0.60,"), "{text}");
    assert!(lines[3].contains(",`退款,`退款,`支出,`49.70,"), "{text}");
    assert_eq!(lines[5], "`3,`1,`100.00,`2,`50.30");
    let other = bench.wechat("GET", &target("FEES"), "").await;
    assert_eq!(other.error(), (400, "NO_STATEMENT_EXIST".to_owned()));
    let wrong = bench.wechat("GET", &target("GOLD"), "").await;
    assert_eq!(wrong.error(), (400, "PARAM_ERROR".to_owned()));
}

#[tokio::test]
async fn alipay_bills_are_gbk_with_totals() {
    let bench = Bench::start().await;
    bench.alipay_paid("b1", "2.50").await;
    let content = json!({"out_trade_no": "b1", "refund_amount": "1.00", "out_request_no": "r1"});
    bench.alipay("alipay.trade.refund", content).await;
    bench.advance(2 * 86_400).await;
    let trades = alipay_file(&bench, "trade").await;
    assert!(
        trades.contains("b1\t,交易,") && trades.contains("b1\t,退款,"),
        "{trades}"
    );
    let total = "#交易合计：1笔，商家实收共2.50元，商家优惠共0.00元";
    assert!(trades.contains(total), "{trades}");
    let account = alipay_file(&bench, "signcustomer").await;
    assert!(account.contains("#支付宝账务明细查询"), "{account}");
    assert!(
        account.contains(",2.50,,1000002.50,支付宝,在线支付,"),
        "{account}"
    );
    assert!(account.contains("#支出合计：2笔，共-1.02元"), "{account}");
    assert!(account.contains("#收入合计：2笔，共2.51元"), "{account}");
}
