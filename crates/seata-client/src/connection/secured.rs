//! The connection through something that speaks TLS in front of a coordinator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::Client;
use crate::config::{Config, ConfigError, Tls};
use crate::testing::{Fake, SOON, agreeable};

const NAME: &str = "tc.test";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// Ends TLS in front of an address.
struct Proxy {
    address: SocketAddr,
    /// Handshakes that came to nothing.
    failed: watch::Receiver<u32>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn start(authority: &Authority, behind: SocketAddr) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, authority).expect("signed");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, failed) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, told) = (acceptor.clone(), told.clone());
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(socket).await else {
                        told.send_modify(|failed| *failed += 1);
                        return;
                    };
                    let mut inside = TcpStream::connect(behind).await.expect("the fake");
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Self {
            address,
            failed,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// A client that gets nowhere.
    async fn turns_away(&self, config: Config) {
        let mut failed = self.failed.clone();
        let before = *failed.borrow_and_update();
        let client = Client::start(config).expect("starts");
        let one_more = failed.wait_for(|failed| *failed > before);
        let tried = tokio::time::timeout(SOON, one_more).await;
        tried.expect("in time").expect("the proxy lives");
        assert!(!*client.readiness().borrow());
    }

    fn config(&self, name: &str, trusted: &Authority) -> Config {
        let mut config = Config::new([self.address.to_string()], "app", "group");
        config.tls = Some(Tls {
            server_name: name.to_owned(),
            authorities: trusted.pem().into_bytes(),
        });
        config
    }
}

#[tokio::test]
async fn a_coordinator_behind_tls_is_believed_under_its_name_by_its_authority_alone() {
    let (own, other) = (authority("own"), authority("other"));
    let fake = Fake::start("2.5.0", agreeable).await;
    let proxy = Proxy::start(&own, fake.address).await;
    let believed = Client::start(proxy.config(NAME, &own)).expect("starts");
    believed.ready(SOON).await.expect("ready");
    let begun = believed.begin("tx", Duration::from_mins(1)).await;
    assert!(begun.is_ok(), "{begun:?}");
    let registered = fake.count(101);
    for (name, trusted) in [(NAME, &other), ("other.test", &own)] {
        proxy.turns_away(proxy.config(name, trusted)).await;
    }
    let plain = Config::new([proxy.address.to_string()], "app", "group");
    proxy.turns_away(plain).await;
    assert_eq!(fake.count(101), registered, "a stranger got through");
}

#[tokio::test]
async fn what_cannot_verify_anything_is_refused_at_the_start() {
    let config = |name: &str, authorities: &str| {
        let mut config = Config::new(["tc.test:8091"], "app", "group");
        config.tls = Some(Tls {
            server_name: name.to_owned(),
            authorities: authorities.as_bytes().to_vec(),
        });
        Client::start(config).err()
    };
    let good = authority("own").pem();
    assert_eq!(config(NAME, ""), Some(ConfigError::Authorities));
    assert_eq!(config(NAME, "nonsense"), Some(ConfigError::Authorities));
    let name = "no name".to_owned();
    assert_eq!(config(&name, &good), Some(ConfigError::ServerName { name }));
    assert_eq!(config(NAME, &good), None);
}
