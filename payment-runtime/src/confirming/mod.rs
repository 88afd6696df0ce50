//! Confirms charged payments with the order service, each in one global transaction: the
//! payment's confirmation is one branch, the order and its stock the other.
//!
//! Guarantees: that a payment was charged stands by itself and no rollback undoes it; a payment is
//! confirmed at most once, by whichever process and after whatever crash; what is refused, or
//! never answered, is given back by the policy for late money. An outcome that nobody knows is
//! looked up under the coordinator's locks before anything else is done.
//!
//! Deliberately not here: what an answer means and when to try again
//! (`payment_core::confirmation`), SQL (`store`), the order service itself (`orders`).

mod service;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contract::config::{self, Coordinator, PaidAfterClose};
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use payment_core::PaymentState;
use payment_core::confirmation::{Next, Refusal, after_try, pause_after};
use seata_client::config::{Config, Tls};
use seata_client::connection::Client;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::authority;
use crate::payments::{PayError, Payments};
use crate::ports::StoreError;
use crate::records::{
    Confirmation, ConfirmationState, RefundOrigin, ReleasedConfirmation, after, without_money,
};
use crate::store::Store;
use crate::store::confirmations::{BranchError, ConfirmationBranch};
use service::OrderService;
use transaction::{Tried, Undone};

/// How often the counts for the metrics are taken.
const COUNTING_INTERVAL: Duration = Duration::from_secs(5);
/// How long what the coordinator began may take to end when the process stops.
const GRACE: Duration = Duration::from_secs(5);

/// A client of the configured coordinator. Must be called within a runtime.
pub(crate) fn coordinator_client(config: &Coordinator, name: &str) -> anyhow::Result<Client> {
    let address = format!("{}:{}", config.host, config.port);
    let group = config.transaction_group.as_str();
    let mut settings = Config::new([address], name, group);
    if let Some(tls) = &config.tls {
        settings.tls = Some(Tls {
            server_name: config.host.clone(),
            authorities: authority::read(&tls.ca_file)
                .context("transactionCoordinator.tls cannot be used")?,
        });
    }
    Client::start(settings).context("transactionCoordinator cannot be used")
}

/// Confirms payments in one process.
pub struct Confirming {
    payments: Arc<Payments>,
    store: Store,
    settings: config::Confirmation,
    client: Client,
    branch: OnceCell<ConfirmationBranch>,
    orders: OrderService,
}

/// Why a step could not be finished; it comes back when its pause is over.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Branch(#[from] BranchError),
    #[error(transparent)]
    Pay(#[from] PayError),
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::Pay(error.into())
    }
}

impl Confirming {
    /// `None`: it is not configured. Must be called within a runtime.
    pub fn new(payments: Arc<Payments>, store: Store) -> anyhow::Result<Option<Self>> {
        let config = &payments.config;
        let (Some(settings), Some(coordinator)) =
            (&config.confirmation, &config.transaction_coordinator)
        else {
            return Ok(None);
        };
        let settings = settings.clone();
        let client = coordinator_client(coordinator, "payment-runtime")?;
        let orders = OrderService::new(&settings)?;
        Ok(Some(Self {
            payments,
            store,
            settings,
            client,
            branch: OnceCell::new(),
            orders,
        }))
    }

