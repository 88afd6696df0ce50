//! What a pass writes: credentials, what a rotation has come to, manifests in their order, and the
//! specification once it is accepted.

use tracing::info;

use super::{Context, PassError, Written};
use crate::{
    acceptance,
    apply::Writer,
    build::build,
    cache::SystemKey,
    credentials,
    gates::gates,
    kinds::Kind,
    observe::Observed,
    rollout,
    rotation::{self, Step},
    validate::ValidSystem,
};

impl Context {
    /// Makes missing credentials, then applies every manifest whose gate is open and whose turn it
    /// is.
    pub(super) async fn write(
        &self,
        key: &SystemKey,
        system: &ValidSystem,
        read: &(impl Fn() -> Observed + Sync),
    ) -> Result<Written, PassError> {
        let writer = Writer {
            client: &self.client,
            cache: &self.cache,
            metrics: &self.metrics,
            namespace: &system.namespace,
            refused: self.refused(key),
        };
        let mut observed = read();
        for secret in credentials::needed(system) {
            let name = secret.name(&system.name);
            if observed.get(Kind::Secret, &name).is_none() {
                let manifest = secret.manifest(system).map_err(PassError::Credentials)?;
                writer
                    .create_secret(&name, manifest)
                    .await
                    .map_err(PassError::Apply)?;
                observed = read();
            }
        }
        // What reads several Secrets is to restart once, when all of them are changed.
        if !rotate(system, &writer, read).await? {
            return Ok(Written::nothing(false));
        }
        observed = read();
        let manifests = build(system, &observed).map_err(PassError::Build)?;
        let gates = gates(system, &observed);
        let mut plan = rollout::plan(system, &observed, &gates, manifests);
        plan.manifests.extend(acceptance::kept(system, &observed));
        let applied = writer
            .apply(system, &observed, &gates, &plan.manifests)
            .await
            .map_err(PassError::Apply)?;
        let refused = applied.refusals.into_iter();
        let refused = refused.map(|refusal| (refusal.claim.clone(), refusal));
        self.memory().entry(key.clone()).or_default().refused = refused.collect();
        // Nothing need happen any more once everything is ready: it is accepted at once.
        let written = Written {
            current: applied.current,
            plan,
        };
        self.accept(system, &writer, &read(), &written).await?;
        Ok(written)
    }

    /// Keeps the specification as one under which everything is ready, if it is.
    async fn accept(
        &self,
        system: &ValidSystem,
        writer: &Writer<'_>,
        observed: &Observed,
        written: &Written,
    ) -> Result<(), PassError> {
        let gates = gates(system, observed);
        let manifest = acceptance::manifest(system, observed, &gates, &written.plan);
        let Some(manifest) = manifest.filter(|_| written.current) else {
            return Ok(());
        };
        writer
            .apply_one(
                &manifest,
                observed.get(manifest.kind, &manifest.name),
                &gates,
            )
            .await
            .map(drop)
            .map_err(PassError::Apply)
    }
}

/// Writes what a rotation of the credentials has come to. Returns false if a Secret has changed
/// meanwhile.
async fn rotate(
    system: &ValidSystem,
    writer: &Writer<'_>,
    read: &(impl Fn() -> Observed + Sync),
) -> Result<bool, PassError> {
    /// Each Secret is written once between two waits.
    const WRITES_MAX: usize = 8;
    for _ in 0..WRITES_MAX {
        let observed = read();
        let Step::Write(write) = rotation::next(system, &observed) else {
            return Ok(true);
        };
        let mut all = rotation::held(system, &observed).into_iter();
        let Some(held) = all.find(|held| held.secret == write.secret()) else {
            return Ok(true);
        };
        let operations = write
            .operations(system, &observed, &held)
            .map_err(PassError::Credentials)?;
        info!(secret = held.name, "{}", write.name());
        let written = writer.change_secret(&held.name, operations).await;
        if !written.map_err(PassError::Apply)? {
            return Ok(false);
        }
    }
    Ok(false)
}
