//! One reconciliation run over the day of the tour's orders.

use std::time::Duration;

use anyhow::{Result, bail};
use e2e::{Simulator, System, runs};
use jiff::civil::Date;

use crate::paint::Paint;

const RUN_WITHIN: Duration = Duration::from_mins(2);

/// Lets the channels make their bills and compares them; any difference is a failure.
pub(crate) async fn reconcile(
    demo: &System,
    simulator: &Simulator,
    days: &[Date],
    paint: Paint,
) -> Result<()> {
    // Two days when midnight fell between the two orders.
    let mut days = days.to_vec();
    days.sort();
    days.dedup();
    for day in days {
        println!("\n{}", paint.title(&format!("Reconciliation of {day}")));
        runs::pass_bill_hour(simulator, day).await?;
        let run = runs::reconcile(demo, &day.to_string(), RUN_WITHIN).await?;
        // Records of what the process did are JSON; the report is not.
        for line in run.log.lines().filter(|line| !line.starts_with('{')) {
            println!("  {line}");
        }
        let summary = &run.summary;
        let (matched, open) = (summary.matched, summary.open_differences);
        if open > 0 || matched == 0 || summary.pending_bills > 0 {
            bail!(
                "{matched} rows matched, {open} differences are open, {} bills are missing (Job {}). \
                 A simulator that was restarted has forgotten its charges: `make down` and `make up` \
                 start afresh",
                summary.pending_bills,
                run.job,
            );
        }
        println!(
            "  {}",
            paint.good(&format!("{matched} matched, {open} differences"))
        );
    }
    Ok(())
}