    /// Works until `stop`; then finishes what it holds.
    pub async fn run(self, stop: CancellationToken) {
        let pause = Duration::from_millis(self.payments.config.worker.poll_interval_milliseconds);
        let mut running = FuturesUnordered::new();
        let mut count_at = self.payments.now();
        while !stop.is_cancelled() {
            if self.payments.now() >= count_at {
                count_at = after(self.payments.now(), COUNTING_INTERVAL);
                self.count().await;
            }
            let free = self.settings.concurrency.saturating_sub(running.len());
            let claimed = self.claim(free).await;
            let full = claimed.len() == free;
            running.extend(claimed.into_iter().map(|one| self.work(one)));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(()) = running.next(), if !running.is_empty() => {}
                () = tokio::time::sleep(self.stretched(pause)), if running.is_empty() || !full => {}
            }
        }
        while running.next().await.is_some() {}
        drop(running);
        if let Some(branch) = self.branch.get() {
            branch.shutdown().await;
        }
        self.client.shutdown(GRACE).await;
    }

    async fn count(&self) {
        match self.store.confirmation_counts().await {
            Ok(counts) => {
                let now = self.payments.now();
                self.payments.metrics.set_confirmations(&counts, now);
            }
            Err(error) => warn(&error, "confirmations could not be counted"),
        }
    }

    async fn claim(&self, free: usize) -> Vec<Confirmation> {
        if free == 0 {
            return Vec::new();
        }
        let lease = self.payments.config.worker.lease_seconds;
        let claimed = self
            .store
            .claim_confirmations(self.payments.now(), lease, free);
        claimed.await.unwrap_or_else(|error| {
            warn(&error, "confirmations could not be read");
            Vec::new()
        })
    }

    async fn work(&self, one: Confirmation) {
        let payment_no = one.payment_no.clone();
        let look = match self.step(&one).await {
            Ok(look) => look,
            Err(error) => {
                tracing::warn!(
                    payment_no,
                    error = &error as &dyn std::error::Error,
                    "a confirmation has to wait"
                );
                self.later(&one, error.to_string())
            }
        };
        let released = self.store.release_confirmation(&payment_no, &look).await;
        if let Err(error) = released {
            // The lease ends by itself.
            warn(&error, "a confirmation could not be given back");
        }
    }

    async fn step(&self, one: &Confirmation) -> Result<ReleasedConfirmation, StepError> {
        match one.state {
            ConfirmationState::Waiting => self.confirm(one).await,
            ConfirmationState::Confirmed => self.look_up(one).await,
            ConfirmationState::Refused => self.follow_policy(one).await,
        }
    }

    async fn confirm(&self, one: &Confirmation) -> Result<ReleasedConfirmation, StepError> {
        let Some(payment) = self.payments.records.payment(&one.payment_no).await? else {
            return Ok(self.later(one, "the payment is not there".to_owned()));
        };
        if let Some(why) = without_money(&payment) {
            return self.refuse(one, why).await;
        }
        let mut asked = false;
        let problem = match self.transaction(&payment).await? {
            Tried::Confirmed => return self.confirmed(one).await,
            Tried::Unknown(xid) => {
                self.until_ended(&xid).await;
                return self.look_up(one).await;
            }
            Tried::Undone(Undone::Elsewhere) => return self.look_up(one).await,
            Tried::Undone(Undone::Order(answer, said)) => {
                asked = true;
                match after_try(answer, one.asked.saturating_add(1), self.settings.max_tries) {
                    Next::Refuse(why) => return self.refuse(one, why).await,
                    Next::TryAgain => said,
                }
            }
            Tried::Undone(Undone::Branch(error)) => error.to_string(),
            Tried::NotCommitted(why) => why,
        };
        self.payments.metrics.confirmation_ended("tried_again");
        tracing::warn!(payment_no = one.payment_no, problem, "not confirmed yet");
        Ok(self.again(one, problem, asked))
    }

    /// What stands in the row once no global transaction holds it.
    async fn look_up(&self, one: &Confirmation) -> Result<ReleasedConfirmation, StepError> {
        match self.branch().await?.settled(&one.payment_no).await? {
            ConfirmationState::Confirmed => self.confirmed(one).await,
            ConfirmationState::Refused => self.follow_policy(one).await,
            ConfirmationState::Waiting => {
                self.payments.metrics.confirmation_ended("tried_again");
                Ok(self.later(one, "the global transaction was rolled back".to_owned()))
            }
        }
    }

    async fn confirmed(&self, one: &Confirmation) -> Result<ReleasedConfirmation, StepError> {
        let state = ConfirmationState::Confirmed;
        if self.tell(one, state).await? {
            tracing::info!(payment_no = one.payment_no, "payment confirmed");
        }
        Ok(ReleasedConfirmation::default())
    }

    async fn refuse(
        &self,
        one: &Confirmation,
        why: Refusal,
    ) -> Result<ReleasedConfirmation, StepError> {
        let refused = self
            .branch()
            .await?
            .refuse(&one.payment_no, why, self.now());
        match refused.await? {
            ConfirmationState::Confirmed => self.confirmed(one).await,
            ConfirmationState::Refused => self.follow_policy(one).await,
            ConfirmationState::Waiting => Ok(self.later(one, why.to_string())),
        }
    }

    /// Tells how it ended, once. The state must be final.
    async fn tell(&self, one: &Confirmation, state: ConfirmationState) -> Result<bool, StepError> {
        let told = self
            .store
            .tell_confirmation(&one.payment_no, state, self.now())
            .await?;
        if told {
            self.payments.metrics.confirmation_ended(state.as_str());
        }
        Ok(told)
    }

    /// A refused payment's money goes back, unless a person is to decide.
    async fn follow_policy(&self, one: &Confirmation) -> Result<ReleasedConfirmation, StepError> {
        let told = self.tell(one, ConfirmationState::Refused).await?;
        let number = &one.payment_no;
        if told {
            tracing::error!(payment_no = number, "charged, and the order was refused");
        }
        if self.payments.config.payment.paid_after_close == PaidAfterClose::Manual {
            return Ok(ReleasedConfirmation {
                attention: true,
                ..ReleasedConfirmation::default()
            });
        }
        let Some(payment) = self.payments.records.payment(number).await? else {
            return Ok(ReleasedConfirmation::default());
        };
        if payment.status == PaymentState::Refunded || !payment.status.was_charged() {
            return Ok(ReleasedConfirmation::default());
        }
        let origin = RefundOrigin::OrderRefused;
        self.payments.give_back(payment, origin).await?;
        Ok(self.later(one, "its money is on the way back".to_owned()))
    }

    /// Connects the payment database with the coordinator, once.
    async fn branch(&self) -> Result<&ConfirmationBranch, BranchError> {
        let connect = || self.store.confirmation_branch(&self.client);
        self.branch.get_or_try_init(connect).await
    }

    fn later(&self, one: &Confirmation, problem: String) -> ReleasedConfirmation {
        self.again(one, problem, false)
    }

    fn again(&self, one: &Confirmation, problem: String, asked: bool) -> ReleasedConfirmation {
        let jitter = u32::try_from(self.payments.host.random() & 0xffff).unwrap_or_default();
        let pause = pause_after(one.attempts, jitter);
        ReleasedConfirmation {
            next_try_at: Some(after(self.now(), pause)),
            problem,
            asked,
            attention: false,
        }
    }

    /// By up to a half, so that replicas do not look together.
    fn stretched(&self, pause: Duration) -> Duration {
        let part = u32::try_from(self.payments.host.random() % 512).unwrap_or_default();
        pause + pause * part / 1024
    }

    fn now(&self) -> Timestamp {
        self.payments.now()
    }
}

fn warn(error: &StoreError, what: &'static str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}
