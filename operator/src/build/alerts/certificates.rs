//! Alerts of the certificates that services show. A system without any has none.

use contract::metrics::{CERTIFICATE_EXPIRY, CERTIFICATE_UNUSABLE};

use super::{Alert, CRITICAL, Scope, WARNING, alert};

/// Fourteen days, by when whoever renews certificates has failed for weeks.
const LEFT_SECONDS: u32 = 14 * 24 * 3600;

impl Scope<'_> {
    pub(super) fn certificates(&self) -> Vec<Alert> {
        let spec = &self.system.spec;
        if spec.payment.certificate_ref.is_none() && spec.callback.certificate_ref.is_none() {
            return Vec::new();
        }
        let labels = &self.labels;
        let alerts = [
            alert(
                "CertificateExpiresSoon",
                (CRITICAL, "10m"),
                format!(
                    "min by (pod) ({CERTIFICATE_EXPIRY}{{{labels}}}) - time() < {LEFT_SECONDS}"
                ),
                (
                    "The certificate of a service expires within 14 days",
                    "What pod {{ $labels.pod }} shows expires in {{ $value | humanizeDuration }}. After that no client that verifies it connects.",
                ),
            ),
            alert(
                "CertificateUnusable",
                (WARNING, "10m"),
                format!("max by (pod) ({CERTIFICATE_UNUSABLE}{{{labels}}}) > 0"),
                (
                    "A renewed certificate cannot be used",
                    "Pod {{ $labels.pod }} goes on with the former certificate. A pod that starts now fails.",
                ),
            ),
        ];
        alerts.map(Alert::with_runbook).into()
    }
}
