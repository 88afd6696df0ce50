//! The channel simulator's configuration file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SimulatorConfig {
    /// Where the channels' own paths are served.
    pub listen: String,
    /// Where tests drive the simulator.
    pub admin_listen: String,
    /// The URL under which clients reach `listen`: bill downloads point there. Absent: the
    /// request's own Host header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// One file per key of [`crate::names::channel_key`], both halves. Absent: made at start and
    /// handed out by `GET /keys`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_directory: Option<PathBuf>,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            listen: format!("0.0.0.0:{}", crate::ports::SIMULATOR),
            admin_listen: format!("0.0.0.0:{}", crate::ports::SIMULATOR_ADMIN),
            public_url: None,
            keys_directory: None,
        }
    }
}

impl SimulatorConfig {
    pub fn parse(yaml: &str) -> Result<Self, ConfigError> {
        serde_saphyr::from_str(yaml).map_err(|error| ConfigError::Parse(error.to_string()))
    }

    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        serde_saphyr::to_string(self).map_err(|error| ConfigError::Parse(error.to_string()))
    }
}
