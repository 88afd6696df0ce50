//! The merchants: HTTP/1.1 over kept-alive loopback connections, as cheap as a client can be, for
//! its processor time is taken from the same cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Whose payments they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Users {
    /// Each of 100 000 users as likely as another.
    Uniform,
    /// One user pays everything.
    Hot,
}

impl Users {
    fn pick(self) -> u32 {
        match self {
            Self::Uniform => rand::random::<u32>() % 100_000,
            Self::Hot => 7,
        }
    }
}

/// What a stretch of load saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Milliseconds, sorted.
    pub(crate) latencies: Vec<f64>,
    pub(crate) seconds: f64,
}

impl Seen {
    pub(crate) fn per_second(&self) -> f64 {
        self.count() / self.seconds
    }

    pub(crate) fn count(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap_or(u32::MAX))
    }

    /// The latency that `share` of the requests stayed below.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        crate::figures::quantile(&self.latencies, share)
    }
}

/// `connections` merchants, each sending its next payment when the last was answered.
pub(crate) async fn closed(
    port: u16,
    connections: usize,
    period: Duration,
    users: Users,
) -> anyhow::Result<Seen> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(Client::connect(port).await?);
    }
    let start = Instant::now();
    let workers = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < period {
                let sent = Instant::now();
                client.pay(users.pick()).await?;
                latencies.push(milliseconds(sent.elapsed()));
            }
            anyhow::Ok(latencies)
        })
    });
    gather(workers.collect(), start).await
}

/// Payments that come at `rate` a second whatever the answers do, at exponential distances.
pub(crate) async fn open(
    port: u16,
    connections: usize,
    rate: f64,
    period: Duration,
) -> anyhow::Result<Seen> {
    let arrivals = Arc::new(arrivals(rate, period));
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(Client::connect(port).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let workers = clients.into_iter().map(|mut client| {
        let (arrivals, next) = (arrivals.clone(), next.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while let Some(at) = arrivals.get(next.fetch_add(1, Ordering::Relaxed)) {
                let due = start + *at;
                let late = Instant::now() > due;
                tokio::time::sleep_until(due.into()).await;
                // A request that found no free connection has waited since it was due; one that
                // was slept for begins when the timer woke us.
                let sent = if late { due } else { Instant::now() };
                client.pay(Users::Uniform.pick()).await?;
                latencies.push(milliseconds(sent.elapsed()));
            }
            anyhow::Ok(latencies)
        })
    });
    gather(workers.collect(), start).await
}

fn arrivals(rate: f64, period: Duration) -> Vec<Duration> {
    let mut at = 0.0;
    let mut all = Vec::new();
    while at < period.as_secs_f64() {
        all.push(Duration::from_secs_f64(at));
        at -= (1.0 - rand::random::<f64>()).ln() / rate;
    }
    all
}

async fn gather(
    workers: Vec<tokio::task::JoinHandle<anyhow::Result<Vec<f64>>>>,
    start: Instant,
) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    for worker in workers {
        seen.latencies.extend(worker.await??);
    }
    seen.seconds = start.elapsed().as_secs_f64();
    seen.latencies.sort_by(f64::total_cmp);
    ensure!(!seen.latencies.is_empty(), "no payment was answered");
    Ok(seen)
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    async fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .context("the runtime does not listen")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::with_capacity(4096),
        })
    }

    /// One payment with its Idempotency-Key; anything but 201 is an error.
    async fn pay(&mut self, user: u32) -> anyhow::Result<()> {
        let id = rand::random::<u128>();
        let body = format!(
            r#"{{"orderId":"O-{id:032x}","amount":99.99,"currency":"CNY","userId":"user-{user}","channel":"wechat"}}"#
        );
        let request = format!(
            "POST /api/payments HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Idempotency-Key: \"{id:032x}\"\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        let end = loop {
            ensure!(
                self.stream.read_buf(&mut self.answer).await? > 0,
                "the runtime closed a connection"
            );
            if let Some(end) = answer_end(&self.answer)? {
                break end;
            }
        };
        ensure!(
            self.answer.len() == end && self.answer.starts_with(b"HTTP/1.1 201 "),
            "not accepted: {}",
            String::from_utf8_lossy(&self.answer)
        );
        Ok(())
    }
}

/// Where the answer ends, once its head is there and says so.
fn answer_end(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&answer[..head])?.to_ascii_lowercase();
    let length = text
        .split("\r\ncontent-length:")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .context("an answer without a length")?;
    let end = head + 4 + length.trim().parse::<usize>()?;
    Ok((answer.len() >= end).then_some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(answer_end(whole).unwrap(), Some(whole.len()));
        assert_eq!(answer_end(&whole[..whole.len() - 1]).unwrap(), None);
        assert_eq!(answer_end(b"HTTP/1.1 201").unwrap(), None);
    }

    #[test]
    fn arrivals_keep_the_rate() {
        let n = arrivals(1000.0, Duration::from_secs(10)).len();
        assert!((9000..11000).contains(&n), "{n}");
    }
}
