//! A coordinator for tests that answers as it is told, on a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::codec::Framed;
use tokio_util::task::AbortOnDropHandle;

use crate::branch::{Branch, BranchType, PhaseTwo, Resource, Xid};
use crate::codec::{
    Frame, FrameCodec, FrameKind, GlobalBegun, GlobalEnded, GlobalStatus, Message, Registered,
    ResultHead,
};
use crate::config::Config;
use crate::connection::Client;

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What the coordinator does about a request.
pub(crate) enum Reply {
    Now(Message),
    Never,
    HangUp,
}

/// What it does by itself.
#[derive(Clone)]
pub(crate) enum Act {
    Send(Frame),
    HangUp,
}

/// Every frame that came, in order.
type Log = Vec<(FrameKind, i32, Option<Message>)>;
type Script = Arc<dyn Fn(&Message) -> Reply + Send + Sync>;

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: watch::Receiver<Log>,
    acts: broadcast::Sender<Act>,
    _task: AbortOnDropHandle<()>,
}

impl Fake {
    /// Registrations and heartbeats are answered by themselves, the rest by the script.
    pub(crate) async fn start(
        version: &'static str,
        script: impl Fn(&Message) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (log, seen) = watch::channel(Log::new());
        let (acts, _) = broadcast::channel(16);
        let acting = acts.clone();
        let script: Script = Arc::new(script);
        let task = tokio::spawn(async move {
            let log = Arc::new(log);
            let mut channels = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let acts = acting.subscribe();
                channels.spawn(channel(
                    socket,
                    version,
                    Arc::clone(&script),
                    Arc::clone(&log),
                    acts,
                ));
            }
        });
        Self {
            address,
            seen,
            acts,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) fn act(&self, act: Act) {
        assert!(self.acts.send(act).is_ok(), "nobody is connected");
    }

    pub(crate) fn ask(&self, id: i32, message: &Message) {
        let body = message.encode().expect("fits");
        self.act(Act::Send(Frame::new(FrameKind::Request, id, body)));
    }

    pub(crate) fn answer(&self, id: i32, message: &Message) {
        let body = message.encode().expect("fits");
        self.act(Act::Send(Frame::new(FrameKind::Response, id, body)));
    }

    /// The first `count` frames that fit, once they are there.
    pub(crate) async fn seen(
        &self,
        count: usize,
        fits: impl Fn(FrameKind, Option<&Message>) -> bool,
    ) -> Vec<(i32, Option<Message>)> {
        let select = |all: &Log| {
            all.iter()
                .filter(|(kind, _, message)| fits(*kind, message.as_ref()))
                .map(|(_, id, message)| (*id, message.clone()))
                .collect::<Vec<_>>()
        };
        let mut seen = self.seen.clone();
        let enough = seen.wait_for(|all| select(all).len() >= count);
        let all = tokio::time::timeout(SOON, enough).await;
        select(&all.expect("in time").expect("the fake lives"))
    }

    /// The messages seen so far with that type code.
    pub(crate) fn count(&self, type_code: i16) -> usize {
        let seen = self.seen.borrow();
        let all = seen.iter().filter_map(|(_, _, message)| message.as_ref());
        all.filter(|it| it.type_code() == type_code).count()
    }

    pub(crate) fn config(&self) -> Config {
        Config::new([self.address.to_string()], "app", "group")
    }

    pub(crate) async fn client(&self, config: Config) -> Client {
        let client = Client::start(config).expect("a good configuration");
        client.ready(SOON).await.expect("ready");
        client
    }
}

async fn channel(
    socket: TcpStream,
    version: &'static str,
    script: Script,
    log: Arc<watch::Sender<Log>>,
    mut acts: broadcast::Receiver<Act>,
) {
    let mut stream = Framed::new(socket, FrameCodec);
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame,
            Ok(act) = acts.recv() => match act {
                Act::Send(frame) => {
                    let _ = stream.send(frame).await;
                    continue;
                }
                Act::HangUp => return,
            },
        };
        let Some(Ok(frame)) = frame else { return };
        let message = (!frame.body.is_empty())
            .then(|| Message::decode(frame.body.clone()).expect("a client writes well"));
        log.send_modify(|all| all.push((frame.kind, frame.id, message.clone())));
        let Some(message) = message else { continue };
        if frame.kind != FrameKind::Request {
            continue;
        }
        let registered = Registered {
            identified: true,
            version: version.into(),
        };
        let reply = match &message {
            Message::RegisterTm(_) => Reply::Now(Message::RegisterTmResponse(registered)),
            Message::RegisterRm(..) => Reply::Now(Message::RegisterRmResponse(registered)),
            other => script(other),
        };
        match reply {
            Reply::Now(answer) => {
                let body = answer.encode().expect("fits");
                let frame = Frame::new(FrameKind::Response, frame.id, body);
                let _ = stream.send(frame).await;
            }
            Reply::Never => {}
            Reply::HangUp => return,
        }
    }
}

pub(crate) fn begun(xid: &str) -> Message {
    Message::GlobalBeginResponse(GlobalBegun {
        result: ResultHead::success(),
        xid: xid.into(),
        extra_data: String::new(),
    })
}

pub(crate) fn ended(status: GlobalStatus) -> GlobalEnded {
    GlobalEnded {
        result: ResultHead::success(),
        status,
    }
}

/// Begins, commits and rolls back without objection.
pub(crate) fn agreeable(message: &Message) -> Reply {
    Reply::Now(match message {
        Message::GlobalBegin(_) => begun("127.0.0.1:8091:42"),
        Message::GlobalCommit(_) => Message::GlobalCommitResponse(ended(GlobalStatus::Committed)),
        Message::GlobalRollback(_) => {
            Message::GlobalRollbackResponse(ended(GlobalStatus::Rollbacked))
        }
        Message::GlobalStatus(_) => Message::GlobalStatusResponse(ended(GlobalStatus::Begin)),
        other => panic!("not in this test: {other:?}"),
    })
}

pub(crate) fn xid() -> Xid {
    Xid::new("127.0.0.1:8091:42")
}

/// Answers second phases as its name says; `hangs` never does, `panics` does that.
#[derive(Debug)]
pub(crate) struct Puppet(pub(crate) &'static str);

impl Puppet {
    async fn act(&self) -> PhaseTwo {
        match self.0 {
            "done" => PhaseTwo::Done,
            "never" => PhaseTwo::Never,
            "hangs" => std::future::pending().await,
            "panics" => panic!("as it was told"),
            _ => PhaseTwo::Retry,
        }
    }
}

#[async_trait]
impl Resource for Puppet {
    fn resource_id(&self) -> &str {
        self.0
    }

    fn branch_type(&self) -> BranchType {
        BranchType::Tcc
    }

    async fn commit(&self, _: &Branch) -> PhaseTwo {
        self.act().await
    }

    async fn rollback(&self, _: &Branch) -> PhaseTwo {
        self.act().await
    }

    async fn delete_undo(&self, _: u16) {}
}
