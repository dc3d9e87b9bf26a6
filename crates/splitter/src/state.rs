//! The state file: what a splitter that starts again needs to go on. And the sign of life.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::control::{DeadMan, ProcessEnd, Response, StoppedVersion};
use crate::process::Identity;
use crate::spec::{ServiceSpec, VersionSpec};

/// Format of the state file.
const FORMAT: u32 = 1;

/// Largest state file that is read: 64 services with two full definitions each stay far below.
const MAX_STATE: u64 = 64 << 20;

/// How long a change waits for its record. It is in force before; a disk that is slower than this must not hold up an answer.
const SAVE_LIMIT: Duration = Duration::from_secs(2);

/// The state file's content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    format: u32,
    pub(crate) epoch: u64,
    pub(crate) services: Vec<SavedService>,
}

impl Saved {
    pub(crate) fn new(epoch: u64, services: Vec<SavedService>) -> Self {
        Self { format: FORMAT, epoch, services }
    }
}

/// A service in the state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedService {
    /// Without versions: these are below.
    pub(crate) spec: ServiceSpec,
    /// (as configured, as bound).
    pub(crate) listening: Vec<(SocketAddr, SocketAddr)>,
    pub(crate) weight: u8,
    pub(crate) weight_epoch: u64,
    pub(crate) stable: Option<SavedVersion>,
    pub(crate) canary: Option<SavedVersion>,
    pub(crate) draining: Vec<SavedVersion>,
    pub(crate) stopped: Vec<StoppedVersion>,
    pub(crate) answers: Vec<SavedAnswer>,
    pub(crate) dead_man: Option<DeadMan>,
    #[serde(default)]
    pub(crate) canary_dead_man_seconds: Option<u32>,
}

/// A version in the state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedVersion {
    pub(crate) spec: VersionSpec,
    pub(crate) port: Option<u16>,
    pub(crate) process: Option<Identity>,
    pub(crate) was_ready: bool,
    pub(crate) restarts: u64,
    #[serde(default)]
    pub(crate) ends: Vec<ProcessEnd>,
}

/// An operation that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedAnswer {
    pub(crate) operation: String,
    /// What was asked, to tell a repetition from another request under the same id.
    pub(crate) asked: String,
    pub(crate) response: Response,
}

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is larger than any that is written.
    #[error("it has more than {MAX_STATE} bytes")]
    TooLarge,
    /// Its content is not what is written.
    #[error("its content is damaged; move it away to start empty")]
    Damaged(#[source] serde_json::Error),
    /// It is of another version of the program.
    #[error("it has format {0}, this program knows format {FORMAT}")]
    Format(u32),
}

/// Reads the state file; `None` when there is none.
pub(crate) fn load(path: &Path) -> Result<Option<Saved>, StateError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::Read(error)),
        Ok(file) if file.len() > MAX_STATE => return Err(StateError::TooLarge),
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(StateError::Read)?;
    let saved: Saved = serde_json::from_slice(&bytes).map_err(StateError::Damaged)?;
    if saved.format != FORMAT {
        return Err(StateError::Format(saved.format));
    }
    Ok(Some(saved))
}

/// Replaces a file: either the old or the new content is there at any time, also after a power cut when `durable`.
pub(crate) fn replace(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    std::fs::rename(&new, path)?;
    if durable && let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Writes the state file on a thread of its own, the latest content only.
#[derive(Debug)]
pub(crate) struct Saver {
    sender: mpsc::Sender<(u64, Vec<u8>)>,
    done: watch::Receiver<(u64, Option<String>)>,
    next: std::cell::Cell<u64>,
}

impl Saver {
    pub(crate) fn start(path: PathBuf) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<(u64, Vec<u8>)>();
        let (report, done) = watch::channel((0, None));
        std::thread::Builder::new().name("state".into()).spawn(move || {
            while let Ok(first) = receiver.recv() {
                let (number, bytes) = receiver.try_iter().last().unwrap_or(first);
                let error = replace(&path, &bytes, true)
                    .err()
                    .map(|error| format!("{} cannot be written: {error}", path.display()));
                if let Some(error) = &error {
                    tracing::error!(%error, "the state is not saved");
                }
                if report.send((number, error)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { sender, done, next: std::cell::Cell::new(1) })
    }

    /// Why the last write failed, if it did.
    pub(crate) fn error(&self) -> Option<String> {
        self.done.borrow().1.clone()
    }

    /// Saves a state in the background.
    pub(crate) fn submit(&self, saved: &Saved) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        // Our own types always serialise; the thread lives as long as this value.
        let _ = self.sender.send((number, serde_json::to_vec(saved).unwrap_or_default()));
        number
    }

    /// Waits until a state is saved; why it is not, otherwise.
    pub(crate) async fn wait(&self, number: u64) -> Option<String> {
        let mut done = self.done.clone();
        match tokio::time::timeout(SAVE_LIMIT, done.wait_for(|(saved, _)| *saved >= number)).await {
            Ok(Ok(saved)) => saved.1.clone(),
            Ok(Err(_)) => Some("the thread that writes the state has ended".into()),
            Err(_) => Some(format!("the state was not written within {} s", SAVE_LIMIT.as_secs())),
        }
    }
}

/// Written every second: when this run was last alive, and whether it ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignOfLife {
    pub(crate) wall_us: i64,
    pub(crate) ended: bool,
}

impl SignOfLife {
    pub(crate) fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        // Not forced to disk: after a power cut the last second is not what matters.
        replace(path, &serde_json::to_vec(self).unwrap_or_default(), false)
    }
}
