//! The named points at which a fault can strike: before and after every effect outside a process.
//!
//! Guarantees: the list is complete (every port call passes through it) and closed, so that a run
//! can show which points were never struck.

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The process dies: none of its tasks makes another step.
    Crash,
    /// This task alone makes no other step.
    Cancel,
    /// The effect fails (before), or is not reported (after).
    Fault,
}

impl Strike {
    pub const ALL: [Self; 3] = [Self::Crash, Self::Cancel, Self::Fault];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Cancel => "cancel",
            Self::Fault => "fault",
        }
    }
}

macro_rules! sites {
    ($($variant:ident $name:literal,)*) => {
        /// Where a process touches the world outside.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Site { $($variant,)* }

        impl Site {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Passed by reconciliation alone.
            pub fn of_reconciliation(self) -> bool {
                self == Self::BillFetch || self.as_str().starts_with("books.")
            }
        }
    };
}

sites! {
    Now "records.now",
    Insert "records.insert",
    InsertAttempt "records.insert_attempt",
    Payment "records.payment",
    PaymentOfOrder "records.payment_of_order",
    PaymentsOfOrder "records.payments_of_order",
    PaymentOfChannelOrder "records.payment_of_channel_order",
    Payments "records.payments",
    Events "records.events",
    Apply "records.apply",
    Reopen "records.reopen",
    ClaimDue "records.claim_due",
    Release "records.release",
    OpenCounts "records.open_counts",
    ReserveRefund "records.reserve_refund",
    Refund "records.refund",
    Refunds "records.refunds",
    RefundOfChannelNumber "records.refund_of_channel_number",
    ApplyRefund "records.apply_refund",
    ClaimDueRefunds "records.claim_due_refunds",
    ReleaseRefund "records.release_refund",
    KeepCallback "records.keep_callback",
    ClaimCallbacks "records.claim_callbacks",
    SettleCallback "records.settle_callback",
    BeginRequest "records.begin_request",
    FinishRequest "records.finish_request",
    GiveUpRequest "records.give_up_request",
    PurgeRequests "records.purge_requests",
    BeginImport "books.begin_import",
    AddLines "books.add_lines",
    AcceptBill "books.accept_bill",
    RefuseBill "books.refuse_bill",
    ForgetTrial "books.forget_trial",
    AcceptedBill "books.accepted_bill",
    BeginRun "books.begin_run",
    Lines "books.lines",
    OwnOfDay "books.own_of_day",
    OwnByNumber "books.own_by_number",
    OnOtherBills "books.on_other_bills",
    ClearingOf "books.clearing_of",
    ChargedTwice "books.charged_twice",
    Checkpoint "books.checkpoint",
    FinishRun "books.finish_run",
    Healed "books.healed",
    Unresolved "books.unresolved",
    TakeStep "books.take_step",
    TakeStepWithin "books.take_step_within",
    BookedFor "books.booked_for",
    Repost "books.repost",
    CorrectedSince "books.corrected_since",
    PostedFee "books.posted_fee",
    Post "books.post",
    UnsettledSince "books.unsettled_since",
    BillFetch "channel.bill",
    ChannelCreate "channel.create",
    ChannelQuery "channel.query",
    ChannelClose "channel.close",
    ChannelRefund "channel.refund",
    ChannelQueryRefund "channel.query_refund",
    CacheRemember "cache.remember",
    Answer "answer",
    Ack "ack",
}

/// A site, before or after its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub site: Site,
    pub after: bool,
}

impl Point {
    pub const COUNT: usize = Site::ALL.len() * 2;

    pub const fn before(site: Site) -> Self {
        Self { site, after: false }
    }

    pub const fn after(site: Site) -> Self {
        Self { site, after: true }
    }

    pub const fn index(self) -> usize {
        self.site as usize * 2 + self.after as usize
    }

    pub fn of_index(index: usize) -> Self {
        Self {
            site: Site::ALL[index / 2],
            after: index % 2 == 1,
        }
    }

    pub fn name(self) -> String {
        let side = if self.after { "after" } else { "before" };
        format!("{}:{side}", self.site.as_str())
    }
}

/// How often each point was passed and struck.
#[derive(Clone, Debug)]
pub struct Hits(Vec<[u64; 4]>);

impl Default for Hits {
    fn default() -> Self {
        Self(vec![[0; 4]; Point::COUNT])
    }
}

impl Hits {
    pub fn passed(&mut self, point: Point) {
        self.0[point.index()][3] += 1;
    }

    pub fn struck(&mut self, point: Point, strike: Strike) {
        self.0[point.index()][strike as usize] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            for (our, their) in ours.iter_mut().zip(theirs) {
                *our += their;
            }
        }
    }

    pub fn of(&self, point: Point, strike: Strike) -> u64 {
        self.0[point.index()][strike as usize]
    }

    pub fn times_passed(&self, point: Point) -> u64 {
        self.0[point.index()][3]
    }

    /// Points and strikes that never met.
    pub fn missing(&self) -> Vec<(Point, Strike)> {
        let points = (0..Point::COUNT).map(Point::of_index);
        points
            .flat_map(|point| Strike::ALL.map(|strike| (point, strike)))
            .filter(|(point, strike)| self.of(*point, *strike) == 0)
            .collect()
    }

    /// The same in words.
    pub fn missing_in_words(&self) -> Vec<String> {
        let missing = self.missing().into_iter();
        missing
            .map(|(point, strike)| format!("{} at {}", strike.as_str(), point.name()))
            .collect()
    }
}
