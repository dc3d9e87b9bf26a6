//! The control socket.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::control::{Call, Line, Lines, MAX_REQUEST_LINE, Notice, Refusal, Request, Response, encode};
use crate::engine::{Ending, Engine};
use crate::handover;

/// Control connections at once: a server has two, a person and a monitor one each. Others wait.
const MAX_CONNECTIONS: usize = 64;

/// How long a line may take to be taken: a reader that stopped must not hold memory.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Opens the control socket with mode 0600.
pub(crate) fn open(path: &Path) -> std::io::Result<UnixListener> {
    // The lock says that nobody else uses it: what is there was left by a splitter that was killed.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // The directory has mode 0700, so nobody could connect in between.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the control socket until the task is dropped.
pub(crate) async fn serve(engine: Rc<Engine>, listener: UnixListener) {
    let permits = Rc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "the control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (engine, permits) = (Rc::clone(&engine), Rc::clone(&permits));
        tokio::task::spawn_local(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            // How it ends is the client's business.
            let _ = talk(&engine, stream).await;
        });
    }
}

/// One control connection.
async fn talk(engine: &Rc<Engine>, stream: UnixStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = Lines::new(reader, MAX_REQUEST_LINE);
    // Number of the next tick to send, once subscribed.
    let mut subscribed: Option<u64> = None;
    let mut latest = engine.latest();
    let mut ending = engine.ending.subscribe();
    loop {
        if let Some(next) = &mut subscribed {
            send_ticks(engine, &mut writer, next).await?;
        }
        let line = tokio::select! {
            line = lines.next() => line,
            changed = latest.changed(), if subscribed.is_some() => {
                if changed.is_err() {
                    return Ok(());
                }
                continue;
            }
            _ = ending.wait_for(|ending| *ending != Ending::Not), if subscribed.is_some() => {
                return write(&mut writer, &encode(&Line::Notice { notice: Notice::Ending })).await;
            }
        };
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) => {
                let response = Response::Refused(Refusal::BadRequest { reason: error.to_string() });
                return write(&mut writer, &encode(&Line::Answer { id: 0, response })).await;
            }
        };
        let Call { id, request } = match serde_json::from_slice(&line) {
            Ok(call) => call,
            Err(error) => {
                let id = serde_json::from_slice::<serde_json::Value>(&line)
                    .ok()
                    .and_then(|value| value.get("id")?.as_u64())
                    .unwrap_or(0);
                let response = Response::Refused(Refusal::BadRequest { reason: error.to_string() });
                write(&mut writer, &encode(&Line::Answer { id, response })).await?;
                continue;
            }
        };
        let response = match request {
            Request::Subscribe { since, boot } => {
                let first = engine.first_for(since, boot.as_deref());
                subscribed = Some(first);
                Response::Subscribed { boot: engine.boot.clone(), first }
            }
            Request::HandOver => {
                let stream = lines.into_reader().reunite(writer).map_err(std::io::Error::other)?;
                return handover::give(engine, id, stream).await;
            }
            request => engine.answer(request).await,
        };
        write(&mut writer, &encode(&Line::Answer { id, response })).await?;
    }
}

/// Sends every tick that has come.
async fn send_ticks(engine: &Engine, writer: &mut OwnedWriteHalf, next: &mut u64) -> std::io::Result<()> {
    loop {
        match engine.tick_line(*next) {
            Ok(None) => return Ok(()),
            Ok(Some(line)) => {
                write(writer, &line).await?;
                *next += 1;
            }
            Err(oldest) => {
                write(writer, &encode(&Line::Notice { notice: Notice::Lost(*next, oldest) })).await?;
                *next = oldest;
            }
        }
    }
}

async fn write(writer: &mut OwnedWriteHalf, line: &[u8]) -> std::io::Result<()> {
    tokio::time::timeout(WRITE_LIMIT, writer.write_all(line)).await?
}
