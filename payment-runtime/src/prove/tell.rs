//! A proof as text.

use std::fmt;

use super::{DayProof, Equation, Proof};

/// Items of an equation that are printed.
const PRINTED: usize = 50;

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for day in &self.channels {
            write!(f, "{day}")?;
        }
        writeln!(f, "ledger")?;
        for line in self.ledger.to_string().lines() {
            writeln!(f, "  {line}")?;
        }
        let verdict = match self.exit_code() {
            0 => "PROVEN: every equation closes, and every difference has a reason",
            2 => "NOT PROVEN YET: a bill is missing; what needs no bill holds",
            _ => "NOT PROVEN: see the lines with ✗",
        };
        write!(f, "{}: {verdict}", self.day)
    }
}

impl fmt::Display for DayProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.bill.as_ref().map(|bill| bill.digest.as_str());
        match digest {
            Some(digest) => writeln!(f, "{} {}, bill {digest}", self.channel, self.day)?,
            None => writeln!(f, "{} {}: there is no bill yet", self.channel, self.day)?,
        }
        for equation in &self.equations {
            write!(f, "{equation}")?;
        }
        self.differences(f)
    }
}

impl DayProof {
    fn differences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = &self.differences;
        let mark = mark(listed.without_reason_count == 0);
        writeln!(
            f,
            "  differences: {} found, {} of them unresolved, {} without a reason {mark}",
            listed.count, listed.unresolved, listed.without_reason_count
        )?;
        for (what, count) in &listed.counts {
            writeln!(f, "    {what}: {count}")?;
        }
        for id in &listed.without_reason {
            writeln!(f, "    ✗ difference {id} has no reason")?;
        }
        for (difference, _, amount) in &listed.in_suspense {
            writeln!(f, "    in suspense for difference {difference}: {amount}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Equation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right, currency) = (&self.left, &self.right, &self.currency);
        writeln!(f, "  {} {currency} {}", self.name, mark(self.holds))?;
        let line = |f: &mut fmt::Formatter<'_>, sign: &str, what: &str, rows: u64, amount: &str| {
            writeln!(f, "    {sign:<2}{what:<44}{rows:>10}{amount:>20}")
        };
        line(f, "", left.what, left.rows, &left.amount)?;
        for item in self.items.iter().take(PRINTED) {
            let sign = if item.explained { "±" } else { "✗" };
            let class = item.class.as_deref().unwrap_or_default();
            let state = item.state.as_deref().unwrap_or_default();
            let known = item
                .difference
                .map(|id| format!("difference {id} {class} {state}: "));
            let known = known.unwrap_or_default();
            let (about, amount, reason) = (&item.about, &item.amount, &item.reason);
            writeln!(f, "    {sign} {about}  {amount}  {known}{reason}")?;
        }
        let more = self.item_count.saturating_sub(PRINTED as u64);
        if more > 0 {
            writeln!(f, "      and {more} more")?;
        }
        line(f, "=", right.what, right.rows, &right.amount)?;
        if self.residual_minor != 0 {
            writeln!(f, "    ✗ unexplained: {} {currency}", self.residual)?;
        }
        Ok(())
    }
}

const fn mark(holds: bool) -> &'static str {
    if holds {
        "✓ holds"
    } else {
        "✗ DOES NOT HOLD"
    }
}
