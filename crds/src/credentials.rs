//! When generated credentials are replaced.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the passwords that the operator made are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Any word, such as `2026-10`. Each change of it replaces the passwords of the managed MySQL
    /// and Redis, and the console's of the managed coordinator, once. Meanwhile old and new
    /// passwords are both valid; no store restarts. `status.credentials.rotation` has the same
    /// word when it is done.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$")
    )]
    pub rotation: String,
}
