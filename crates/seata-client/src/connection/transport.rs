//! What a channel is carried by: TCP, or TLS over it.
//!
//! Coordinators speak no TLS themselves: it is agreed with what stands in front of one (a proxy, a
//! load balancer, a mesh). Whoever answers must show a certificate that the configured authorities
//! vouch for, under the configured name; no other authority counts.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::{Config, ConfigError};

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(super) type Socket = Box<dyn Io>;

/// How connections are secured, if they are.
pub(super) struct Transport {
    #[cfg(feature = "tls")]
    tls: Option<tls::Secured>,
}

impl Transport {
    #[cfg_attr(
        not(feature = "tls"),
        expect(
            clippy::unnecessary_wraps,
            unused_variables,
            reason = "nothing can fail"
        )
    )]
    pub(super) fn of(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            #[cfg(feature = "tls")]
            tls: config.tls.as_ref().map(tls::Secured::of).transpose()?,
        })
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_async, reason = "nothing to agree on")
    )]
    pub(super) async fn over(&self, socket: TcpStream) -> std::io::Result<Socket> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.over(socket).await;
        }
        Ok(Box::new(socket))
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::sync::Arc;

    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    use super::Socket;
    use crate::config::{ConfigError, Tls};

    pub(super) struct Secured {
        connector: TlsConnector,
        name: ServerName<'static>,
    }

    impl Secured {
        pub(super) fn of(tls: &Tls) -> Result<Self, ConfigError> {
            let name = ServerName::try_from(tls.server_name.clone());
            let name = name.map_err(|_| ConfigError::ServerName {
                name: tls.server_name.clone(),
            })?;
            let provider = Arc::new(aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|_| ConfigError::Authorities)?
                .with_root_certificates(authorities(&tls.authorities)?)
                .with_no_client_auth();
            Ok(Self {
                connector: TlsConnector::from(Arc::new(config)),
                name,
            })
        }

        pub(super) async fn over(&self, socket: TcpStream) -> std::io::Result<Socket> {
            let agreed = self.connector.connect(self.name.clone(), socket).await?;
            Ok(Box::new(agreed))
        }
    }

    fn authorities(pem: &[u8]) -> Result<RootCertStore, ConfigError> {
        let mut trusted = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| ConfigError::Authorities)?;
            let added = trusted.add(certificate);
            added.map_err(|_| ConfigError::Authorities)?;
        }
        if trusted.is_empty() {
            return Err(ConfigError::Authorities);
        }
        Ok(trusted)
    }
}
