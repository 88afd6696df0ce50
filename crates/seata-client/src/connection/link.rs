//! One registered channel to one coordinator, shared by all requests, which are pipelined and
//! matched to their answers by id.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::dispatch::{self, Phase};
use super::hub::Hub;
use super::pending::{Lost, Pending};
use super::transport::Socket;
use crate::branch::CoordinatorError;
use crate::codec::{
    CodecError, Frame, FrameCodec, FrameKind, HEAD_BYTES, MAX_FRAME_BYTES, Message,
    ServerGeneration,
};

/// How many frames are put into one write at most.
const WRITE_BATCH: usize = 64;

pub(super) type Stream = Framed<Socket, FrameCodec>;

/// What the writer is handed.
pub(super) enum Outgoing {
    Request { id: i32, body: Bytes },
    Answer { id: i32, body: Bytes },
    Heartbeat { id: i32 },
}

/// A registered channel.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    pub(super) generation: ServerGeneration,
    /// `host:port` as this coordinator calls itself in the transactions it begins.
    own_name: OnceLock<String>,
    pending: Pending,
    queue: mpsc::Sender<Outgoing>,
    closed: CancellationToken,
}

/// The ends of a channel that its owner drives.
pub(super) struct Driver {
    stream: Stream,
    queue: mpsc::Receiver<Outgoing>,
    /// The resources it was registered with.
    pub(super) resources_version: u64,
}

/// Takes a request back when whoever asked stops waiting.
struct Ticket<'a> {
    pending: &'a Pending,
    id: i32,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pending.withdraw(self.id);
    }
}

impl Link {
    /// A channel that was registered, with what drives it.
    pub(super) fn new(
        hub: &Hub,
        (address, server_version): (SocketAddr, &str),
        pending: Pending,
        stream: Stream,
        resources_version: u64,
    ) -> (Arc<Self>, Driver) {
        let (sender, queue) = mpsc::channel(hub.config.outstanding_max);
        let link = Self {
            address,
            generation: ServerGeneration::of(server_version),
            own_name: OnceLock::new(),
            pending,
            queue: sender,
            closed: CancellationToken::new(),
        };
        let driver = Driver {
            stream,
            queue,
            resources_version,
        };
        (Arc::new(link), driver)
    }

    /// Sends a request and waits for its answer. [`CoordinatorError::NoChannel`] promises that the
    /// coordinator has not seen it.
    pub(super) async fn call(
        &self,
        request: &Message,
        within: Duration,
    ) -> Result<Message, CoordinatorError> {
        let body = encode(request)?;
        let (id, answer) = self
            .pending
            .open()
            .map_err(|lost| self.lost(lost, within))?;
        let ticket = Ticket {
            pending: &self.pending,
            id,
        };
        if self.queue.try_send(Outgoing::Request { id, body }).is_err() {
            let full = "the channel's queue is full or closed".to_owned();
            return Err(self.lost(Lost::NotSent(full), within));
        }
        match timeout(within, answer).await {
            Ok(Ok(Ok(message))) => Ok(message),
            Ok(Ok(Err(lost))) => Err(self.lost(lost, within)),
            Ok(Err(_)) => Err(self.lost(Lost::NoAnswer("the channel ended".into()), within)),
            Err(_) => {
                let why = format!("nothing within {within:?}");
                let lost = if ticket.pending.withdraw(id) {
                    Lost::NoAnswer(why)
                } else {
                    Lost::NotSent(why)
                };
                Err(self.lost(lost, within))
            }
        }
    }

    fn lost(&self, lost: Lost, after: Duration) -> CoordinatorError {
        match lost {
            Lost::NotSent(why) => CoordinatorError::NoChannel {
                message: format!("{}: {why}", self.address),
            },
            Lost::NoAnswer(why) => CoordinatorError::Unanswered {
                after,
                message: format!("{}: {why}", self.address),
            },
        }
    }

    /// Answers a request of the coordinator. If that fails it will ask again.
    pub(super) fn answer(&self, id: i32, message: &Message) {
        let sent = message
            .encode()
            .is_ok_and(|body| self.queue.try_send(Outgoing::Answer { id, body }).is_ok());
        if !sent {
            tracing::debug!(address = %self.address, id, "an answer could not be sent");
        }
    }

    /// Remembers how the coordinator calls itself, from a transaction it began.
    pub(super) fn learn(&self, xid: &str) {
        if let Some((name, _)) = xid.rsplit_once(':') {
            self.own_name.get_or_init(|| name.to_owned());
        }
    }

    /// Whether it is the coordinator that began a transaction.
    pub(super) fn began(&self, xid: &str) -> bool {
        let Some((name, _)) = xid.rsplit_once(':') else {
            return false;
        };
        self.own_name.get().is_some_and(|own| own == name) || name == self.address.to_string()
    }

    pub(super) fn is_live(&self) -> bool {
        !self.closed.is_cancelled()
    }

    /// How many requests wait for an answer.
    pub(super) fn outstanding(&self) -> usize {
        self.pending.outstanding()
    }

    /// Carries frames both ways until the channel fails or the client stops. Why it ended.
    pub(super) async fn drive(self: &Arc<Self>, hub: &Arc<Hub>, driver: Driver) -> String {
        let (sink, stream) = driver.stream.split();
        let why = tokio::select! {
            why = read(hub, self, stream) => why,
            why = write(hub, self, sink, driver.queue) => why,
        };
        self.closed.cancel();
        self.pending.close(&why);
        why
    }
}

