//! `examples/transfer.rs` does what it says.

use crate::support::database::Mysql;
use crate::{both, coordinator, mysql};

#[path = "../../examples/transfer.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is a program of its own")]
mod transfer;

fn url(mysql: &Mysql, database: &str) -> String {
    format!("mysql://root@127.0.0.1:{}/{database}", mysql.port)
}

#[tokio::test]
async fn the_example_transfers_what_is_there_and_nothing_else() {
    let mysql = mysql().await;
    both(async |version| {
        let address = coordinator(version).await.address();
        let from = url(mysql, &mysql.database().await);
        let to = url(mysql, &mysql.database().await);
        let balances = transfer::run(&address, &from, &to).await.unwrap();
        assert_eq!(balances, [70, 130]);
    })
    .await;
}
