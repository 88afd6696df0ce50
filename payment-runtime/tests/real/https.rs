//! HTTPS of the API and the callbacks: what is served, whom it holds up, and how its certificate is
//! renewed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use contract::config::Listen;
use contract::metrics::{CERTIFICATE_EXPIRY, CERTIFICATE_UNUSABLE};
use payment_runtime::certificate::Certificate;
use payment_runtime::http::Bound;
use payment_runtime::telemetry::Metrics;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, Issued, Mounted};
use crate::support::{CacheAt, System, order};

const NAME: &str = "pay.test";
/// End of 2040 and of 2041, in seconds since the epoch.
const END_OF_2040: i64 = 2_240_524_800;
const END_OF_2041: i64 = 2_272_060_800;

fn client(authorities: &[&Authority], address: SocketAddr) -> reqwest::ClientBuilder {
    let trusted = authorities
        .iter()
        .map(|authority| reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap());
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(trusted)
        .resolve(NAME, address)
}

/// A server of one route, which answers when it is let.
struct Server {
    address: SocketAddr,
    metrics: Metrics,
    /// Requests that have begun.
    begun: Arc<Semaphore>,
    /// Requests at `/slow` that may end.
    ends: Arc<Semaphore>,
    stop: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
    renewed: JoinHandle<()>,
}

impl Server {
    async fn start(mounted: &Mounted) -> Self {
        let (begun, ends) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (inside, may_end) = (begun.clone(), ends.clone());
        let slow = move || async move {
            inside.add_permits(1);
            may_end.acquire().await.unwrap().forget();
            "slow"
        };
        let router = Router::new()
            .route("/slow", get(slow))
            .route("/", get(|| async { "quick" }));
        let listen = Listen {
            http: "127.0.0.1:0".to_owned(),
            certificate_directory: Some(mounted.path()),
            ..Listen::default()
        };
        let bound = Bound::public(&listen, router).await.unwrap();
        let (metrics, stop) = (Metrics::new(), CancellationToken::new());
        let renewed = tokio::spawn(bound.renewal(metrics.clone(), stop.clone()));
        Self {
            address: bound.address,
            metrics,
            begun,
            ends,
            served: tokio::spawn(bound.serve(stop.clone(), Duration::from_secs(30))),
            renewed,
            stop,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.address.port())
    }

