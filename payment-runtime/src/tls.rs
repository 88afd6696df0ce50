//! A listener that hands out connections on which TLS is agreed.
//!
//! Guarantees: a client that is slow, silent or speaks no TLS holds nobody else up and is given up
//! after a while; so many at most are waited for. TLS 1.2 or 1.3, HTTP/1.1: what is spoken without
//! TLS as well. Everything beyond the handshake is the same server with the same bounds.
//!
//! Deliberately not here: asking clients for certificates, and choosing one by host name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Certificate;

/// A client that has not finished its handshake by then is given up.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes at once; further connections wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 512;
const PROTOCOL: &[u8] = b"http/1.1";

type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// Connections whose handshake is done, in the order in which they were done.
pub(crate) struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    /// Ends with the listener: no request has begun on any of them.
    handshakes: JoinSet<Option<Accepted>>,
}

impl TlsListener {
    pub(crate) fn new(
        listener: TcpListener,
        certificate: Arc<Certificate>,
    ) -> anyhow::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS cannot be set up")?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            handshakes: JoinSet::new(),
        })
    }

    fn begin(&mut self, stream: TcpStream, client: SocketAddr) {
        let handshake = self.acceptor.accept(stream);
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
                Ok(Ok(stream)) => Some((stream, client)),
                Ok(Err(error)) => {
                    tracing::debug!(%client, %error, "no TLS was agreed on");
                    None
                }
                Err(_) => {
                    tracing::debug!(%client, "the TLS handshake took too long");
                    None
                }
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// May be dropped at any point without losing a connection.
    async fn accept(&mut self) -> Accepted {
        loop {
            let room = self.handshakes.len() < HANDSHAKES_MAX;
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = done {
                        return accepted;
                    }
                }
                (stream, client) = Listener::accept(&mut self.listener), if room => {
                    self.begin(stream, client);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