/// What the protocol has no room for is refused here, to whoever asked, and spoils no channel.
fn encode(request: &Message) -> Result<Bytes, CoordinatorError> {
    let max = MAX_FRAME_BYTES - HEAD_BYTES;
    request
        .encode()
        .and_then(|body| match body.len() {
            bytes if bytes > max => Err(CodecError::TooLong {
                field: "the request",
                bytes,
                max,
            }),
            _ => Ok(body),
        })
        .map_err(|error| CoordinatorError::Refused {
            code: "NotEncodable".to_owned(),
            message: error.to_string(),
        })
}

async fn read(hub: &Arc<Hub>, link: &Arc<Link>, mut stream: SplitStream<Stream>) -> String {
    let idle = hub.config.read_idle;
    loop {
        match timeout(idle, stream.next()).await {
            Err(_) => return format!("nothing was heard for {idle:?}"),
            Ok(None) => return "the coordinator closed the channel".to_owned(),
            Ok(Some(Err(error))) => return error.to_string(),
            Ok(Some(Ok(frame))) => receive(hub, link, frame),
        }
    }
}

fn receive(hub: &Arc<Hub>, link: &Arc<Link>, frame: Frame) {
    match frame.kind {
        FrameKind::HeartbeatResponse => return,
        FrameKind::HeartbeatRequest => {
            // If the queue is full, what is in it shows that this side lives.
            let _ = link.queue.try_send(Outgoing::Heartbeat { id: frame.id });
            return;
        }
        FrameKind::Request | FrameKind::Response | FrameKind::Oneway => {}
    }
    let id = frame.id;
    match Message::decode(frame.body) {
        Err(error) => {
            tracing::warn!(address = %link.address, id, %error, "a message could not be read");
            hub.metrics.unread_message();
        }
        Ok(message) if frame.kind == FrameKind::Response => answered(hub, link, id, message),
        Ok(message) => asked(hub, link, id, message),
    }
}

/// Nothing is sent merged, but answers may come so: a batch's have ids of their own, and a merge
/// result's belong to the one request there was.
fn answered(hub: &Hub, link: &Link, id: i32, message: Message) {
    let answers = match message {
        Message::BatchResult(batch) => batch.messages,
        Message::MergeResult(messages) => messages
            .into_iter()
            .take(1)
            .map(|message| (message, id))
            .collect(),
        single => vec![(single, id)],
    };
    for (message, id) in answers {
        if !link.pending.answer(id, message) {
            tracing::debug!(address = %link.address, id, "an answer came late");
            hub.metrics.late_answer();
        }
    }
}

fn asked(hub: &Arc<Hub>, link: &Arc<Link>, id: i32, message: Message) {
    match message {
        Message::BranchCommit(end) => dispatch::second_phase(hub, link, id, Phase::Commit, end),
        Message::BranchRollback(end) => dispatch::second_phase(hub, link, id, Phase::Rollback, end),
        Message::UndoLogDelete(delete) => dispatch::delete_undo(hub, &delete),
        other => {
            let code = other.type_code();
            tracing::warn!(address = %link.address, code, "the coordinator asked what nobody answers");
            hub.metrics.unread_message();
        }
    }
}

/// Writes what is queued, many frames at once where there are many, and heartbeats where there is
/// nothing. When the client stops, what is queued is still written.
async fn write(
    hub: &Hub,
    link: &Link,
    mut sink: SplitSink<Stream, Frame>,
    mut queue: mpsc::Receiver<Outgoing>,
) -> String {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    let mut stopping = false;
    let mut beat = 0_i32;
    while !stopping {
        tokio::select! {
            received = timeout(hub.config.write_idle, queue.recv_many(&mut batch, WRITE_BATCH)) => {
                if received.is_err() {
                    beat = beat.wrapping_sub(1);
                    let frame = Frame::heartbeat(FrameKind::HeartbeatRequest, beat);
                    if let Err(error) = sink.send(frame).await {
                        return error.to_string();
                    }
                }
            }
            () = hub.stop.cancelled() => {
                stopping = true;
                queue.close();
                while queue.recv_many(&mut batch, WRITE_BATCH).await > 0 {}
            }
        }
        if let Err(error) = send(link, &mut sink, &mut batch).await {
            return error.to_string();
        }
    }
    // The other side sees an orderly end; whether it does changes nothing here.
    let _ = sink.close().await;
    "the client stopped".to_owned()
}

async fn send(
    link: &Link,
    sink: &mut SplitSink<Stream, Frame>,
    batch: &mut Vec<Outgoing>,
) -> Result<(), CodecError> {
    for one in batch.drain(..) {
        let frame = match one {
            Outgoing::Request { id, body } if link.pending.send(id) => {
                Frame::new(FrameKind::Request, id, body)
            }
            Outgoing::Request { .. } => continue,
            Outgoing::Answer { id, body } => Frame::new(FrameKind::Response, id, body),
            Outgoing::Heartbeat { id } => Frame::heartbeat(FrameKind::HeartbeatResponse, id),
        };
        match sink.feed(frame).await {
            // An answer that is too long: the coordinator asks again. Requests were measured.
            Err(CodecError::TooLong { .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    sink.flush().await
}
