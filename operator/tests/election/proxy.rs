//! A wire to the API server that can hold up what is sent, and deliver it later.
//!
//! Answers always come through. A connection whose client is gone stays open towards the API
//! server, so that what was held up still arrives.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
};

pub struct Proxy {
    pub port: u16,
    frozen: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (frozen, held) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let held = held.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    let (from_client, mut to_client) = client.into_split();
                    let (mut from_server, to_server) = server.into_split();
                    tokio::join!(send(from_client, to_server, held), async {
                        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                    });
                });
            }
        });
        Self { port, frozen, task }
    }

    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }
}

async fn send(
    mut client: tcp::OwnedReadHalf,
    mut server: tcp::OwnedWriteHalf,
    mut held: watch::Receiver<bool>,
) {
    let mut buffer = [0; 16 * 1024];
    let mut waiting = Vec::new();
    let mut open = true;
    loop {
        if !*held.borrow_and_update() && !waiting.is_empty() {
            if server.write_all(&waiting).await.is_err() {
                return;
            }
            waiting.clear();
        }
        tokio::select! {
            read = client.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(read) => waiting.extend_from_slice(&buffer[..read]),
            },
            changed = held.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_mins(2)), if !open => return,
        }
    }
}