    fn gauge(&self, name: &str) -> Option<i64> {
        let text = self.metrics.exposition();
        let prefix = format!("{name}{{}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix))?;
        line.parse().ok()
    }

    async fn until_gauge(&self, name: &str, value: i64) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.gauge(name) != Some(value) {
            assert!(Instant::now() < deadline, "{name} never became {value}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
        self.renewed.await.unwrap();
    }
}

async fn text(client: &reqwest::Client, url: String) -> reqwest::Result<String> {
    client.get(url).send().await?.text().await
}

/// The whole chain of causes.
fn why(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"))
}

#[tokio::test]
async fn payments_are_taken_and_callbacks_judged_over_https_alone() {
    let authority = Authority::new();
    let mounted = Mounted::new(&authority.issue(&["127.0.0.1"], 2040));
    let system = System::start_with(CacheAt::None, |config| {
        config.listen.certificate_directory = Some(mounted.path());
    })
    .await;
    let plain = system.http.get(&system.api).send().await;
    assert!(plain.is_err(), "{plain:?}");
    let api = system.api.replace("http://", "https://");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let http = client(&[&authority], any).build().unwrap();
    let created = http.post(&api).json(&order("wechat")).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let callback = system.callbacks.replace("http://", "https://");
    let forged = http.post(format!("{callback}/wechat")).body("{}");
    assert_eq!(forged.send().await.unwrap().status(), 401);
    let told = system
        .http
        .get(format!("{}/prometheus", system.management))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let expected = format!("{CERTIFICATE_EXPIRY}{{}} {END_OF_2040}");
    assert!(told.contains(&expected), "{told}");
    system.stop().await;
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_who_trusts_another_authority_is_told_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::start(&Mounted::new(&authority.issue(&[NAME], 2040))).await;
    for version in [
        reqwest::tls::Version::TLS_1_2,
        reqwest::tls::Version::TLS_1_3,
    ] {
        let exactly = client(&[&authority], server.address)
            .tls_version_min(version)
            .tls_version_max(version)
            .build()
            .unwrap();
        assert_eq!(text(&exactly, server.url("/")).await.unwrap(), "quick");
    }
    let stranger = client(&[&other], server.address).build().unwrap();
    let refused = text(&stranger, server.url("/")).await.unwrap_err();
    assert!(why(&refused).contains("UnknownIssuer"), "{}", why(&refused));
    server.stop().await;
}

/// Requests on new connections, one after the other, until it is told to stop: how many there were
/// and what failed.
fn crowd(
    client: reqwest::Client,
    url: String,
    enough: &Arc<AtomicBool>,
    done: &Arc<AtomicU32>,
) -> JoinHandle<Vec<String>> {
    let (enough, done) = (enough.clone(), done.clone());
    tokio::spawn(async move {
        let mut failed = Vec::new();
        while !enough.load(Ordering::Relaxed) {
            if let Err(error) = text(&client, url.clone()).await {
                failed.push(why(&error));
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        failed
    })
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_no_request_is_lost() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut mounted = Mounted::new(&old.issue(&[NAME], 2040));
    let server = Server::start(&mounted).await;
    let of_old = client(&[&old], server.address).build().unwrap();
    let of_new = client(&[&new], server.address).build().unwrap();
    let of_both = client(&[&old, &new], server.address)
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    server.until_gauge(CERTIFICATE_EXPIRY, END_OF_2040).await;
    let (slow_client, slow_url) = (of_old.clone(), server.url("/slow"));
    let slow = tokio::spawn(async move { text(&slow_client, slow_url).await });
    server.begun.acquire().await.unwrap().forget();
    let (enough, done) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let crowd = crowd(of_both, server.url("/"), &enough, &done);

    mounted.renew(&new.issue(&[NAME], 2041));
    server.until_gauge(CERTIFICATE_EXPIRY, END_OF_2041).await;

    assert_eq!(text(&of_new, server.url("/")).await.unwrap(), "quick");
    let fresh = client(&[&old], server.address).build().unwrap();
    assert!(text(&fresh, server.url("/")).await.is_err());
    server.ends.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap(), "slow");
    // The connection of before goes on.
    assert_eq!(text(&of_old, server.url("/")).await.unwrap(), "quick");
    enough.store(true, Ordering::Relaxed);
    assert_eq!(crowd.await.unwrap(), Vec::<String>::new());
    assert!(done.load(Ordering::Relaxed) > 10);
    server.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing_and_are_told_of() {
    let authority = Authority::new();
    let mut mounted = Mounted::new(&authority.issue(&[NAME], 2040));
    let server = Server::start(&mounted).await;
    server.until_gauge(CERTIFICATE_UNUSABLE, 0).await;
    let torn = Issued {
        key: authority.issue(&[NAME], 2041).key,
        ..authority.issue(&[NAME], 2041)
    };
    mounted.renew(&torn);
    server.until_gauge(CERTIFICATE_UNUSABLE, 1).await;
    assert_eq!(server.gauge(CERTIFICATE_EXPIRY), Some(END_OF_2040));
    let http = client(&[&authority], server.address).build().unwrap();
    assert_eq!(text(&http, server.url("/")).await.unwrap(), "quick");
    mounted.renew(&authority.issue(&[NAME], 2041));
    server.until_gauge(CERTIFICATE_EXPIRY, END_OF_2041).await;
    assert_eq!(server.gauge(CERTIFICATE_UNUSABLE), Some(0));
    server.stop().await;
}

#[test]
fn what_cannot_be_used_at_the_start_is_named() {
    let authority = Authority::new();
    let good = || authority.issue(&[NAME], 2040);
    let refusal = |issued: &Issued| {
        let mounted = Mounted::new(issued);
        anyhow::Error::new(Certificate::load(&mounted.path()).unwrap_err())
    };
    let with = |certificate: &str, key: &str| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let authority = authority.pem();
        let issued = Issued {
            authority,
            certificate,
            key,
        };
        format!("{:#}", refusal(&issued))
    };
    let (chain, key) = (good().certificate, good().key);
    assert!(with(&chain, &key).contains("do not belong together"));
    assert!(with("", &key).ends_with("tls.crt is not a chain of certificates in PEM"));
    assert!(with(&key, &key).ends_with("tls.crt is not a chain of certificates in PEM"));
    assert!(with(&chain, "secret").ends_with("tls.key is not a private key in PEM"));
    assert!(with(&chain, &key[..key.len() / 2]).ends_with("tls.key is not a private key in PEM"));
    assert!(with(&"#".repeat(300_000), &key).contains("tls.crt is larger than 262144 bytes"));
    let nowhere = tempfile::tempdir().unwrap();
    let missing = anyhow::Error::new(Certificate::load(nowhere.path()).unwrap_err());
    let missing = format!("{missing:#}");
    assert!(missing.starts_with("cannot read "), "{missing}");
    assert!(missing.contains("tls.crt: No such file"), "{missing}");
}

#[tokio::test]
async fn the_process_says_which_file_it_lacks() {
    let nowhere = tempfile::tempdir().unwrap();
    let listen = Listen {
        http: "127.0.0.1:0".to_owned(),
        certificate_directory: Some(nowhere.path().to_owned()),
        ..Listen::default()
    };
    let refused = Bound::public(&listen, Router::new()).await.err().unwrap();
    let refused = format!("{refused:#}");
    assert!(
        refused.starts_with("HTTPS cannot be served: cannot read "),
        "{refused}"
    );
}

#[tokio::test]
async fn clients_that_say_nothing_hold_nobody_up_and_the_end_waits_for_requests() {
    let authority = Authority::new();
    let server = Server::start(&Mounted::new(&authority.issue(&[NAME], 2040))).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let http = client(&[&authority], server.address).build().unwrap();
    let slow_url = server.url("/slow");
    let slow = tokio::spawn(async move { text(&http, slow_url).await });
    server.begun.acquire().await.unwrap().forget();
    server.stop.cancel();
    server.ends.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap(), "slow");
    server.stop().await;
    drop(silent);
}
