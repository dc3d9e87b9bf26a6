//! The client's side of the control socket.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::frame::{LineError, Lines, encode};
use super::{Call, Line, MAX_ANSWER_LINE, Notice, Refusal, Request, Response};

/// How long an answer may take. Every request is answered from memory, after at most one write to the state file; a
/// disk that hangs longer than this is a failure to name, not to wait for.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the control socket, or it may not be opened.
    #[error("the control socket cannot be opened")]
    Connect(#[source] std::io::Error),
    /// The connection broke. A change that was sent may have been applied.
    #[error("the control connection broke: {0}")]
    Broken(String),
    /// The splitter did not answer in time. A change that was sent may have been applied.
    #[error("the splitter did not answer within {} s", ANSWER_LIMIT.as_secs())]
    TimedOut,
    /// The splitter refused; nothing changed.
    #[error("{0}")]
    Refused(Refusal),
    /// The splitter answered with something else than this request's answer.
    #[error("the splitter gave an answer that does not belong to the request")]
    Unexpected,
}

impl From<LineError> for ClientError {
    fn from(error: LineError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// One connection to the splitter, one call at a time. After an error other than [`ClientError::Refused`] open a new one.
#[derive(Debug)]
pub struct Client {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    next_id: u64,
}

impl Client {
    /// Opens the control socket.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).await.map_err(ClientError::Connect)?;
        let (reader, writer) = stream.into_split();
        Ok(Self { lines: Lines::new(reader, MAX_ANSWER_LINE), writer, next_id: 1 })
    }

    /// Asks and waits for the answer. A refusal is an error: [`ClientError::Refused`].
    pub async fn call(&mut self, request: Request) -> Result<Response, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let answer = tokio::time::timeout(ANSWER_LIMIT, async {
            self.writer.write_all(&encode(&Call { id, request })).await.map_err(LineError::from)?;
            loop {
                let line =
                    self.lines.next().await?.ok_or_else(|| ClientError::Broken("closed by the splitter".into()))?;
                match serde_json::from_slice(&line).map_err(|error| ClientError::Broken(error.to_string()))? {
                    Line::Answer { id: answered, response } if answered == id => return Ok(response),
                    // Id 0 answers a line whose id could not be read: it can only be ours, nothing else is under way.
                    Line::Answer { id: 0, response: response @ Response::Refused(_) } => return Ok(response),
                    Line::Answer { .. } => return Err(ClientError::Unexpected),
                    Line::Notice { .. } => {}
                }
            }
        })
        .await
        .map_err(|_| ClientError::TimedOut)??;
        match answer {
            Response::Refused(refusal) => Err(ClientError::Refused(refusal)),
            answer => Ok(answer),
        }
    }

    /// Turns this connection into a stream of notices, starting after tick `since` of run `boot` as far as kept.
    pub async fn subscribe(mut self, since: Option<(String, u64)>) -> Result<Subscription, ClientError> {
        let (boot, since) = since.map_or((None, None), |(boot, seq)| (Some(boot), Some(seq)));
        match self.call(Request::Subscribe { since, boot }).await? {
            Response::Subscribed { boot, first } => Ok(Subscription { client: self, boot, first }),
            _ => Err(ClientError::Unexpected),
        }
    }
}

/// Notices as they come.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    /// Id of the run of the splitter that sends them.
    pub boot: String,
    /// Number of the first tick.
    pub first: u64,
}

impl Subscription {
    /// The next notice; an error when the connection ends. Cancel-safe.
    pub async fn next(&mut self) -> Result<Notice, ClientError> {
        let line =
            self.client.lines.next().await?.ok_or_else(|| ClientError::Broken("closed by the splitter".into()))?;
        match serde_json::from_slice(&line).map_err(|error| ClientError::Broken(error.to_string()))? {
            Line::Notice { notice } => Ok(notice),
            Line::Answer { .. } => Err(ClientError::Unexpected),
        }
    }
}
