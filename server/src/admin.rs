//! The local socket of a running server, `<data-dir>/admin.sock`: makes tokens and login links for whoever may open the data
//! directory. One JSON line asks, one answers.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use access::{Access, AccessError, Role};
use anyhow::Context as _;
use model::{Actor, Timestamp};
use receipt_log::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::auth::LoginLink;

/// Name of the socket in the data directory.
pub const SOCKET: &str = "admin.sock";
/// Longest line either way.
const MAX_LINE: u64 = 4 * 1024;
/// An answer takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// A token.
    Token {
        /// What it may do.
        role: Role,
        /// Name that its receipts carry.
        name: Actor,
        /// Days until it expires.
        days: u16,
    },
    /// A login link.
    Link {
        /// What its user may do.
        role: Role,
        /// Their name.
        name: Actor,
    },
}

/// What was made; shown once.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Made {
    /// A token.
    Token {
        /// The secret.
        token: String,
        /// When it expires.
        expires: Timestamp,
    },
    /// A login link.
    Link {
        /// The whole address.
        url: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Made(Made),
    Failed(String),
}

/// Makes it. `base` is the address of the pages.
pub async fn make(access: &Access, order: Order, base: &str, now: Timestamp) -> Result<Made, AccessError> {
    match order {
        Order::Token { role, name, days } => {
            let made = access.make_token(name, role, i64::from(days) * DAY_MS, now).await?;
            Ok(Made::Token { token: made.secret.expose().to_owned(), expires: made.expires })
        }
        Order::Link { role, name } => {
            let secret = access.make_link(name, role, now).await?;
            Ok(Made::Link { url: LoginLink { base: base.to_owned(), secret }.url() })
        }
    }
}

/// Listens, with mode 0600 in a directory of mode 0700. The caller holds the data directory's lock, so a socket that is there
/// is a dead server's.
pub fn listen(data_dir: &Path) -> anyhow::Result<(UnixListener, PathBuf)> {
    let path = data_dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} cannot be replaced", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("{} cannot be closed to others", path.display()))?;
    Ok((listener, path))
}

/// Answers until it is dropped.
pub async fn serve(listener: UnixListener, access: Access, base: String) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (access, base) = (access.clone(), base.clone());
                tokio::spawn(async move {
                    // Whoever goes away gets nothing.
                    let _ = tokio::time::timeout(TIMEOUT, answer(stream, &access, &base)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the local socket could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, access: &Access, base: &str) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Order>(&line) {
        Ok(order) => match make(access, order, base, SystemClock.now()).await {
            Ok(made) => Answer::Made(made),
            Err(error) => Answer::Failed(error.to_string()),
        },
        Err(_) => Answer::Failed("the request could not be read".to_owned()),
    };
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    writer.write_all(&bytes).await
}

/// Asks the server of this data directory; `None` when none runs.
pub async fn ask(data_dir: &Path, order: &Order) -> anyhow::Result<Option<Made>> {
    let Ok(stream) = UnixStream::connect(data_dir.join(SOCKET)).await else { return Ok(None) };
    let asked = tokio::time::timeout(TIMEOUT, async {
        let (reader, mut writer) = stream.into_split();
        let mut bytes = serde_json::to_vec(order)?;
        bytes.push(b'\n');
        writer.write_all(&bytes).await?;
        let mut line = String::new();
        BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await?;
        anyhow::Ok(serde_json::from_str::<Answer>(&line)?)
    });
    match asked.await.context("the server does not answer on its local socket")?? {
        Answer::Made(made) => Ok(Some(made)),
        Answer::Failed(why) => anyhow::bail!(why),
    }
}
