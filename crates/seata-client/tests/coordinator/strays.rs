//! Answers that a coordinator gives to the wrong process.
//!
//! Where the channel of a request is gone, it takes another one of the same application from the
//! same address: to it, those are one client.

use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use seata_client::branch::{BranchType, Coordinator as _};
use seata_client::codec::{
    BranchRegister, Frame, FrameCodec, FrameKind, GlobalBegin, Message, Register,
};
use seata_client::config::Config;
use seata_client::connection::Client;
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

use crate::new_coordinator;
use crate::recorder::{Recorder, SOON};
use crate::support::tc::Tc;

const APPLICATION: &str = "strays";
const RESOURCE: &str = "stray";
/// Requests in flight when the other process dies. Every process of such a kind counts from 1, as
/// Java's do; these count so again and again, so that also the last ones have low ids.
const REQUESTS: i32 = 512;
const IDS: i32 = 32;

/// A process that speaks the protocol frame by frame.
struct Other {
    stream: Framed<TcpStream, FrameCodec>,
    /// Of its next request that is waited for: one that no other process has.
    id: i32,
}

impl Other {
    async fn start(address: &str, first_id: i32) -> Self {
        let socket = TcpStream::connect(address).await.expect("connected");
        let mut other = Self {
            stream: Framed::new(socket, FrameCodec),
            id: first_id,
        };
        let identity = Register {
            version: "2.0.0".to_owned(),
            application_id: APPLICATION.to_owned(),
            tx_service_group: "group".to_owned(),
            extra_data: String::new(),
        };
        let registered = other.ask(&Message::RegisterTm(identity.clone())).await;
        assert!(matches!(registered, Message::RegisterTmResponse(_)));
        let manager = Message::RegisterRm(identity, RESOURCE.to_owned());
        let registered = other.ask(&manager).await;
        assert!(matches!(registered, Message::RegisterRmResponse(_)));
        other
    }

    async fn send(&mut self, id: i32, message: &Message) {
        let body = message.encode().expect("encoded");
        let frame = Frame::new(FrameKind::Request, id, body);
        self.stream.send(frame).await.expect("sent");
    }

    async fn ask(&mut self, message: &Message) -> Message {
        self.id += 1;
        self.send(self.id, message).await;
        loop {
            let frame = tokio::time::timeout(SOON, self.stream.next()).await;
            let frame = frame.expect("in time").expect("open").expect("a frame");
            if frame.id == self.id {
                return Message::decode(frame.body).expect("a message");
            }
        }
    }

    async fn begin(&mut self) -> String {
        let begin = Message::GlobalBegin(GlobalBegin {
            timeout_ms: 60_000,
            name: "theirs".to_owned(),
        });
        match self.ask(&begin).await {
            Message::GlobalBeginResponse(answer) => answer.xid,
            other => panic!("{other:?}"),
        }
    }
}

/// Another process dies while its registrations and one of `client` wait for the coordinator. The
/// branch that `client` is told of must be the one that the coordinator knows.
async fn one_dies(tc: &Tc, client: &Client, recorder: &Recorder, round: i32) {
    let ours = client.begin("ours", SOON).await.expect("begun");
    let mut other = Other::start(&tc.address(), 1000 * round).await;
    let theirs = other.begin().await;
    tc.freeze();
    for request in 0..REQUESTS {
        let branch = Message::BranchRegister(BranchRegister {
            xid: theirs.clone(),
            branch_type: BranchType::Tcc as u8,
            resource_id: RESOURCE.to_owned(),
            lock_key: String::new(),
            application_data: String::new(),
        });
        other.send(request % IDS + 1, &branch).await;
    }
    drop(other);
    let branch = recorder.branch(&ours, "");
    let registering = client.register(&branch);
    let thawing = async {
        while client.outstanding() == 0 {
            tokio::task::yield_now().await;
        }
        tc.thaw();
    };
    let (branch_id, ()) = tokio::join!(registering, thawing);
    let branch_id = branch_id.expect("registered");
    client.commit(&ours).await.expect("committed");
    let asked = recorder.asked(usize::try_from(round).unwrap()).await;
    let (_, asked) = asked.last().expect("asked");
    assert_eq!((&asked.xid, asked.branch_id), (&ours, branch_id));
}

#[tokio::test]
async fn an_answer_for_a_process_that_died_is_not_taken_for_one_s_own() {
    /// The coordinator may answer before it sees that nobody is there any more.
    const ROUNDS_MAX: i32 = 10;
    let tc = new_coordinator().await;
    let config = Config::new([tc.address()], APPLICATION, "group");
    let client = Client::start(config).expect("a good configuration");
    client.ready(SOON).await.expect("ready");
    let recorder = Arc::new(Recorder::new(RESOURCE, BranchType::Tcc));
    let registered = client.register_resource(Arc::clone(&recorder) as _).await;
    registered.expect("registered");
    let mut rounds = 0;
    while client.metrics().late_answers() == 0 {
        assert!(rounds < ROUNDS_MAX, "no answer for another process came");
        rounds += 1;
        one_dies(&tc, &client, &recorder, rounds).await;
    }
    client.shutdown(SOON).await;
}
