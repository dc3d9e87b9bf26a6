//! An upgrade: a successor takes the listening sockets over, so that no connection is refused.
//!
//! The successor ([`run_as_successor`](crate::run_as_successor)) asks over the control socket. The predecessor stops accepting, stops supervising (the
//! processes run on), saves its state, gives up its lock, and passes the sockets themselves with `SCM_RIGHTS`; clients that
//! connect meanwhile wait in the sockets' queues. Then it serves what is under way to its end and exits; these requests are in
//! no tick. The successor reads the state, accepts on the sockets, and finds the processes again by id and start time.
//! Passing the sockets was chosen over binding a second time with `SO_REUSEPORT`: closing one of two such sockets resets the
//! connections in its queue.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::net::UnixStream;

use crate::control::{Call, Line, MAX_ANSWER_LINE, Refusal, Request, Response, encode};
use crate::engine::{Ending, Engine};

/// Sockets in one message: `SCM_MAX_FD` of the kernel is 253.
const MAX_SOCKETS: usize = 253;

/// How long a step may take. The predecessor answers as soon as its state is saved.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(10);

/// The predecessor's side.
pub(crate) async fn give(engine: &Rc<Engine>, id: u64, stream: UnixStream) -> io::Result<()> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(STEP_LIMIT))?;
    let refuse = |refusal| {
        io::Write::write_all(&mut &stream, &encode(&Line::Answer { id, response: Response::Refused(refusal) }))
    };
    if *engine.ending.borrow() != Ending::Not {
        return refuse(Refusal::ShuttingDown);
    }
    let sockets = engine.sockets()?;
    if sockets.len() > MAX_SOCKETS {
        return refuse(Refusal::Limit { what: "sockets in a hand-over".into(), limit: MAX_SOCKETS });
    }
    engine.ending.send_replace(Ending::HandedOver);
    // `run` has stopped accepting and supervising, and given up socket and lock, when it notifies.
    engine.let_go.notified().await;
    let sent = send(&stream, id, sockets);
    if let Err(error) = &sent {
        tracing::error!(%error, "the sockets did not reach the successor");
    }
    engine.handed.notify_one();
    sent
}

/// The answer, and the sockets with one byte behind it.
fn send(stream: &StdUnixStream, id: u64, sockets: Vec<(SocketAddr, OwnedFd)>) -> io::Result<()> {
    let (addresses, sockets): (Vec<SocketAddr>, Vec<OwnedFd>) = sockets.into_iter().unzip();
    io::Write::write_all(&mut &*stream, &encode(&Line::Answer { id, response: Response::Sockets { addresses } }))?;
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("the sockets do not fit in a message"));
    }
    sendmsg(stream, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Why there was no hand-over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The running splitter could not be asked, or broke off.
    #[error("the running splitter cannot be asked")]
    Ask(#[from] io::Error),
    /// It refused.
    #[error("the running splitter refused: {0}")]
    Refused(Refusal),
    /// Its answer cannot be read.
    #[error("the running splitter's answer cannot be read: {0}")]
    Unreadable(String),
}

/// The successor's side. Blocks.
pub(crate) fn take(control_socket: &Path) -> Result<HashMap<SocketAddr, OwnedFd>, TakeOverError> {
    let mut stream = StdUnixStream::connect(control_socket)?;
    stream.set_read_timeout(Some(STEP_LIMIT))?;
    stream.set_write_timeout(Some(STEP_LIMIT))?;
    io::Write::write_all(&mut stream, &encode(&Call { id: 1, request: Request::HandOver }))?;
    // Byte by byte, so that the message with the sockets is left where it is.
    let mut line = Vec::new();
    let mut byte = [0u8];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
        line.extend(byte);
        if line.len() > MAX_ANSWER_LINE {
            return Err(TakeOverError::Unreadable("it is too long".into()));
        }
    }
    let addresses = match serde_json::from_slice(&line).map_err(|error| TakeOverError::Unreadable(error.to_string()))? {
        Line::Answer { response: Response::Sockets { addresses }, .. } => addresses,
        Line::Answer { response: Response::Refused(refusal), .. } => return Err(TakeOverError::Refused(refusal)),
        _ => return Err(TakeOverError::Unreadable("it answers something else".into())),
    };
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(io::Error::from)?;
    if received.bytes == 0 {
        return Err(TakeOverError::Unreadable("no sockets follow".into()));
    }
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    if sockets.len() != addresses.len() {
        return Err(TakeOverError::Unreadable(format!("{} sockets for {} addresses", sockets.len(), addresses.len())));
    }
    Ok(addresses.into_iter().zip(sockets).collect())
}
