//! The files of an export and their columns.
//!
//! Guarantees: no column says who paid, or what was bought.

/// A column: its name, and what it is in SQL.
pub(super) type Column = (&'static str, &'static str);

/// One of the files of an export. Every line begins with the channel whose proof needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Payments,
    Refunds,
    Entries,
    BillRows,
    Differences,
    Actions,
}

const PAYMENTS: &[Column] = &[
    ("payment_no", "p.payment_no"),
    ("order_id", "p.business_no"),
    ("attempt", "p.attempt"),
    ("channel", "p.payment_channel"),
    ("channel_order_no", "p.channel_order_no"),
    ("transaction_id", "p.transaction_id"),
    ("amount_minor", "p.amount"),
    ("currency", "p.currency"),
    ("status", "p.status"),
    ("given_up", "p.given_up"),
    ("reserved_minor", "p.reserved_minor"),
    ("refunded_minor", "p.refunded_minor"),
    ("paid_day", "p.paid_day"),
    ("paid_at", "CONCAT(REPLACE(p.paid_at, ' ', 'T'), 'Z')"),
];

const REFUNDS: &[Column] = &[
    ("refund_no", "p.refund_no"),
    ("payment_no", "p.payment_no"),
    ("channel", "p.payment_channel"),
    ("channel_order_no", "p.channel_order_no"),
    ("channel_refund_no", "p.channel_refund_no"),
    ("channel_refund_id", "p.channel_refund_id"),
    ("amount_minor", "p.amount"),
    ("currency", "p.currency"),
    ("status", "p.status"),
    ("origin", "p.origin"),
    ("refunded_day", "p.refunded_day"),
    (
        "refunded_at",
        "CONCAT(REPLACE(p.refunded_at, ' ', 'T'), 'Z')",
    ),
];

const ENTRIES: &[Column] = &[
    ("id", "e.id"),
    ("entry_key", "e.entry_key"),
    ("shard", "e.shard"),
    ("payment_no", "e.payment_no"),
    ("refund_no", "e.refund_no"),
    ("channel", "e.payment_channel"),
    ("debit", "e.debit_account"),
    ("credit", "e.credit_account"),
    ("amount_minor", "e.amount"),
    ("currency", "e.currency"),
    ("day", "e.day"),
    ("cause", "e.cause"),
    ("source", "e.source"),
    ("actor", "e.actor"),
    ("rule", "e.rule_version"),
    ("reference", "e.reference"),
    (
        "recorded_at",
        "CONCAT(REPLACE(e.recorded_at, ' ', 'T'), 'Z')",
    ),
    ("sequence", "s.sequence"),
    ("previous", "IF(s.sequence = 1, REPEAT('0', 64), q.hash)"),
    ("seal", "s.hash"),
];

const BILL_ROWS: &[Column] = &[
    ("bill_day", "b.bill_day"),
    ("bill_digest", "b.digest"),
    ("kind", "IF(r.kind = 0, 'payment', 'refund')"),
    ("number", "r.number"),
    ("line", "r.line"),
    ("channel_order_no", "r.channel_order_no"),
    ("transaction_id", "r.transaction_id"),
    ("amount_minor", "r.amount"),
    ("settled_minor", "r.settled"),
    ("currency", "r.currency"),
    ("fee_1e5", "r.fee_1e5"),
    ("foreign", "r.is_foreign"),
    (
        "status",
        "ELT(r.status + 1, 'done', 'processing', 'failed')",
    ),
    ("at", "REPLACE(r.at, ' ', 'T')"),
];

const DIFFERENCES: &[Column] = &[
    ("id", "d.id"),
    ("bill_day", "d.bill_day"),
    ("kind", "d.kind"),
    ("class", "d.class"),
    ("number", "d.number"),
    ("line", "d.line"),
    ("channel_order_no", "d.channel_order_no"),
    ("payment_no", "d.payment_no"),
    ("refund_no", "d.refund_no"),
    ("transaction_id", "d.transaction_id"),
    ("our_status", "d.our_status"),
    ("our_minor", "d.our_minor"),
    ("currency", "d.currency"),
    ("bill_minor", "d.bill_minor"),
    ("bill_currency", "d.bill_currency"),
    ("fee_1e5", "d.fee_1e5"),
    ("at", "REPLACE(d.at, ' ', 'T')"),
    ("at_the_edge", "d.at_the_edge"),
    ("state", "d.state"),
    ("why", "d.why"),
    ("resolution", "d.resolution"),
    ("assignee", "d.assignee"),
    ("found_at", "CONCAT(REPLACE(d.found_at, ' ', 'T'), 'Z')"),
    ("changed_at", "CONCAT(REPLACE(d.changed_at, ' ', 'T'), 'Z')"),
];

const ACTIONS: &[Column] = &[
    ("id", "a.id"),
    ("difference_id", "a.difference_id"),
    ("at", "CONCAT(REPLACE(a.at, ' ', 'T'), 'Z')"),
    ("actor", "a.actor"),
    ("action", "a.action"),
    ("rule", "a.rule"),
    ("reason", "a.reason"),
    ("note", "a.note"),
    ("evidence", "a.evidence"),
    ("moved_minor", "a.moved_minor"),
];

impl Table {
    pub(crate) const ALL: [Self; 6] = [
        Self::Payments,
        Self::Refunds,
        Self::Entries,
        Self::BillRows,
        Self::Differences,
        Self::Actions,
    ];

    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::Payments => "payments.csv",
            Self::Refunds => "refunds.csv",
            Self::Entries => "ledger_entries.csv",
            Self::BillRows => "bill_rows.csv",
            Self::Differences => "differences.csv",
            Self::Actions => "actions.csv",
        }
    }

    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Payments => PAYMENTS,
            Self::Refunds => REFUNDS,
            Self::Entries => ENTRIES,
            Self::BillRows => BILL_ROWS,
            Self::Differences => DIFFERENCES,
            Self::Actions => ACTIONS,
        }
    }

    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        self.columns().iter().map(|(name, _)| *name)
    }
}
