//! Where the coordinators are, who this client is, and its bounds. Checked once, at the start.

use std::time::Duration;

/// The widths of the coordinator's own columns.
const APPLICATION_ID_BYTES: usize = 32;
const GROUP_BYTES: usize = 32;

/// All of a client's settings. [`Config::new`] gives the defaults; fields may be changed before
/// the client starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `host:port` each. A name may stand for several coordinators: all its addresses are used, and
    /// it is looked up again before every connect.
    pub addresses: Vec<String>,
    /// All replicas of one service have the same; the coordinator sends a branch's second phase to
    /// another replica when the one that registered it is gone. At most 32 bytes.
    pub application_id: String,
    /// At most 32 bytes.
    pub tx_service_group: String,
    /// How long a connect, its name lookup and its registration may each take.
    pub connect_timeout: Duration,
    /// For begin, commit, rollback and status.
    pub tm_timeout: Duration,
    /// For branch requests.
    pub rm_timeout: Duration,
    /// A heartbeat goes out when nothing was written for so long. The coordinator closes a channel
    /// that is silent for 15 s.
    pub write_idle: Duration,
    /// A channel from which nothing came for so long is dropped.
    pub read_idle: Duration,
    /// The first pause before connecting again; it doubles.
    pub reconnect_min: Duration,
    /// The longest pause, for a coordinator that takes connections and fails. One that does not
    /// listen at all costs little to try and is tried at least once a second.
    pub reconnect_max: Duration,
    /// How often names are looked up while all is well, to find new coordinators.
    pub refresh: Duration,
    /// How many requests may be queued or unanswered on one channel; the next is refused.
    pub outstanding_max: usize,
    /// How many second phases run at once.
    pub phase_two_running_max: usize,
    /// How many may wait for that; the coordinator is asked to come again for the next.
    pub phase_two_waiting_max: usize,
    /// How long a second phase may take. The coordinator waits 15 s for the answer.
    pub phase_two_timeout: Duration,
    /// How often commit and rollback are tried in all when no clear answer comes.
    pub end_tries: u32,
    /// How long one of these tries waits for a channel when there is none.
    pub end_wait: Duration,
    /// Connections are encrypted, and whoever answers is verified. Coordinators speak no TLS
    /// themselves: something in front of one does. `None`: plain.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

/// Whom a client believes to be the coordinator.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The DNS name or address that the certificate must be for, whatever the client connects to.
    pub server_name: String,
    /// Certificates of authorities, PEM; no others are believed.
    pub authorities: Vec<u8>,
}

impl Config {
    pub fn new(
        addresses: impl IntoIterator<Item = impl Into<String>>,
        application_id: impl Into<String>,
        tx_service_group: impl Into<String>,
    ) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            application_id: application_id.into(),
            tx_service_group: tx_service_group.into(),
            connect_timeout: Duration::from_secs(3),
            tm_timeout: Duration::from_secs(30),
            rm_timeout: Duration::from_secs(15),
            write_idle: Duration::from_secs(5),
            read_idle: Duration::from_secs(15),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            refresh: Duration::from_secs(10),
            outstanding_max: 4096,
            phase_two_running_max: 64,
            phase_two_waiting_max: 1024,
            phase_two_timeout: Duration::from_secs(15),
            end_tries: 5,
            end_wait: Duration::from_secs(2),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// What is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        for address in &self.addresses {
            let port = address
                .rsplit_once(':')
                .map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
                return Err(ConfigError::Address {
                    address: address.clone(),
                });
            }
        }
        fits("applicationId", &self.application_id, APPLICATION_ID_BYTES)?;
        fits("txServiceGroup", &self.tx_service_group, GROUP_BYTES)?;
        let bounds = [
            ("outstandingMax", self.outstanding_max),
            ("phaseTwoRunningMax", self.phase_two_running_max),
            ("endTries", self.end_tries as usize),
        ];
        match bounds.iter().find(|(_, bound)| *bound == 0) {
            Some((what, _)) => Err(ConfigError::Zero { what }),
            None => Ok(()),
        }
    }
}

fn fits(what: &'static str, text: &str, max: usize) -> Result<(), ConfigError> {
    if text.is_empty() || text.len() > max {
        return Err(ConfigError::Length {
            what,
            bytes: text.len(),
            max,
        });
    }
    Ok(())
}

/// Why a client cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("no coordinator is named: give at least one address as host:port")]
    NoAddress,
    #[error("{address:?} is not a coordinator's address: write host:port")]
    Address { address: String },
    #[error("{what} has {bytes} bytes: it must have 1 to {max}, the coordinator stores no more")]
    Length {
        what: &'static str,
        bytes: usize,
        max: usize,
    },
    #[error("{name:?} is neither a DNS name nor an address that a certificate could be for")]
    ServerName { name: String },
    #[error("the authorities that verify the coordinator are not certificates in PEM")]
    Authorities,
    #[error("a client starts within a tokio runtime, which then serves it")]
    NoRuntime,
    #[error("{what} is 0: it must be at least 1")]
    Zero { what: &'static str },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_fine() {
        assert_eq!(Config::new(["seata:8091"], "app", "group").check(), Ok(()));
        assert_eq!(Config::new(["[::1]:8091"], "app", "group").check(), Ok(()));
    }

    #[test]
    fn what_the_coordinator_could_not_store_or_find_is_refused() {
        let none: [&str; 0] = [];
        let check = |config: Config| config.check().expect_err("bad");
        assert_eq!(check(Config::new(none, "a", "g")), ConfigError::NoAddress);
        for address in ["seata", "seata:", ":8091", "seata:0", "seata:65536"] {
            let error = check(Config::new([address], "a", "g"));
            assert!(matches!(error, ConfigError::Address { .. }), "{address}");
        }
        let long = "a".repeat(33);
        let error = check(Config::new(["h:1"], &long, "g"));
        assert!(error.to_string().starts_with("applicationId has 33 bytes"));
        let error = check(Config::new(["h:1"], "a", ""));
        assert!(error.to_string().starts_with("txServiceGroup has 0 bytes"));
        let mut config = Config::new(["h:1"], "a", "g");
        config.end_tries = 0;
        assert_eq!(check(config), ConfigError::Zero { what: "endTries" });
    }
}
