//! The network between a client and its coordinator, which can be cut or stand still.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Open,
    /// Connections stay, and nothing gets through until it opens again.
    Still,
    /// Connections are broken, and new ones at once.
    Cut,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    address: String,
    network: watch::Sender<Network>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let network = watch::Sender::new(Network::Open);
        let state = network.subscribe();
        let task = tokio::spawn(async move {
            loop {
                let (inner, _) = listener.accept().await.unwrap();
                tokio::spawn(connect(inner, to.clone(), state.clone()));
            }
        });
        Self {
            address,
            network,
            task,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(inner: TcpStream, to: String, mut state: watch::Receiver<Network>) {
    if *state.borrow_and_update() == Network::Cut {
        return;
    }
    let Ok(outer) = TcpStream::connect(to).await else {
        return;
    };
    let (inner_read, inner_write) = inner.into_split();
    let (outer_read, outer_write) = outer.into_split();
    let mut cut = state.clone();
    tokio::select! {
        () = pump(inner_read, outer_write, state.clone()) => {}
        () = pump(outer_read, inner_write, state) => {}
        _ = cut.wait_for(|network| *network == Network::Cut) => {}
    }
}

/// Passes on what comes, until one side closes.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<Network>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let open = state.wait_for(|network| *network == Network::Open).await;
        if open.map(drop).is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
