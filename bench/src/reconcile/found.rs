//! What a comparison found, held against what was seeded.

use std::collections::BTreeMap;

use anyhow::Context as _;
use payment_core::reconciliation::{DifferenceClass, Kind};
use sqlx::{MySqlConnection, Row as _};

use super::story::Expected;

/// Of each sort so many are shown.
const SHOWN: usize = 5;

/// How many seeded differences were not found, and how many found ones were not seeded. A seeded
/// one that was found under another class is both.
pub(crate) async fn judge(
    connection: &mut MySqlConnection,
    expected: &[Expected],
) -> anyhow::Result<(u64, u64)> {
    let rows = sqlx::query("SELECT kind, number, class FROM reconciliation_differences")
        .fetch_all(connection)
        .await?;
    let mut left = BTreeMap::<Expected, i64>::new();
    for seeded in expected {
        *left.entry(seeded.clone()).or_default() += 1;
    }
    for row in &rows {
        let (kind, class): (String, String) = (row.try_get("kind")?, row.try_get("class")?);
        let kind = Kind::parse(&kind).context("a kind that is none")?;
        let class = DifferenceClass::parse(&class).context("a class that is none")?;
        let found = (kind, row.try_get("number")?, class);
        *left.entry(found).or_default() -= 1;
    }
    let sum = |name: &str, sign: i64| {
        let some: Vec<_> = left.iter().filter(|(_, n)| **n * sign > 0).collect();
        for ((kind, number, class), _) in some.iter().take(SHOWN) {
            println!("#   {name}: {} {number} {class}", kind.as_str());
        }
        some.iter().map(|(_, n)| n.unsigned_abs()).sum::<u64>()
    };
    let (missed, wrong) = (sum("missed", 1), sum("false", -1));
    println!(
        "# {} differences seeded, {} found",
        expected.len(),
        rows.len()
    );
    Ok((missed, wrong))
}
