//! A transaction that travels over HTTP through two services, each with a database of its own.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use seata_client::branch::Xid;
use seata_client::codec::GlobalStatus;
use seata_client::http::{JoinLayer, WithXid as _};
use seata_client::tm::{GlobalError, TxOptions};

use crate::support::bank::Service;
use crate::{Failure, both, service};

async fn pay(
    State(service): State<Service>,
    Path((account, amount)): Path<(i64, i64)>,
) -> Result<(), (StatusCode, String)> {
    let Some(xid) = Xid::current() else {
        let problem = "only in a global transaction".to_owned();
        return Err((StatusCode::PRECONDITION_REQUIRED, problem));
    };
    if account > 3 {
        return Err((StatusCode::NOT_FOUND, "no such account".to_owned()));
    }
    let paid = service.pay(&xid, amount, account).await;
    paid.map_err(|error| (StatusCode::CONFLICT, error.to_string()))
}

/// Serves it and gives its address.
async fn serve(service: &Service) -> String {
    let app = Router::new()
        .route("/pay/{account}/{amount}", post(pay))
        .layer(JoinLayer)
        .with_state(service.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

async fn ask(url: String) -> Result<(), Failure> {
    let answer = reqwest::Client::new().post(url).with_xid().send().await?;
    answer.error_for_status()?;
    Ok(())
}

#[tokio::test]
async fn two_services_over_http_are_one_transaction() {
    both(async |version| {
        let (from, to) = (service(version).await, service(version).await);
        let (from_url, to_url) = (serve(&from).await, serve(&to).await);
        let transfer = async |account: i64| {
            let body = async |_| {
                ask(format!("{from_url}/pay/1/-10")).await?;
                ask(format!("{to_url}/pay/{account}/10")).await
            };
            from.client
                .global_tx(TxOptions::new("transfer"), body)
                .await
        };
        let committed: Result<(), _> = transfer(2).await;
        committed.unwrap();
        let refused = transfer(4).await.unwrap_err();
        let GlobalError::Body { error, rollback } = refused else {
            panic!("{refused:?}")
        };
        assert!(error.to_string().contains("404"), "{error}");
        assert_eq!(rollback, Some(Ok(GlobalStatus::Rollbacked)));
        assert_eq!(from.bank.balances().await, [90, 100, 100]);
        assert_eq!(to.bank.balances().await, [100, 110, 100]);
        let outside = ask(format!("{from_url}/pay/1/-10")).await.unwrap_err();
        assert!(outside.to_string().contains("428"), "{outside}");
        from.settled().await;
        to.settled().await;
    })
    .await;
}
