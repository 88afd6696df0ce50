//! From nothing to a registered channel.
//!
//! A coordinator only asks that a channel is registered, in whichever role, so one serves as
//! transaction manager and as resource manager. The order matters: registering the transaction
//! manager later would replace the resources.
//!
//! The ids of a channel's requests begin at random. A coordinator gives the answer to a request
//! whose channel is gone to another channel of the same application from the same address: to the
//! process that follows one that was killed, or to its next channel. There it must not look like
//! the answer to a request that waits, or a branch would be undone under another's number.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use super::backoff::Trouble;
use super::hub::Hub;
use super::link::{Driver, Link, Stream};
use super::pending::Pending;
use crate::codec::{Frame, FrameCodec, FrameKind, Message, Register, rolls_back_in_wrong_order};

/// The version this client names; servers from 1.5 on choose features by it.
const CLIENT_VERSION: &str = "2.0.0";

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
    let socket = timeout(within, hub.transport.over(socket))
        .await
        .map_err(|_| failed(format!("no TLS within {within:?}")))?
        .map_err(|error| failed(format!("no TLS could be agreed on: {error}")))?;
    let mut stream = Framed::new(socket, FrameCodec);
    let (resources, resources_version) = hub.dispatcher.registered();
    let first_id = rand::random();
    let version = timeout(within, register(hub, &mut stream, first_id, resources))
        .await
        .map_err(|_| failed(format!("no registration within {within:?}")))?
        .map_err(failed)?;
    if rolls_back_in_wrong_order(&version) {
        tracing::warn!(
            %address, version,
            "this coordinator rolls back branches in the wrong order: use 1.8, or 2.1 or later"
        );
    }
    let pending = Pending::new(hub.config.outstanding_max, second(first_id));
    let registered = (address, version.as_str());
    Ok(Link::new(
        hub,
        registered,
        pending,
        stream,
        resources_version,
    ))
}

/// The last id that the registration uses.
const fn second(first_id: i32) -> i32 {
    first_id.wrapping_add(1)
}

/// The server's version. The first frame goes out in one write, because newer servers tell protocols
/// apart by the first bytes they read.
async fn register(
    hub: &Hub,
    stream: &mut Stream,
    first_id: i32,
    resources: String,
) -> Result<String, String> {
    let tm = Message::RegisterTm(identity(hub));
    let version = ask(stream, first_id, &tm).await?;
    if resources.is_empty() {
        return Ok(version);
    }
    ask(stream, second(first_id), &register_rm(hub, resources)).await
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
