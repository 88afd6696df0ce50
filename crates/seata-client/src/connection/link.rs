//! One channel to one coordinator: registered as transaction manager and as resource manager,
//! shared by all requests, which are pipelined and matched to their answers by id.
//!
//! A coordinator only asks that a channel is registered, in whichever role, so one serves both. The
//! order matters: registering the transaction manager later would replace the resources.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::backoff::Trouble;
use super::dispatch::{self, Phase};
use super::hub::Hub;
use super::pending::{Lost, Pending};
use crate::branch::CoordinatorError;
use crate::codec::{CodecError, Frame, FrameCodec, FrameKind, Message, Register, ServerGeneration};

/// The version this client names; servers from 1.5 on choose features by it.
const CLIENT_VERSION: &str = "2.0.0";
/// How many frames are put into one write at most.
const WRITE_BATCH: usize = 64;

type Stream = Framed<TcpStream, FrameCodec>;

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

/// Connects and registers. Whatever goes wrong says whether anybody was there.
pub(super) async fn connect(
    hub: &Hub,
    address: SocketAddr,
) -> Result<(Arc<Link>, Driver), (Trouble, String)> {
    let within = hub.config.connect_timeout;
    let failed = |why: String| (Trouble::Failed, why);
    let socket = match timeout(within, TcpStream::connect(address)).await {
        Err(_) => return Err(failed(format!("no connection within {within:?}"))),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err((Trouble::Nobody, error.to_string()));
        }
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Ok(Ok(socket)) => socket,
    };
    socket
        .set_nodelay(true)
        .map_err(|error| failed(error.to_string()))?;
    let mut stream = Framed::new(socket, FrameCodec);
    let (resources, resources_version) = hub.dispatcher.registered();
    let version = timeout(within, register(hub, &mut stream, resources))
        .await
        .map_err(|_| failed(format!("no registration within {within:?}")))?
        .map_err(failed)?;
    let (sender, queue) = mpsc::channel(hub.config.outstanding_max);
    let link = Link {
        address,
        generation: ServerGeneration::of(&version),
        own_name: OnceLock::new(),
        pending: Pending::new(hub.config.outstanding_max, 2),
        queue: sender,
        closed: CancellationToken::new(),
    };
    let driver = Driver {
        stream,
        queue,
        resources_version,
    };
    Ok((Arc::new(link), driver))
}

/// The server's version. The first frame goes out in one write, because newer servers tell protocols
/// apart by the first bytes they read.
async fn register(hub: &Hub, stream: &mut Stream, resources: String) -> Result<String, String> {
    let tm = Message::RegisterTm(identity(hub));
    let version = ask(stream, 1, &tm).await?;
    if resources.is_empty() {
        return Ok(version);
    }
    ask(stream, 2, &register_rm(hub, resources)).await
}

fn identity(hub: &Hub) -> Register {
    Register {
        version: CLIENT_VERSION.to_owned(),
        application_id: hub.config.application_id.clone(),
        tx_service_group: hub.config.tx_service_group.clone(),
        extra_data: String::new(),
    }
}

/// Adds resources to a channel.
pub(super) fn register_rm(hub: &Hub, resources: String) -> Message {
    Message::RegisterRm(identity(hub), resources)
}

async fn ask(stream: &mut Stream, id: i32, message: &Message) -> Result<String, String> {
    let body = message.encode().map_err(|error| error.to_string())?;
    let frame = Frame::new(FrameKind::Request, id, body);
    stream
        .send(frame)
        .await
        .map_err(|error| error.to_string())?;
    while let Some(frame) = stream.next().await {
        let frame = frame.map_err(|error| error.to_string())?;
        if frame.kind != FrameKind::Response || frame.id != id {
            continue;
        }
        return match Message::decode(frame.body).map_err(|error| error.to_string())? {
            Message::RegisterTmResponse(it) | Message::RegisterRmResponse(it) if it.identified => {
                Ok(it.version)
            }
            Message::RegisterTmResponse(_) | Message::RegisterRmResponse(_) => {
                Err("the coordinator refused the registration".to_owned())
            }
            other => Err(format!(
                "the registration was answered with {}",
                other.type_code()
            )),
        };
    }
    Err("the coordinator closed the channel during the registration".to_owned())
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
    /// Sends a request and waits for its answer. [`CoordinatorError::NoChannel`] promises that the
    /// coordinator has not seen it.
    pub(super) async fn call(
        &self,
        request: &Message,
        within: Duration,
    ) -> Result<Message, CoordinatorError> {
        let body = request.encode().map_err(|error| refused(&error))?;
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

fn refused(error: &CodecError) -> CoordinatorError {
    CoordinatorError::Refused {
        code: "NotEncodable".to_owned(),
        message: error.to_string(),
    }
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
            // Encodable by itself and too long with its head: only its asker is told, by time.
            Err(CodecError::TooLong { .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    sink.flush().await
}
