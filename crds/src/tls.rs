//! Certificates and authorities that a specification refers to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// A Secret in this namespace with a certificate, of type `kubernetes.io/tls` as cert-manager
/// writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRef {
    /// Name of the Secret. Its key `tls.crt` has the chain of certificates, `tls.key` the private
    /// key.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub name: String,
}

/// A store that shows a certificate and refuses plain connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreTls {
    /// Certificate of the server. Its Secret also has the key `ca.crt`: the authority by which
    /// everything that connects verifies it.
    pub certificate_ref: CertificateRef,
}

/// An existing server that is reached over TLS, and verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// The authority by which the server's certificate is verified. The certificate must be for
    /// `host`.
    pub ca_ref: CaRef,
}

/// Certificates of authorities, PEM, in a Secret in this namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub name: String,
    /// Key in its data.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub key: String,
}

fn ca_key() -> String {
    contract::names::AUTHORITY_FILE.to_owned()
}
